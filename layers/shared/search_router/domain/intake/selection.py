"""Selects a training set and a holdout from the rows of a dataset.

    accepted = training + holdout + duplicates + sampled_out

It takes two passes. `IntakeBuilder` surveys all rows without keeping text, then chooses rows and
renders them as they are read again. File order and names do not affect the result.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from search_router.domain.errors import UnavailableError, commonest
from search_router.domain.intake.noise import MIN_REPEATED
from search_router.domain.intake.prompts import PromptRecord, RejectedLine, cause_of
from search_router.domain.intake.sides import UNLABELLED, Chosen, Sides, stratum
from search_router.domain.intake.survey import Survey
from search_router.domain.intake.training_records import (
    MAX_RECORD_BYTES,
    SystemPrompts,
    TrainingRow,
    shards,
    training_line,
)
from search_router.domain.records import Record
from search_router.domain.weights import Modalities, Weights, mean_weights, weight_histograms

MIN_TRAINING_ROWS = 100  # Bedrock quota: prompts per distillation job
WARN_CONTRADICTORY_SHARE = 0.1  # our own choice; 2 % of public teacher labels disagree
_MAX_CAUSES = 1_000
FILE_SPACE = 2**32  # a row's position is its file's index times this, plus its byte offset
_MAX_LOCATIONS = 20

ReadRows = Callable[[Sequence[int]], Iterable[tuple[int, PromptRecord]]]
"""Reads the rows at ascending positions again and yields each with its position."""


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """The settings that determine what prompt files become."""

    modalities: Modalities
    holdout_fraction: float
    keep_reasoning: bool = False
    max_contradictory_share: float = 1.0
    golden: frozenset[bytes] = frozenset()  # fingerprints of queries that no model may train on


class IntakeCounts(Record):
    """The accounting of one dataset, in rows.

    `exact_duplicates` are the duplicates that repeat a query character by character. `conflicts`
    counts distinct queries with differing labels.
    """

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


@dataclass(slots=True)
class FileCounts:
    """The rows of one file; the name is used in error messages and may be empty."""

    name: str
    rows_in: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """A dataset's training set and holdout, in an order that depends only on their content."""

    counts: IntakeCounts
    files: Sequence[FileCounts]
    rules: IntakeRules
    system_prompt: str
    training: Sequence[TrainingRow]
    holdout: Sequence[TrainingRow]
    training_sha256: str
    noise: Mapping[str, object]
    mean_query_bytes: float
    mean_reasoning_bytes: float
    differing_prompts: Sequence[str]
    too_long: str
    commonest_cause: str = ""
    contradictions: Sequence[tuple[str, Counter[Weights]]] = ()

    @property
    def modalities(self) -> Modalities:
        """The modalities that the labels weigh."""
        return self.rules.modalities

    @property
    def rejection(self) -> str:
        """The reason why no distillation job can start; empty if one can."""
        if self.counts.rows_in == 0:
            subject = "the file has" if len(self.files) == 1 else "the files have"
            return f"{subject} no rows. Write one JSON record per line."
        if self.counts.accepted == 0:
            return (
                f"none of the {self.counts.rows_in} rows is valid: {self.commonest_cause}. "
                "Fix the rejected lines."
            )
        if self.differing_prompts:
            locations = ", ".join(self.differing_prompts[:_MAX_LOCATIONS])
            return (
                f"the system prompts differ: first seen at {locations}. "
                "Use the same system prompt in all rows."
            )
        if len(self.training) < MIN_TRAINING_ROWS:
            return (
                f"too few training rows: {len(self.training)} without duplicates and holdout. "
                f"Add queries: Bedrock needs at least {MIN_TRAINING_ROWS}."
            )
        if self.contradictory_share > self.rules.max_contradictory_share:
            return f"{self._contradicted}. Correct the labels or raise the limit."
        return self.too_long

    @property
    def contradictory_share(self) -> float:
        """The share of queries with several labels whose labels have no common leader."""
        found, repeated = self.noise["contradictory"], self.noise["repeated_queries"]
        if not isinstance(found, int) or not isinstance(repeated, int):
            return 0.0
        return found / repeated if repeated >= MIN_REPEATED else 0.0

    @property
    def warnings(self) -> list[str]:
        """What an operator should look at before a job starts."""
        if self.contradictory_share <= WARN_CONTRADICTORY_SHARE:
            return []
        return [f"{self._contradicted}. The mean label of such a query means little."]

    @property
    def _contradicted(self) -> str:
        return (
            f"contradictory labels: {self.noise['contradictory']:,} of "
            f"{self.noise['repeated_queries']:,} queries with several labels "
            f"({self.contradictory_share:.0%}) disagree on the dominant modality"
        )

    def prior(self) -> Weights:
        """Return the mean training label, the fallback when no tier answers."""
        labels = self._training_labels()
        return (
            mean_weights(labels) if labels else (1 / len(self.modalities),) * len(self.modalities)
        )

    def balance(self) -> dict[str, int]:
        """Count the training rows by dominant modality, and those without a label."""
        counts = Counter(stratum(row.label, self.modalities) for row in self.training)
        return {name: counts[name] for name in (*self.modalities, UNLABELLED)}

    def histograms(self) -> dict[str, list[int]]:
        """Count the training labels per modality and bin."""
        return weight_histograms(self._training_labels(), self.modalities)

    def report(self) -> dict[str, object]:
        """Return what the manifest and `search-router validate` have in common, as JSON values."""
        return {
            "rejection": self.rejection,
            "warnings": self.warnings,
            "modalities": list(self.modalities),
            "keep_reasoning": self.rules.keep_reasoning,
            "system_prompt": self.system_prompt,
            "balance": self.balance(),
            "weight_histograms": self.histograms(),
            "label_noise": dict(self.noise),
            "training_sha256": self.training_sha256,
        }

    def _training_labels(self) -> Sequence[Weights]:
        return [row.label for row in self.training if row.label is not None]


class IntakeBuilder:
    """Surveys the rows of one dataset, file by file, in 40 bytes per row; then selects."""

    def __init__(self, rules: IntakeRules) -> None:
        self.rules = rules
        self._survey = Survey()
        self._prompts = SystemPrompts(rules.modalities, with_reasoning=rules.keep_reasoning)
        self._last_prompt: str | None = None
        self._files: list[FileCounts] = []
        self._causes: Counter[str] = Counter()
        self._reasoned_rows = 0
        self._reasoning_bytes = 0

    def begin(self, file: str) -> None:
        """Start the next file."""
        self._files.append(FileCounts(file))

    def add(self, record: PromptRecord | RejectedLine, position: int) -> None:
        """Count one line; its position identifies the row when it is read again."""
        counts = self._files[-1]
        counts.rows_in += 1
        if isinstance(record, RejectedLine):
            counts.rejected += 1
            if len(self._causes) < _MAX_CAUSES:
                self._causes[cause_of(record.detail)] += 1
            return
        number, query, weights, reasoning, system_prompt = record
        if system_prompt is not None and system_prompt is not self._last_prompt:
            self._prompts.add(system_prompt, counts.name, number)
            self._last_prompt = system_prompt
        if reasoning is not None:
            self._reasoned_rows += 1
            self._reasoning_bytes += len(reasoning.encode("utf-8"))
            if not self.rules.keep_reasoning:
                reasoning = None
        self._survey.add(query, weights, reasoning, position)

    def select(self, read_rows: ReadRows) -> Selection:
        """Split the surveyed queries into training and holdout, and render the chosen rows.

        Raises UnavailableError if a chosen row is missing when it is read again.
        """
        sides = Sides(self.rules.modalities, self.rules.holdout_fraction)
        step = self._survey.grid_step
        for rank, sightings in self._survey.queries():
            sides.add(rank, sightings, step)
        chosen_training, chosen_holdout = sides.training(), sides.holdout()
        contradicted = {position: labels for _, position, labels in sides.contradictions()}
        rows, texts, too_long = self._render(
            (*chosen_training, *chosen_holdout), set(contradicted), read_rows
        )
        training = [rows[chosen.position] for chosen in chosen_training]
        holdout = [rows[chosen.position] for chosen in chosen_holdout]
        return Selection(
            counts=self._counts(sides, training, holdout),
            files=tuple(self._files),
            rules=self.rules,
            system_prompt=self._prompts.agreed,
            training=training,
            holdout=holdout,
            training_sha256=_sha256(training),
            noise=sides.noise.summary(step),
            mean_query_bytes=self._survey.query_bytes / max(1, self._survey.rows),
            mean_reasoning_bytes=self._reasoning_bytes / max(1, self._reasoned_rows),
            differing_prompts=self._prompts.differing,
            too_long=too_long,
            commonest_cause=commonest(self._causes.elements()),
            contradictions=[(texts[place], labels) for place, labels in contradicted.items()],
        )

    def _render(
        self, chosen: Sequence[Chosen], also: set[int], read_rows: ReadRows
    ) -> tuple[Mapping[int, TrainingRow], Mapping[int, str], str]:
        """Render the chosen rows by position.

        Return with them the queries at the positions in `also`, and the error of a row too long.
        """
        wanted = {row.position: row for row in chosen}
        rows: dict[int, TrainingRow] = {}
        texts: dict[int, str] = {}
        too_long = ""
        system_prompt, modalities = self._prompts.agreed, self.rules.modalities
        for position, record in read_rows(sorted({*wanted, *also})):
            if position in also:
                texts[position] = record.query
            if position not in wanted:
                continue
            label, keeps_reasoning = wanted[position].label, wanted[position].keeps_reasoning
            reasoning = record.reasoning if self.rules.keep_reasoning and keeps_reasoning else None
            line = training_line(record.query, system_prompt, modalities, label, reasoning)
            rows[position] = TrainingRow(record.query, label, line)
            if len(line) - 1 > MAX_RECORD_BYTES:
                too_long = _too_long(self._files[position // FILE_SPACE], record, line)
        if len(rows) < len(wanted) or len(texts) < len(also):
            raise UnavailableError("read the prompts again: they changed since the first pass")
        return rows, texts, too_long

    def _counts(
        self, sides: Sides, training: Sequence[TrainingRow], holdout: Sequence[TrainingRow]
    ) -> IntakeCounts:
        accepted = self._survey.rows
        rejected = sum(file.rejected for file in self._files)
        return IntakeCounts(
            rows_in=accepted + rejected,
            accepted=accepted,
            rejected=rejected,
            duplicates=accepted - sides.distinct,
            exact_duplicates=accepted - sides.texts,
            sampled_out=sides.distinct - len(holdout) - len(training),
            training=len(training),
            holdout=len(holdout),
            shards=sum(1 for _ in shards(training)),
            conflicts=sides.conflicts,
        )


def _sha256(rows: Iterable[TrainingRow]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.line)
    return digest.hexdigest()


def _too_long(file: FileCounts, record: PromptRecord, line: bytes) -> str:
    location = f"{file.name} line {record.line_number}".lstrip()
    return (
        f"training record too long: {location} takes {len(line) - 1} bytes with the dataset's "
        f"system prompt, the limit is {MAX_RECORD_BYTES}. Shorten the query or the prompt."
    )
