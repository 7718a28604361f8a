"""GET /search: its parameters, its cursor and its errors."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from search_router.domain import strict_json
from search_router.domain.errors import BadRequestError, InvalidInputError
from search_router.domain.queries import normalised_query
from search_router.domain.search.filters import MAX_FILTERS, Filter, parse_filter
from search_router.domain.search.index import COLLECTION_NAME
from search_router.domain.search.profiles import Fusion, WeightSource
from search_router.domain.serving.decisions import Tier
from search_router.domain.serving.search_requests import MAX_QUERY_CHARACTERS
from search_router.domain.weights import Modalities, Weights, weights_from_object

DEFAULT_K, MAX_K = 10, 50
MAX_CURSOR_CHARACTERS = 2_000
_NUMBER = re.compile(r"[0-9]{1,4}")


class BadFieldError(BadRequestError):
    """A parameter of the request is invalid; `field` names it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class UnknownCollectionError(BadFieldError):
    """The collection does not exist."""

    def __init__(self) -> None:
        super().__init__("collection", "does not exist. Upload segments to create it.")


class Parameter(NamedTuple):
    """One parameter of GET /search, for parsing and for the OpenAPI document."""

    name: str
    schema: Mapping[str, object]
    description: str
    repeatable: bool = False


PARAMETERS = (
    Parameter(
        "q",
        {"type": "string", "maxLength": MAX_QUERY_CHARACTERS},
        "The query. Leave it out, with a filter, to browse.",
    ),
    Parameter(
        "collection",
        {"type": "string", "pattern": f"^{COLLECTION_NAME.pattern}$"},
        "Where to search.",
    ),
    Parameter(
        "k",
        {"type": "integer", "minimum": 1, "maximum": MAX_K, "default": DEFAULT_K},
        "Hits per page.",
    ),
    Parameter(
        "cursor",
        {"type": "string", "maxLength": MAX_CURSOR_CHARACTERS},
        "The next page: `cursor` of the reply before.",
    ),
    Parameter(
        "filter",
        {"type": "string"},
        "`field:value` or `field:>=number`; operators !=, <, <=, >, >=. Repeat it to narrow down.",
        repeatable=True,
    ),
    Parameter(
        "weights",
        {"type": "string", "example": "visual:0.7,audio:0.3"},
        "Use these weights instead of the router's; other modalities get 0. They must sum to 1.",
    ),
    Parameter(
        "route",
        {"type": "string", "enum": ["on", "off"], "default": "on"},
        "`off` serves the base weights without asking the router.",
    ),
    Parameter(
        "fusion",
        {"type": "string", "enum": [fusion.value for fusion in Fusion]},
        "How lists are made comparable, instead of the ranking profile's way.",
    ),
    Parameter("group", {"type": "string", "enum": ["video"]}, "One hit per video."),
    Parameter(
        "explain",
        {"type": "string", "enum": ["0", "1"], "default": "0"},
        "`1` adds rank, raw scores, weight and contribution of every modality to each hit.",
    ),
)
_NAMES = frozenset(parameter.name for parameter in PARAMETERS)


@dataclass(frozen=True, slots=True)
class UsedWeights:
    """The weights of a search, where they come from, and the profile that was used."""

    weights: Weights
    source: str  # a Tier or a WeightSource
    profile: int = 0


class Cursor(NamedTuple):
    """Where a page begins, and the weights of the pages before."""

    offset: int
    used: UsedWeights


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A valid request; `weights` and the cursor's weights are checked against the collection's."""

    query: str
    collection: str
    k: int = DEFAULT_K
    cursor: str = ""
    filters: tuple[Filter, ...] = ()
    weights: Mapping[str, float] | None = None
    routed: bool = True
    fusion: Fusion | None = None
    by_video: bool = False
    explain: bool = False

    def override(self, modalities: Modalities) -> Weights | None:
        """Return the caller's weights for these modalities; raises BadFieldError."""
        if self.weights is None:
            return None
        if unknown := sorted(set(self.weights) - set(modalities)):
            raise BadFieldError(
                "weights",
                f"{unknown[0][:32]} is not a modality of the collection. "
                f"Use {', '.join(modalities)}.",
            )
        full = {name: self.weights.get(name, 0.0) for name in modalities}
        try:
            return weights_from_object(full, modalities)
        except InvalidInputError as error:
            raise BadFieldError("weights", str(error)) from None

    def cursor_of(self, next_offset: int, used: UsedWeights) -> str:
        """Return the cursor of the page that begins at an offset."""
        values = [next_offset, self._identity(), used.profile, used.source, *used.weights]
        text = json.dumps(values, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def page(self, modalities: Modalities) -> Cursor | None:
        """Return the cursor's content; None for the first page. Raises BadFieldError."""
        if not self.cursor:
            return None
        invalid = BadFieldError("cursor", "not a cursor of this search. Start at the first page.")
        try:
            padded = self.cursor + "=" * (-len(self.cursor) % 4)
            values = strict_json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, InvalidInputError):
            raise invalid from None
        match values:
            case [int(offset), str(identity), int(profile), str(source), *weights] if (
                offset > 0
                and identity == self._identity()
                and source in _SOURCES
                and len(weights) == len(modalities)
            ):
                pass
            case _:
                raise invalid
        try:
            checked = weights_from_object(dict(zip(modalities, weights, strict=True)), modalities)
        except InvalidInputError:
            raise invalid from None
        return Cursor(offset, UsedWeights(checked, source, profile))

    def _identity(self) -> str:
        """Identify everything of the request that decides the order of its hits."""
        parts = [
            normalised_query(self.query),
            self.collection,
            [list(condition) for condition in self.filters],
            sorted(self.weights.items()) if self.weights else None,
            self.routed,
            self.fusion,
            self.by_video,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


_SOURCES = frozenset([*(tier.value for tier in Tier), *(source.value for source in WeightSource)])


def search_request(parameters: Sequence[tuple[str, str]]) -> SearchRequest:
    """Parse a query string's (name, value) pairs; raises BadFieldError, which names the field."""
    values, filters = _values(parameters)
    query = values.get("q", "")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise BadFieldError("q", f"more than {MAX_QUERY_CHARACTERS} characters. Shorten it.")
    if not normalised_query(query) and not filters:
        raise BadFieldError("q", "blank. Give a query, or a filter to browse.")
    fusion = _choice("fusion", values.get("fusion", ""), ("", *Fusion))
    return SearchRequest(
        query=query,
        collection=_collection(values.get("collection", "")),
        k=_page_size(values.get("k", str(DEFAULT_K))),
        cursor=_cursor(values.get("cursor", "")),
        filters=filters,
        weights=_weights(values["weights"]) if "weights" in values else None,
        routed=_choice("route", values.get("route", "on"), ("on", "off")) == "on",
        fusion=Fusion(fusion) if fusion else None,
        by_video=_choice("group", values.get("group", ""), ("", "video")) == "video",
        explain=_choice("explain", values.get("explain", "0"), ("0", "1")) == "1",
    )


def rejection(error: BadRequestError) -> tuple[int, dict[str, str]]:
    """Return the HTTP status and body for an invalid request."""
    if isinstance(error, UnknownCollectionError):
        return 404, {"code": "not_found", "message": str(error), "field": error.field}
    if isinstance(error, BadFieldError):
        return 400, {"code": "bad_request", "message": str(error), "field": error.field}
    return 400, {"code": "bad_request", "message": str(error)}


def _values(
    parameters: Sequence[tuple[str, str]],
) -> tuple[dict[str, str], tuple[Filter, ...]]:
    """Return the single values by name, and the filters."""
    values: dict[str, str] = {}
    filters: list[Filter] = []
    for name, value in parameters:
        if name not in _NAMES:
            known = ", ".join(sorted(_NAMES))
            raise BadFieldError(_shown(name), f"not a parameter. Use {known}.")
        if _not_unicode(value):
            raise BadFieldError(name, "not valid Unicode. Encode it as UTF-8.")
        if name == "filter":
            filters.append(_filter(value))
        elif name in values:
            raise BadFieldError(name, "given twice. Give it once.")
        else:
            values[name] = value
    if len(filters) > MAX_FILTERS:
        raise BadFieldError("filter", f"given {len(filters)} times. Use at most {MAX_FILTERS}.")
    return values, tuple(filters)


def _collection(name: str) -> str:
    if not name:
        raise BadFieldError("collection", "missing. Name the collection to search.")
    if not COLLECTION_NAME.fullmatch(name):
        raise BadFieldError(
            "collection",
            "not a collection's name. Use 3 to 32 lower-case letters, digits and hyphens.",
        )
    return name


def _page_size(text: str) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_K:
        raise BadFieldError("k", f"not a whole number from 1 to {MAX_K}.")
    return int(text)


def _cursor(text: str) -> str:
    if len(text) > MAX_CURSOR_CHARACTERS:
        raise BadFieldError("cursor", "not a cursor of this search. Start at the first page.")
    return text


def _filter(expression: str) -> Filter:
    try:
        condition = parse_filter(expression)
    except BadRequestError as error:
        raise BadFieldError("filter", str(error)) from None
    if condition.field == "text" or condition.field[0] in "_$":
        raise BadFieldError("filter", "not an attribute. Filter on an attribute or on video_id.")
    return condition


def _weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for pair in text.split(","):
        name, colon, number = pair.partition(":")
        name = name.strip()
        try:
            weight = float(number) if colon and name and name not in weights else None
        except ValueError:
            weight = None
        if weight is None:
            raise BadFieldError(
                "weights", "not modality:number pairs. Write for example visual:0.7,audio:0.3."
            )
        weights[name] = weight
    return weights


def _choice(field: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        choices = ", ".join(choice for choice in allowed if choice)
        raise BadFieldError(field, f"not one of {choices}.")
    return value


def _not_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _shown(name: str) -> str:
    """Return the start of an unknown parameter's name, safe to print."""
    return "".join(c for c in name[:32] if c.isalnum() or c in "_-") or "parameter"
