"""The templates and vocabulary of synthetic queries: `built-in.json`, or a file of a user.

    {"keep_built_in": true,
     "vocabulary": {"procedure": ["hip replacement", "skin graft"]},
     "templates": [{"text": "{procedure} filmed over the shoulder",
                    "weights": {"visual": 0.7, "camera_angle": 0.3},
                    "difficulty": "easy", "held_out": false}]}

Every key is optional except a template's `text` and `weights`. A slot of a user replaces the
built-in slot of that name. `keep_built_in: false` removes the built-in templates but not their
slots. Weights are multiples of 0.1 that sum to 1. `difficulty` is "medium" by default. A `held_out`
template appears only in query logs and in evaluation sets of new patterns.

In `built-in.json` people, programmes, channels and spoken lines are invented; cities are real.
Terms of a slot that follows "a" start with a consonant sound.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from router_cli.prompt_files import document
from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.weights import REASONING_KEY, weights_from_object

Difficulty = Literal["easy", "medium", "hard"]
Vocabulary = Mapping[str, tuple[str, ...]]

DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")
SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
TENTHS = 10

_MAX_QUERY = 1_000  # characters; in any script far below the 16,000 bytes of a Bedrock record
_MAX_SHOWN_PROBLEMS = 10
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_GRID_TOLERANCE = 1e-9
_CUES: tuple[tuple[Difficulty, str], ...] = (
    ("easy", "filter clips on {cue}: {place}"),
    ("easy", "{series} listed under {cue}"),
    ("easy", "recommended {cue} for {sport}"),
    ("medium", "how the {cue} changes once the {role} appears"),
    ("medium", "sort {kind} results by {cue}"),
    ("medium", "compare {cue} in {series} with {cue} in {series}"),
    ("hard", "same {cue} as in the {event} footage of {year}, never mind the rest"),
    ("hard", "a {colour} {object}, but chosen for its {cue} rather than how it looks"),
    ("hard", "whatever {person} meant by a better {cue} for {topic}"),
)


@dataclass(frozen=True, slots=True)
class Template:
    """A query with slots in braces, and the weights of the modalities in tenths that sum to ten."""

    text: str
    difficulty: Difficulty
    profile: Mapping[str, int]
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Templates and the terms of their slots.

    `with_built_in` says whether the built-in templates are included; only then can modalities that
    no template names be served, with `cue_templates`.
    """

    templates: tuple[Template, ...]
    vocabulary: Vocabulary
    with_built_in: bool


def cue_templates(modality: str) -> tuple[Template, ...]:
    """Return templates for a modality that no other template names.

    A query that contains the modality's name gives it 0.6, and visual and metadata 0.2 each.
    """
    cue, profile = modality.replace("_", " "), {modality: 6, "visual": 2, "metadata": 2}
    return tuple(
        Template(text.replace("{cue}", cue), difficulty, profile) for difficulty, text in _CUES
    )


def read_catalogue(path: Path) -> Catalogue:
    """Read a user's file and merge it with the built-in catalogue.

    Raises InvalidInputError with the place of each mistake, OSError for a file that cannot be read.
    """
    return _read(path, BUILT_IN)


class _Problems:
    """Collects mistakes with their place, so that a user can fix all of them at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        try:
            yield
        except InvalidInputError as error:
            self.lines.append(f"{place}: {error}")


def _read(path: Path, built_in: Catalogue) -> Catalogue:
    problems = _Problems()
    catalogue = built_in
    with problems.at("file"):
        catalogue = _catalogue(strict_json.loads(document(path)), built_in, problems)
    if problems.lines:
        shown = problems.lines[:_MAX_SHOWN_PROBLEMS]
        hidden = len(problems.lines) - len(shown)
        lines = [f"{path.name} cannot be used", *shown, *([f"and {hidden} more"] if hidden else [])]
        raise InvalidInputError("\n  ".join(lines))
    return catalogue


def _catalogue(value: object, built_in: Catalogue, problems: _Problems) -> Catalogue:
    fields = _fields(value, {"keep_built_in", "vocabulary", "templates"})
    keep_built_in = fields.get("keep_built_in", True)
    with problems.at("keep_built_in"):
        _check(isinstance(keep_built_in, bool), "expected true or false")
    vocabulary = {**built_in.vocabulary, **_vocabulary(fields.get("vocabulary", {}), problems)}
    templates = _templates(fields.get("templates", []), vocabulary, problems)
    if not keep_built_in:
        with problems.at("templates"):
            trainable = any(not template.held_out for template in templates)
            _check(trainable, "without the built-in ones, one that is not held_out is needed")
    kept = built_in.templates if keep_built_in else ()
    return Catalogue(kept + templates, vocabulary, with_built_in=bool(keep_built_in))


def _vocabulary(value: object, problems: _Problems) -> dict[str, tuple[str, ...]]:
    slots: dict[str, tuple[str, ...]] = {}
    with problems.at("vocabulary"):
        _check(isinstance(value, dict), "expected an object of slots, each a list of terms")
    for name, terms in value.items() if isinstance(value, dict) else ():
        slots[name] = ()  # the templates may name a slot even if its terms are wrong
        with problems.at(f"vocabulary[{name!r}]"):
            slots[name] = _terms(name, terms)
    return slots


def _terms(name: str, value: object) -> tuple[str, ...]:
    _check(_NAME.fullmatch(name) is not None, "a slot name is lower case letters, digits and _")
    if not isinstance(value, list) or not value:
        raise InvalidInputError("expected a list of at least one term")
    terms = tuple(_text(term, f"term {number}") for number, term in enumerate(value, start=1))
    _check(len(set(terms)) == len(terms), "a term is listed twice")
    return terms


def _templates(value: object, vocabulary: Vocabulary, problems: _Problems) -> tuple[Template, ...]:
    templates: list[Template] = []
    with problems.at("templates"):
        _check(isinstance(value, list), "expected a list")
    for position, entry in enumerate(value if isinstance(value, list) else ()):
        with problems.at(f"templates[{position}]"):
            templates.append(_template(entry, vocabulary))
    return tuple(templates)


def _template(value: object, vocabulary: Vocabulary) -> Template:
    fields = _fields(value, {"text", "weights", "difficulty", "held_out"})
    text = _text(fields.get("text"), "text")
    _check_slots(text, vocabulary)
    difficulty = next((d for d in DIFFICULTIES if d == fields.get("difficulty", "medium")), None)
    if difficulty is None:
        raise InvalidInputError(f"difficulty is one of {', '.join(DIFFICULTIES)}")
    held_out = fields.get("held_out", False)
    if not isinstance(held_out, bool):
        raise InvalidInputError("held_out is true or false")
    return Template(text, difficulty, _profile(fields.get("weights")), held_out)


def _check_slots(text: str, vocabulary: Vocabulary) -> None:
    literals, slots = SLOT.split(text)[::2], SLOT.findall(text)
    _check(
        not any(brace in literal for literal in literals for brace in "{}"),
        "text has a brace that is not part of a {slot} in lower case",
    )
    unknown = [slot for slot in slots if slot not in vocabulary]
    _check(not unknown, f"text names a slot that no vocabulary has: {', '.join(unknown)}")
    longest = sum(map(len, literals)) + sum(
        max(map(len, vocabulary[slot]), default=0) for slot in slots
    )
    _check(
        longest <= _MAX_QUERY, f"text can grow to {longest} characters, the limit is {_MAX_QUERY}"
    )


def _profile(value: object) -> Mapping[str, int]:
    if not isinstance(value, dict):
        raise InvalidInputError("weights is an object of modalities, each with a number")
    bad = [name for name in value if not _NAME.fullmatch(name) or name == REASONING_KEY]
    _check(not bad, f"weights has a name that no modality can have: {', '.join(map(repr, bad))}")
    weights = weights_from_object(value, tuple(value))
    tenths = [round(weight * TENTHS) for weight in weights]
    on_grid = all(
        abs(weight * TENTHS - whole) <= _GRID_TOLERANCE
        for weight, whole in zip(weights, tenths, strict=True)
    )
    _check(on_grid, "weights are not multiples of 0.1")
    return dict(zip(value, tenths, strict=True))


def _fields(value: object, known: set[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidInputError("expected a JSON object")
    extra = sorted(set(value) - known)
    _check(
        not extra,
        f"unknown key {', '.join(map(repr, extra))}; expected {', '.join(sorted(known))}",
    )
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(f"{what} is missing, blank or not a text")
    _check(len(value) <= _MAX_QUERY, f"{what} is longer than {_MAX_QUERY} characters")
    control = any(unicodedata.category(character) == "Cc" for character in value)
    _check(not control, f"{what} has a line end or another control character")
    return value


def _check(passed: bool, problem: str) -> None:
    if not passed:
        raise InvalidInputError(problem)


BUILT_IN = _read(Path(__file__).with_name("built-in.json"), Catalogue((), {}, with_built_in=True))
