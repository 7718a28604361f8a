"""Uploads: folders are no files."""

from search_router.domain.uploads import ObjectRef, is_folder


def test_a_console_folder_is_told_by_its_slash() -> None:
    assert is_folder("prompts/")
    assert is_folder("prompts/a/")
    assert not is_folder("prompts/a.jsonl")


def test_without_a_version_the_current_object_is_meant() -> None:
    assert ObjectRef("bucket", "key").version_id is None
