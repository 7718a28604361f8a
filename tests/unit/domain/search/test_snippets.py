"""Snippets show where a segment's text has the query's words, and nothing that harms a reader."""

from search_router.domain.search.analysis import query_terms
from search_router.domain.search.snippets import SNIPPET_CHARACTERS, Snippet, snippet


def shown(texts: dict[str, str], query: str) -> Snippet:
    found = snippet(texts, query_terms(query))
    assert found is not None
    return found


def marked(found: Snippet) -> list[str]:
    return [found["text"][start:end] for start, end in found["matches"]]


def test_the_matching_words_are_marked_in_every_inflection() -> None:
    found = shown({"visual": "Two dogs, barking; the Dog barked."}, "a barking dog")

    assert marked(found) == ["dogs", "barking", "Dog", "barked"]
    assert found["modality"] == "visual"


def test_the_passage_with_the_most_words_is_cut_from_a_long_text() -> None:
    text = "dog " + "filler " * 100 + "the dog opens a red door " + "filler " * 100

    found = shown({"transcription": text}, "dog red door")

    assert marked(found) == ["dog", "red", "door"]
    assert len(found["text"]) <= SNIPPET_CHARACTERS


def test_the_text_with_more_words_wins_then_the_preferred_one() -> None:
    texts = {"visual": "a dog", "audio": "a dog barks"}

    assert shown(texts, "dog barks")["modality"] == "audio"
    assert shown(texts, "dog")["modality"] == "visual"
    assert shown(texts, "cat")["modality"] == "visual"


def test_control_characters_become_spaces() -> None:
    found = shown({"visual": "a\x1b[31m red\ndoor\x00\u202e"}, "door")

    assert found["text"] == "a [31m red door  "
    assert marked(found) == ["door"]


def test_scripts_without_spaces_are_marked_by_character() -> None:
    assert "".join(marked(shown({"visual": "一只狗在叫"}, "狗叫"))) == "狗叫"


def test_there_is_no_snippet_of_blank_texts() -> None:
    assert snippet({"visual": " ", "audio": ""}, ["dog"]) is None


def test_a_word_inside_another_is_not_marked() -> None:
    assert marked(shown({"visual": "cartoon art, artist"}, "art")) == ["art"]
