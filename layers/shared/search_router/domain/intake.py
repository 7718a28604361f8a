"""From accepted records to a training set and a holdout, whatever order they came in.

Every choice is a pure function of the set of records: queries are grouped by fingerprint, the
holdout is a hash of the fingerprint, sampling ranks by that hash. Uploading a query twice, or in
another file, can therefore never move it from one side to the other.

    accepted = training + holdout + duplicates + sampled_out

It takes two passes. `IntakeBuilder` surveys all rows and keeps no text; `Selection` says which rows
are wanted, and `Dataset` holds those that were read again.
"""

import hashlib
import heapq
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from search_router.domain.histograms import weight_histograms
from search_router.domain.prompts import PromptRecord, RejectedLine, training_line
from search_router.domain.survey import LabelNoise, Sighting, Survey
from search_router.domain.weights import (
    Modalities,
    Weights,
    dominant,
    grid_step,
    mean_weights,
    snap,
)

MIN_TRAINING_ROWS = 100  # Bedrock quota: prompts per distillation job
MAX_TRAINING_ROWS = 15_000  # the same quota's upper end
MAX_HOLDOUT_ROWS = 1_000  # prompts per Bedrock evaluation job
SHARD_ROWS = 1_000
_UNLABELLED = "unlabelled"
_HASH_RANGE = 2**64


class IntakeCounts(BaseModel):
    """The accounting of one prompt file, in rows.

    Of the duplicates, `exact_duplicates` repeat a query to the letter. `conflicts` counts distinct
    queries with differing labels.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows_in: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    exact_duplicates: int = 0
    sampled_out: int = 0
    training: int = 0
    holdout: int = 0
    shards: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """One distinct query that is wanted: where to read it, and the label it shall have."""

    rank: bytes
    place: int
    label: Weights | None
    label_is_its_own: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the training set or the holdout."""

    query: str
    weights: Weights | None
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """What one dataset becomes; training and holdout are in a fixed, content-derived order."""

    counts: IntakeCounts
    modalities: Modalities
    system_prompt: str
    training: Sequence[Chosen]
    holdout: Sequence[Chosen]
    noise: Mapping[str, float]
    mean_query_bytes: float = 0.0
    mean_reasoning_bytes: float = 0.0
    differing_prompts: Sequence[int] = ()

    @property
    def refusal(self) -> str | None:
        """Say why no distillation job can start, or None if one can."""
        if self.counts.rows_in == 0:
            return "the file has no rows"
        if self.counts.accepted == 0:
            return f"none of the {self.counts.rows_in} rows is valid"
        if self.differing_prompts:
            places = ", ".join(f"line {number}" for number in self.differing_prompts[:20])
            return f"the system prompts differ; each was first seen at {places}"
        if len(self.training) < MIN_TRAINING_ROWS:
            return (
                f"{len(self.training)} training rows after removing duplicates and the holdout; "
                f"Bedrock needs at least {MIN_TRAINING_ROWS}"
            )
        return None

    @property
    def places(self) -> frozenset[int]:
        """The places of all rows that are to be read again."""
        return frozenset(chosen.place for chosen in (*self.training, *self.holdout))

    def prior(self) -> Weights:
        """Return the mean training label: what is served when nothing better is known."""
        labels = [chosen.label for chosen in self.training if chosen.label is not None]
        if not labels:
            return tuple(1 / len(self.modalities) for _ in self.modalities)
        return mean_weights(labels)

    def balance(self) -> dict[str, int]:
        """Count the training rows by dominant modality; rows without a label apart."""
        counts = Counter(stratum(chosen.label, self.modalities) for chosen in self.training)
        return {name: counts[name] for name in (*self.modalities, _UNLABELLED)}

    def histograms(self) -> dict[str, list[int]]:
        """Count the training labels per modality."""
        labels = (chosen.label for chosen in self.training if chosen.label is not None)
        return weight_histograms(labels, self.modalities)

    def dataset(self, records: Iterable[tuple[int, PromptRecord]]) -> "Dataset":
        """Take the texts of the chosen rows from (place, record) pairs, in any order."""
        places = self.places
        found = {place: record for place, record in records if place in places}
        return Dataset(
            self.modalities,
            self.system_prompt,
            training=[_row(chosen, found[chosen.place]) for chosen in self.training],
            holdout=[_row(chosen, found[chosen.place]) for chosen in self.holdout],
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """The chosen rows with their texts."""

    modalities: Modalities
    system_prompt: str
    training: Sequence[Row]
    holdout: Sequence[Row]

    def training_lines(self) -> Iterator[bytes]:
        """Render the training rows as Bedrock records."""
        return self._lines(self.training)

    def holdout_lines(self) -> Iterator[bytes]:
        """Render the holdout rows as Bedrock records, so that one reader serves both."""
        return self._lines(self.holdout)

    def shards(self) -> Iterator[bytes]:
        """Cut the training rows into shards of at most 1,000 records."""
        lines = list(self.training_lines())
        for start in range(0, len(lines), SHARD_ROWS):
            yield b"".join(lines[start : start + SHARD_ROWS])

    def _lines(self, rows: Sequence[Row]) -> Iterator[bytes]:
        for row in rows:
            yield training_line(
                row.query, self.system_prompt, self.modalities, row.weights, row.reasoning
            )


class IntakeBuilder:
    """Takes in the rows of one dataset, one by one; memory is 44 bytes a row."""

    def __init__(
        self, modalities: Modalities, default_prompt: str, holdout_fraction: float
    ) -> None:
        self._modalities = modalities
        self._default_prompt = default_prompt
        self._holdout_fraction = holdout_fraction
        self._survey = Survey()
        self._system_prompts: dict[str, int] = {}
        self._rejected = 0

    def add(self, record: PromptRecord | RejectedLine, place: int) -> None:
        """Count one line; `place` tells the row from all others when it is read again."""
        if isinstance(record, RejectedLine):
            self._rejected += 1
            return
        if record.system_prompt is not None:
            self._system_prompts.setdefault(record.system_prompt, record.line_number)
        self._survey.add(record, place)

    def select(self) -> Selection:
        """Split what was surveyed into training and holdout."""
        sorting = _Sorting(self._modalities, self._holdout_fraction)
        step = grid_step(self._survey.labels)
        for rank, sightings in self._survey.queries():
            sorting.add(rank, sightings, step)
        training, holdout = sorting.training(), sorting.holdout()
        accepted = self._survey.rows
        counts = IntakeCounts(
            rows_in=accepted + self._rejected,
            accepted=accepted,
            rejected=self._rejected,
            duplicates=accepted - sorting.distinct,
            exact_duplicates=accepted - sorting.texts,
            sampled_out=sorting.distinct - len(holdout) - len(training),
            training=len(training),
            holdout=len(holdout),
            shards=math.ceil(len(training) / SHARD_ROWS),
            conflicts=sorting.conflicts,
        )
        return Selection(
            counts=counts,
            modalities=self._modalities,
            system_prompt=next(iter(self._system_prompts), self._default_prompt),
            training=training,
            holdout=holdout,
            noise=sorting.noise.summary(),
            mean_query_bytes=self._survey.query_bytes / max(1, accepted),
            mean_reasoning_bytes=(
                self._survey.reasoning_bytes / max(1, self._survey.reasoned_rows)
            ),
            differing_prompts=self._differing_prompts(),
        )

    def _differing_prompts(self) -> tuple[int, ...]:
        return tuple(self._system_prompts.values()) if len(self._system_prompts) > 1 else ()


@dataclass(slots=True)
class _Sorting:
    """Sorts distinct queries, which come in the order of their rank, to the two sides."""

    modalities: Modalities
    holdout_fraction: float
    distinct: int = 0
    texts: int = 0
    conflicts: int = 0
    noise: LabelNoise = field(default_factory=LabelNoise)
    _sizes: Counter[str] = field(default_factory=Counter)
    _strata: dict[str, list[Chosen]] = field(default_factory=dict)
    _held_out: list[tuple[bytes, Chosen]] = field(default_factory=list)

    def add(self, rank: bytes, sightings: list[Sighting], step: float | None) -> None:
        labels = Counter(seen.label for seen in sightings if seen.label is not None)
        self.distinct += 1
        self.texts += 1 if len(sightings) == 1 else len({seen.text for seen in sightings})
        self.conflicts += len(labels) > 1
        self.noise.add(labels)
        chosen = _choose(rank, sightings, consensus(labels, step))
        if in_holdout(rank, self.holdout_fraction):
            self._held_out.append((holdout_rank(rank), chosen))
            if len(self._held_out) > 2 * MAX_HOLDOUT_ROWS:
                self._held_out = heapq.nsmallest(MAX_HOLDOUT_ROWS, self._held_out, key=_first)
            return
        name = stratum(chosen.label, self.modalities)
        self._sizes[name] += 1
        kept = self._strata.setdefault(name, [])
        if len(kept) < MAX_TRAINING_ROWS:  # lower ranks came first: no later one can be kept
            kept.append(chosen)

    def training(self) -> list[Chosen]:
        """Return at most 15,000 rows, each dominant modality in proportion, by hash rank."""
        quotas = _quotas(self._sizes)
        kept = [chosen for name, rows in self._strata.items() for chosen in rows[: quotas[name]]]
        return sorted(kept, key=lambda chosen: chosen.rank)

    def holdout(self) -> list[Chosen]:
        """Return at most 1,000 rows, those first in the holdout's own order."""
        kept = heapq.nsmallest(MAX_HOLDOUT_ROWS, self._held_out, key=_first)
        return sorted((chosen for _, chosen in kept), key=lambda chosen: chosen.rank)


def consensus(labels: Counter[Weights], step: float | None) -> Weights | None:
    """Return what several labels of one query agree on: the component-wise median, on their grid.

    Labels with no common ground, such as three that each name another modality alone, have the
    median 0 throughout; their consensus is the mean.
    """
    if not labels:
        return None
    if len(labels) == 1:
        return next(iter(labels))
    rows = sorted(labels.elements())
    medians = tuple(statistics.median(column) for column in zip(*rows, strict=True))
    return snap(medians if any(medians) else mean_weights(rows), step)


def in_holdout(rank: bytes, fraction: float) -> bool:
    """Decide by the query's fingerprint alone on which side a query lies, for ever."""
    return int.from_bytes(holdout_rank(rank)[:8], "big") < fraction * _HASH_RANGE


def holdout_rank(rank: bytes) -> bytes:
    """Hash a fingerprint once more, so that the holdout is no slice of the training order."""
    return hashlib.sha256(b"holdout" + rank).digest()


def stratum(weights: Weights | None, modalities: Modalities) -> str:
    """Name the group that a row is sampled and balanced in."""
    return _UNLABELLED if weights is None else dominant(weights, modalities)


def _choose(rank: bytes, sightings: list[Sighting], label: Weights | None) -> Chosen:
    """Choose the row whose text stands for the query: by content, never by place or order.

    Rows with the agreed label come first, so that their reasoning can be kept.
    """
    best = min(
        sightings,
        key=lambda seen: (seen.label != label, seen.text, seen.content, seen.label or ()),
    )
    return Chosen(rank, best.place, label, best.label == label)


def _row(chosen: Chosen, record: PromptRecord) -> Row:
    reasoning = record.reasoning if chosen.label_is_its_own else None
    return Row(record.query, chosen.label, reasoning)


def _first(pair: tuple[bytes, Chosen]) -> bytes:
    return pair[0]


def _quotas(sizes: Mapping[str, int]) -> dict[str, int]:
    """Share 15,000 rows among groups by largest remainders; ties go to the first name."""
    total = sum(sizes.values())
    if total <= MAX_TRAINING_ROWS:
        return dict(sizes)
    exact = {name: size * MAX_TRAINING_ROWS / total for name, size in sizes.items()}
    quotas = {name: math.floor(share) for name, share in exact.items()}
    spare = MAX_TRAINING_ROWS - sum(quotas.values())
    for name in sorted(exact, key=lambda name: (quotas[name] - exact[name], name))[:spare]:
        quotas[name] += 1
    return quotas
