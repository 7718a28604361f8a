"""Queries from templates, for the configured modalities."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router_cli.synthesis.catalogue import SLOT, Catalogue, Template, cue_templates
from router_cli.synthesis.draws import Draw, Rotation
from router_cli.synthesis.labels import Tenths, configured_tenths, stressed
from search_router.domain.errors import InvalidInputError
from search_router.domain.queries import fingerprint
from search_router.domain.weights import Modalities

_ODD_SHARE = 0.05
_MISSES_ALLOWED = 20_000  # far above the N/n draws that hit one of n new queries among N

# Variants that do not change the meaning of a query.
_LONG_STORY = (
    "I saw this once, a long time ago, at a friend's place, and have been looking for it ever "
    "since; I no longer know who sent it or where it was kept, but it goes about like this: {}"
)
_ODD_FORMS = (
    '"{}"',
    "\u201c{}\u201d",
    "{} 🎬",
    "{} 😂🔥🇧🇷",
    "{}!!!",
    "find: {} /or similar\\",
    _LONG_STORY,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A template for the configured modalities: literals around lists of terms."""

    literals: tuple[str, ...]
    slots: tuple[tuple[str, ...], ...]
    tenths: Tenths
    cell: tuple[str, str]
    """Stressed modality (or "balanced") and difficulty."""

    def fill(self, draw: Draw) -> str:
        """Return a query with a term in each slot, and no term twice if there are enough."""
        pieces = [self.literals[0]]
        for terms, literal in zip(self.slots, self.literals[1:], strict=True):
            pieces += (_unused(terms, pieces, draw), literal)
        return "".join(pieces)


@dataclass(frozen=True, slots=True)
class Query:
    """A query and its label without noise."""

    text: str
    tenths: Tenths


class QuerySource:
    """Makes queries, evenly over groups, then difficulties, then templates."""

    def __init__(self, shapes: Sequence[Shape], draw: Draw) -> None:
        cells: dict[str, dict[str, list[Shape]]] = defaultdict(lambda: defaultdict(list))
        for shape in shapes:
            group, difficulty = shape.cell
            cells[group][difficulty].append(shape)
        self._draw = draw
        self._groups = Rotation(cells, draw)
        self._difficulties = {group: Rotation(cells[group], draw) for group in cells}
        self._shapes = {
            shape.cell: Rotation(cells[shape.cell[0]][shape.cell[1]], draw) for shape in shapes
        }

    def shape(self) -> Shape:
        """Return the next shape."""
        group = self._groups.deal()
        return self._shapes[group, self._difficulties[group].deal()].deal()

    def query(self, shape: Shape) -> Query:
        """Return a query of the shape; a few are written in an odd form."""
        text = shape.fill(self._draw)
        if self._draw.chance(_ODD_SHARE):
            text = _odd(text, self._draw)
        return Query(text, shape.tenths)

    def new_queries(self, taken: set[bytes]) -> Iterator[Query]:
        """Yield queries whose fingerprint is not in `taken`, and add it.

        Raises InvalidInputError when the shapes seem to have no more new queries.
        """
        misses = 0
        while misses < _MISSES_ALLOWED:
            query = self.query(self.shape())
            if _take(query.text, taken):
                misses = 0
                yield query
            else:
                misses += 1
        raise InvalidInputError(
            f"the templates make no more than {len(taken)} different queries, excluded ones "
            "included. Ask for fewer, or add terms and templates."
        )


def query_shapes(
    catalogue: Catalogue, modalities: Modalities, *, held_out: bool = False
) -> tuple[Shape, ...]:
    """Return the shapes of the training or held-out templates for the configured modalities.

    Templates that are mostly about other modalities are left out. For a modality that no template
    names, `cue_templates` are added if the built-in ones are in use; otherwise InvalidInputError is
    raised.
    """
    templates = [template for template in catalogue.templates if template.held_out == held_out]
    unnamed = set(modalities).difference(*(template.profile for template in catalogue.templates))
    if unnamed and not catalogue.with_built_in:
        raise InvalidInputError(f"no template weighs {', '.join(sorted(unnamed))}: add one")
    if not held_out:
        templates += [t for name in modalities if name in unnamed for t in cue_templates(name)]
    shapes = (_shape(template, catalogue, modalities) for template in templates)
    return tuple(shape for shape in shapes if shape is not None)


def _shape(template: Template, catalogue: Catalogue, modalities: Modalities) -> Shape | None:
    tenths = configured_tenths(template.profile, modalities)
    if tenths is None:
        return None
    pieces = SLOT.split(template.text)
    return Shape(
        literals=tuple(pieces[::2]),
        slots=tuple(catalogue.vocabulary[slot] for slot in pieces[1::2]),
        tenths=tenths,
        cell=(stressed(tenths, modalities), template.difficulty),
    )


def _unused(terms: Sequence[str], pieces: Sequence[str], draw: Draw) -> str:
    """Return a term that the query does not contain yet, if there is one."""
    start = draw.index(len(terms))
    for offset in range(len(terms)):
        term = terms[(start + offset) % len(terms)]
        if term not in pieces:
            return term
    return terms[start]


def _odd(text: str, draw: Draw) -> str:
    form = draw.index(len(_ODD_FORMS) + 1)
    if form == len(_ODD_FORMS):
        return text.upper().replace(" ", "  ")
    return _ODD_FORMS[form].format(text)


def _take(text: str, taken: set[bytes]) -> bool:
    key = fingerprint(text)
    if key in taken:
        return False
    taken.add(key)
    return True
