"""What queries are made of: templates and vocabulary, built in or from a user's JSON file.

    {"keep_built_in": true,
     "vocabulary": {"procedure": ["hip replacement", "skin graft"]},
     "templates": [{"text": "{procedure} filmed over the shoulder",
                    "weights": {"visual": 0.7, "camera_angle": 0.3},
                    "difficulty": "easy", "held_out": false}]}

Every key is optional but a template's `text` and `weights`. A slot of the user's replaces the
built-in slot of that name; `keep_built_in: false` drops the built-in templates (their slots stay
usable). Weights lie on the 0.1 grid and sum to 1. `difficulty` is "medium" if absent; a `held_out`
template is kept out of the training records.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router_cli.synthesis.templates import (
    DIFFICULTIES,
    HELD_OUT_TEMPLATES,
    SLOT,
    TENTHS,
    TRAINING_TEMPLATES,
    Template,
)
from router_cli.synthesis.vocabulary import SLOTS, Vocabulary
from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.weights import REASONING_KEY, weights_from_object

MAX_QUERY = 1_000  # characters: whatever they are, far from Bedrock's 16,000 bytes a record
MAX_SHOWN_PROBLEMS = 10

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_GRID_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Templates, and the terms for each slot that they name."""

    templates: tuple[Template, ...]
    vocabulary: Vocabulary
    with_built_in: bool
    """Whether the built-in templates are among them; only then is an unknown modality served."""


BUILT_IN = Catalogue(TRAINING_TEMPLATES + HELD_OUT_TEMPLATES, SLOTS, with_built_in=True)


class _Problems:
    """Collects what is wrong, with its place, so that a user mends the file in one go."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        try:
            yield
        except InvalidInputError as error:
            self.lines.append(f"{place}: {error}")


def read_catalogue(path: Path) -> Catalogue:
    """Read a user's file and merge it with the built-in catalogue.

    Raises InvalidInputError that lists what is wrong, each with its place in the file; OSError if
    the file cannot be read.
    """
    problems = _Problems()
    catalogue = BUILT_IN
    with problems.at("file"):
        catalogue = _catalogue(strict_json.loads(path.read_bytes()), problems)
    if problems.lines:
        shown = problems.lines[:MAX_SHOWN_PROBLEMS]
        hidden = len(problems.lines) - len(shown)
        lines = [f"{path.name} cannot be used", *shown, *([f"and {hidden} more"] if hidden else [])]
        raise InvalidInputError("\n  ".join(lines))
    return catalogue


def _catalogue(value: object, problems: _Problems) -> Catalogue:
    fields = _fields(value, {"keep_built_in", "vocabulary", "templates"})
    keep_built_in = fields.get("keep_built_in", True)
    with problems.at("keep_built_in"):
        _check(isinstance(keep_built_in, bool), "expected true or false")
    vocabulary = {**SLOTS, **_vocabulary(fields.get("vocabulary", {}), problems)}
    templates = _templates(fields.get("templates", []), vocabulary, problems)
    if not keep_built_in:
        with problems.at("templates"):
            trainable = any(not template.held_out for template in templates)
            _check(trainable, "without the built-in ones, one that is not held_out is needed")
    built_in = BUILT_IN.templates if keep_built_in else ()
    return Catalogue(built_in + templates, vocabulary, with_built_in=bool(keep_built_in))


def _vocabulary(value: object, problems: _Problems) -> dict[str, tuple[str, ...]]:
    slots: dict[str, tuple[str, ...]] = {}
    with problems.at("vocabulary"):
        _check(isinstance(value, dict), "expected an object of slots, each a list of terms")
    for name, terms in value.items() if isinstance(value, dict) else ():
        slots[name] = ()  # a slot with wrong terms is known all the same to the templates
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
    _check(longest <= MAX_QUERY, f"text can grow to {longest} characters, the limit is {MAX_QUERY}")


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
    _check(len(value) <= MAX_QUERY, f"{what} is longer than {MAX_QUERY} characters")
    control = any(unicodedata.category(character) == "Cc" for character in value)
    _check(not control, f"{what} has a line end or another control character")
    return value


def _check(passed: bool, problem: str) -> None:
    if not passed:
        raise InvalidInputError(problem)
