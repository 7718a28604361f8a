"""Uploads: what starts a run, and what lies beside it."""

import pytest

from search_router.domain.uploads import (
    ObjectRef,
    dataset_folder,
    ignored_prompts,
    is_folder,
    is_hidden,
)


def test_a_console_folder_is_told_by_its_slash() -> None:
    assert is_folder("prompts/")
    assert is_folder("prompts/a/")
    assert not is_folder("prompts/a.jsonl")


def test_without_a_version_the_current_object_is_meant() -> None:
    assert ObjectRef("bucket", "key").version_id is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("prompts/a.jsonl", None),
        ("prompts/a.csv", None),
        ("prompts/", "a folder"),
        ("prompts/set/", "a folder"),
        ("prompts/set/a.jsonl", "a file of a dataset"),
        ("prompts/set/deeper/a.jsonl", "a file of a dataset"),
        ("prompts/set/_SUCCESS", None),
        ("prompts/set/deeper/_SUCCESS", "_SUCCESS too deep"),
        ("prompts/_SUCCESS", "_SUCCESS belongs in a folder"),
    ],
)
def test_files_directly_under_prompts_and_markers_of_folders_start_runs(
    key: str, reason: str | None
) -> None:
    ignored = ignored_prompts(key)

    assert ignored is None if reason is None else (ignored or "").startswith(reason)


def test_a_marker_completes_the_folder_that_it_lies_in() -> None:
    assert dataset_folder("prompts/set/_SUCCESS") == "prompts/set/"
    assert dataset_folder("prompts/set/a.jsonl") is None
    assert dataset_folder("prompts/set_SUCCESS") is None


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("a.jsonl", False),
        ("part=1/a_b.jsonl", False),
        ("_SUCCESS", True),
        (".a.jsonl.crc", True),
        ("_temporary/0/a.jsonl", True),
        ("deeper/", True),
    ],
)
def test_what_writers_leave_beside_a_dataset_is_not_of_it(key: str, hidden: bool) -> None:
    assert is_hidden(key) is hidden
