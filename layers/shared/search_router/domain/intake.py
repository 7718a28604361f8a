"""From accepted records to a training set and a holdout, whatever order they came in.

Every choice is a pure function of the set of records: queries are grouped by fingerprint, the
holdout is a hash of the fingerprint, sampling ranks by that hash. Uploading a query twice, or in
another file, can therefore never move it from one side to the other.

    accepted = training + holdout + duplicates + sampled_out
"""

import hashlib
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from search_router.domain.histograms import weight_histograms
from search_router.domain.prompts import (
    PromptRecord,
    RejectedLine,
    fingerprint,
    training_line,
)
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
    """The accounting of one prompt file, in rows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows_in: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    sampled_out: int = 0
    training: int = 0
    holdout: int = 0
    shards: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class Example:
    """One distinct query with every label that it was given."""

    query: str
    rank: bytes
    labels: Counter[Weights] = field(default_factory=Counter)
    reasonings: dict[Weights, str] = field(default_factory=dict)
    rows: int = 0

    def label(self, step: float | None) -> Weights | None:
        """Return the consensus of the labels: the component-wise median, on their grid.

        Labels with no common ground, such as three that each name another modality alone, have the
        median 0 throughout; their consensus is the mean.
        """
        if not self.labels:
            return None
        if len(self.labels) == 1:
            return next(iter(self.labels))
        labels = list(self.labels.elements())
        medians = tuple(statistics.median(column) for column in zip(*labels, strict=True))
        return snap(medians if any(medians) else mean_weights(labels), step)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the training set or the holdout."""

    query: str
    weights: Weights | None
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class Intake:
    """What one prompt file became; training and holdout are in a fixed, content-derived order."""

    counts: IntakeCounts
    modalities: Modalities
    system_prompt: str
    training: Sequence[Row]
    holdout: Sequence[Row]
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

    def prior(self) -> Weights:
        """Return the mean training label: what is served when nothing better is known."""
        labels = [row.weights for row in self.training if row.weights is not None]
        if not labels:
            return tuple(1 / len(self.modalities) for _ in self.modalities)
        return mean_weights(labels)

    def balance(self) -> dict[str, int]:
        """Count the training rows by dominant modality; rows without a label apart."""
        counts = Counter(stratum(row.weights, self.modalities) for row in self.training)
        return {name: counts[name] for name in (*self.modalities, _UNLABELLED)}

    def histograms(self) -> dict[str, list[int]]:
        """Count the training labels per modality."""
        labels = (row.weights for row in self.training if row.weights is not None)
        return weight_histograms(labels, self.modalities)

    def _lines(self, rows: Sequence[Row]) -> Iterator[bytes]:
        for row in rows:
            yield training_line(
                row.query, self.system_prompt, self.modalities, row.weights, row.reasoning
            )


class IntakeBuilder:
    """Collects records one by one; memory grows with the distinct queries only."""

    def __init__(
        self, modalities: Modalities, default_prompt: str, holdout_fraction: float
    ) -> None:
        self._modalities = modalities
        self._default_prompt = default_prompt
        self._holdout_fraction = holdout_fraction
        self._examples: dict[bytes, Example] = {}
        self._system_prompts: dict[str, int] = {}
        self._accepted = 0
        self._rejected = 0

    def add(self, record: PromptRecord | RejectedLine) -> None:
        """Count one line and keep what it says."""
        if isinstance(record, RejectedLine):
            self._rejected += 1
            return
        self._accepted += 1
        if record.system_prompt is not None:
            self._system_prompts.setdefault(record.system_prompt, record.line_number)
        key = fingerprint(record.query)
        example = self._examples.get(key)
        if example is None:
            example = self._examples[key] = Example(record.query, key)
        example.query = min(example.query, record.query)
        example.rows += 1
        if record.weights is not None:
            example.labels[record.weights] += 1
            self._keep_reasoning(example, record.weights, record.reasoning)

    def build(self) -> Intake:
        """Split what was collected into training and holdout."""
        ranked = sorted(self._examples.values(), key=lambda example: example.rank)
        step = grid_step([label for example in ranked for label in example.labels])
        rows = {example.rank: _row(example, step) for example in ranked}
        holdout = [e for e in ranked if in_holdout(e.rank, self._holdout_fraction)]
        training = [e for e in ranked if not in_holdout(e.rank, self._holdout_fraction)]
        kept_holdout = sorted(holdout, key=lambda e: holdout_rank(e.rank))[:MAX_HOLDOUT_ROWS]
        kept_training = self._sampled(training, rows)
        counts = IntakeCounts(
            rows_in=self._accepted + self._rejected,
            accepted=self._accepted,
            rejected=self._rejected,
            duplicates=self._accepted - len(ranked),
            sampled_out=len(ranked) - len(kept_holdout) - len(kept_training),
            training=len(kept_training),
            holdout=len(kept_holdout),
            shards=math.ceil(len(kept_training) / SHARD_ROWS),
            conflicts=sum(len(example.labels) > 1 for example in ranked),
        )
        return Intake(
            counts=counts,
            modalities=self._modalities,
            system_prompt=next(iter(self._system_prompts), self._default_prompt),
            training=[rows[example.rank] for example in kept_training],
            holdout=[rows[example.rank] for example in sorted(kept_holdout, key=lambda e: e.rank)],
            differing_prompts=self._differing_prompts(),
        )

    def _keep_reasoning(self, example: Example, weights: Weights, reasoning: str | None) -> None:
        if reasoning is not None:
            known = example.reasonings.get(weights)
            example.reasonings[weights] = reasoning if known is None else min(known, reasoning)

    def _differing_prompts(self) -> tuple[int, ...]:
        return tuple(self._system_prompts.values()) if len(self._system_prompts) > 1 else ()

    def _sampled(self, training: list[Example], rows: dict[bytes, Row]) -> list[Example]:
        """Keep at most 15,000 rows, each dominant modality in proportion, by hash rank."""
        if len(training) <= MAX_TRAINING_ROWS:
            return training
        strata: dict[str, list[Example]] = {}
        for example in training:
            name = stratum(rows[example.rank].weights, self._modalities)
            strata.setdefault(name, []).append(example)
        quotas = _proportional({name: len(group) for name, group in strata.items()})
        kept = [example for name, group in strata.items() for example in group[: quotas[name]]]
        return sorted(kept, key=lambda example: example.rank)


def in_holdout(rank: bytes, fraction: float) -> bool:
    """Decide by the query's fingerprint alone on which side a query lies, for ever."""
    return int.from_bytes(holdout_rank(rank)[:8], "big") < fraction * _HASH_RANGE


def holdout_rank(rank: bytes) -> bytes:
    """Hash a fingerprint once more, so that the holdout is no slice of the training order."""
    return hashlib.sha256(b"holdout" + rank).digest()


def stratum(weights: Weights | None, modalities: Modalities) -> str:
    """Name the group that a row is sampled and balanced in."""
    return _UNLABELLED if weights is None else dominant(weights, modalities)


def _row(example: Example, step: float | None) -> Row:
    label = example.label(step)
    reasoning = example.reasonings.get(label) if label is not None else None
    return Row(example.query, label, reasoning)


def _proportional(sizes: dict[str, int]) -> dict[str, int]:
    """Share 15,000 rows among groups by largest remainders; ties go to the first name."""
    total = sum(sizes.values())
    exact = {name: size * MAX_TRAINING_ROWS / total for name, size in sizes.items()}
    quotas = {name: math.floor(share) for name, share in exact.items()}
    spare = MAX_TRAINING_ROWS - sum(quotas.values())
    for name in sorted(exact, key=lambda name: (quotas[name] - exact[name], name))[:spare]:
        quotas[name] += 1
    return quotas
