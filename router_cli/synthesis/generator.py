"""Synthetic training records, query logs and evaluation sets.

The same arguments give the same bytes on every Python version. Rows are spread evenly over the
dominant modality (or "balanced") and, within it, over difficulty.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from router_cli.outputs import output
from router_cli.synthesis.catalogue import BUILT_IN, Catalogue
from router_cli.synthesis.draws import Draw, zipf_positions
from router_cli.synthesis.labels import (
    label_text,
    reasoning_text,
    teacher_tenths,
)
from router_cli.synthesis.sources import Query, QuerySource, Shape, query_shapes
from router_cli.verbs import MODALITIES
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.training_records import SCHEMA_VERSION
from search_router.domain.queries import fingerprint
from search_router.domain.weights import (
    Modalities,
    default_system_prompt,
    parse_modalities,
)

Row = dict[str, Any]

DEFAULT_MODALITIES = parse_modalities(MODALITIES)

_REPEAT_SHARE = 0.12  # with random repeats, about the 15% of public training data
_LOCALES = ("en-US", "en-US", "en-GB", "pt-BR", "es-ES", "de-DE", "ja-JP", None)


def training_records(
    seed: int,
    count: int,
    modalities: Sequence[str] = DEFAULT_MODALITIES,
    *,
    with_reasoning: bool = False,
    catalogue: Catalogue = BUILT_IN,
) -> Iterator[Row]:
    """Yield labelled training prompts as `bedrock-conversation-2024` records.

    About one in seven repeats an earlier query. Labels have the noise of a teacher, so repeats may
    differ. `with_reasoning` adds a sentence to each label, and asks for it in the prompt. Raises
    InvalidInputError.
    """
    names = _checked_modalities(modalities)
    _check_not_negative(count=count)
    shapes = query_shapes(catalogue, names)
    return _training_records(seed, count, names, shapes, with_reasoning=with_reasoning)


def evaluation_rows(
    seed: int,
    count: int,
    exclude: Iterable[str] = (),
    modalities: Sequence[str] = DEFAULT_MODALITIES,
    *,
    held_out_templates: bool = False,
    catalogue: Catalogue = BUILT_IN,
) -> Iterator[Row]:
    """Yield `{"query", "reference"}` rows: distinct queries, without the excluded ones.

    Queries are compared by fingerprint (Unicode NFKC, without case and white space). The reference
    is JSON text of weights with the noise of a teacher. With `held_out_templates` the queries have
    patterns that no training record has. Raises InvalidInputError, while iterating too if the
    templates cannot make enough distinct queries.
    """
    names = _checked_modalities(modalities)
    _check_not_negative(count=count)
    shapes = query_shapes(catalogue, names, held_out=held_out_templates)
    if count and not shapes:
        raise InvalidInputError("the catalogue has no held-out template for these modalities")
    taken = {fingerprint(query) for query in exclude}
    draw = Draw(seed, "held-out evaluation" if held_out_templates else "evaluation")
    return _evaluation_rows(draw, count, names, shapes, taken)


def query_log_rows(
    seed: int,
    rows: int,
    distinct: int,
    *,
    known: Iterable[str] = (),
    known_share: float = 0.6,
    held_out_share: float = 0.1,
    modalities: Sequence[str] = DEFAULT_MODALITIES,
    catalogue: Catalogue = BUILT_IN,
) -> Iterator[Row]:
    """Yield log rows `{"query_id", "query", "user_locale"}` of exactly min(rows, distinct) queries.

    Popularity follows Zipf's law with exponent 1. A `known_share` of the distinct queries comes
    from `known` (the training queries) while they last, a `held_out_share` has patterns that no
    training record has, and the rest are new queries of trained patterns. One row in eight has no
    `user_locale`. Raises InvalidInputError, also if the templates cannot make enough queries.
    """
    names = _checked_modalities(modalities)
    _check_not_negative(rows=rows, distinct=distinct)
    if rows and not distinct:
        raise InvalidInputError("rows need at least one distinct query: distinct is 0")
    if not (known_share >= 0 and held_out_share >= 0 and known_share + held_out_share <= 1):
        raise InvalidInputError(
            "known_share and held_out_share must be positive and sum to at most 1"
        )
    draw = Draw(seed, "query log")
    queries = _log_queries(
        draw,
        min(rows, distinct),
        _unique(known),
        known_share,
        held_out_share,
        (query_shapes(catalogue, names), query_shapes(catalogue, names, held_out=True)),
    )
    return _query_log_rows(draw, rows, queries)


def record_query(record: Mapping[str, Any]) -> str:
    """Return the query of a training record."""
    text: str = record["messages"][0]["content"][0]["text"]
    return text


def write_jsonl(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as JSON Lines and return their number."""
    count = 0
    with output(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
            count += 1
    return count


def _training_records(
    seed: int, count: int, modalities: Modalities, shapes: Sequence[Shape], *, with_reasoning: bool
) -> Iterator[Row]:
    draw = Draw(seed, "training")
    reasoning_draw = Draw(seed, "reasoning")  # separate, so that it does not change the queries
    source = QuerySource(shapes, draw)
    system = default_system_prompt(modalities, with_reasoning=with_reasoning)
    earlier: dict[tuple[str, str], list[Query]] = defaultdict(list)
    for _ in range(count):
        shape = source.shape()
        of_cell = earlier[shape.cell]
        if of_cell and draw.chance(_REPEAT_SHARE):
            query = draw.pick(of_cell)
        else:
            query = source.query(shape)
            of_cell.append(query)
        tenths = teacher_tenths(query.tenths, draw)
        reasoning = reasoning_text(tenths, modalities, reasoning_draw) if with_reasoning else None
        yield _record(system, query.text, label_text(tenths, modalities, reasoning))


def _record(system: str, query: str, label: str) -> Row:
    return {
        "schemaVersion": SCHEMA_VERSION,
        "system": [{"text": system}],
        "messages": [
            {"role": "user", "content": [{"text": query}]},
            {"role": "assistant", "content": [{"text": label}]},
        ],
    }


def _evaluation_rows(
    draw: Draw, count: int, modalities: Modalities, shapes: Sequence[Shape], taken: set[bytes]
) -> Iterator[Row]:
    for query in islice(QuerySource(shapes, draw).new_queries(taken), count):
        label = label_text(teacher_tenths(query.tenths, draw), modalities)
        yield {"query": query.text, "reference": label}


def _log_queries(
    draw: Draw,
    distinct: int,
    known: Mapping[bytes, str],
    known_share: float,
    held_out_share: float,
    shapes: tuple[Sequence[Shape], Sequence[Shape]],
) -> list[str]:
    trained, held_out = shapes
    taken = set(known)
    queries = draw.shuffled(known.values())[: int(distinct * known_share)]
    if held_out:
        queries += _new_texts(held_out, draw, taken, int(distinct * held_out_share))
    queries += _new_texts(trained, draw, taken, distinct - len(queries))
    return draw.shuffled(queries)


def _new_texts(shapes: Sequence[Shape], draw: Draw, taken: set[bytes], count: int) -> list[str]:
    source = QuerySource(shapes, draw)
    return [query.text for query in islice(source.new_queries(taken), count)]


def _query_log_rows(draw: Draw, rows: int, queries: Sequence[str]) -> Iterator[Row]:
    for number, position in enumerate(zipf_positions(draw, rows, len(queries)), start=1):
        row: Row = {"query_id": f"q{number:08d}", "query": queries[position]}
        locale = draw.pick(_LOCALES)
        if locale is not None:
            row["user_locale"] = locale
        yield row


def _unique(queries: Iterable[str]) -> dict[bytes, str]:
    unique: dict[bytes, str] = {}
    for query in queries:
        unique.setdefault(fingerprint(query), query)
    return unique


def _checked_modalities(modalities: Sequence[str]) -> Modalities:
    return parse_modalities(",".join(modalities))


def _check_not_negative(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise InvalidInputError(f"{name} is negative")
