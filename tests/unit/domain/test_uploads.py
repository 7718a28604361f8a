"""Uploads: folders are no files, and what lies in them is no dataset."""

import pytest

from search_router.domain.uploads import ObjectRef, ignored_prompts, is_folder


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
        ("prompts/set/a.jsonl", "a file inside a folder"),
    ],
)
def test_only_files_directly_under_prompts_are_datasets(key: str, reason: str | None) -> None:
    ignored = ignored_prompts(key)

    assert ignored is None if reason is None else (ignored or "").startswith(reason)
