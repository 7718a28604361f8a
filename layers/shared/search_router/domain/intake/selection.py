"""From accepted records to a training set and a holdout, whatever order and files they came in.

    accepted = training + holdout + duplicates + sampled_out

It takes two passes. `IntakeBuilder` surveys all rows and keeps no text; `Selection` says which rows
are wanted, and renders those that were read again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from search_router.domain.errors import UnavailableError
from search_router.domain.intake.prompts import PromptRecord, RejectedLine
from search_router.domain.intake.sides import UNLABELLED, Chosen, Sides, stratum
from search_router.domain.intake.survey import Survey
from search_router.domain.intake.system_prompts import SystemPrompts
from search_router.domain.intake.training_records import MAX_RECORD_BYTES, training_line
from search_router.domain.intake.training_sets import TrainingSet
from search_router.domain.weights import Modalities, Weights, mean_weights, weight_histograms

MIN_TRAINING_ROWS = 100  # Bedrock quota: prompts per distillation job
FILE_SPACE = 2**32  # a row's place is its file's number times this, plus its byte offset
_MAX_SHOWN_PLACES = 20


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """The settings that decide what prompt files become."""

    modalities: Modalities
    holdout_fraction: float
    keep_reasoning: bool = False


class IntakeCounts(BaseModel):
    """The accounting of one dataset, in rows.

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


@dataclass(slots=True)
class FileCounts:
    """The rows of one file of a dataset; its name is told with places in it."""

    name: str
    rows_in: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """What one dataset becomes; training and holdout are in a fixed, content-derived order."""

    counts: IntakeCounts
    files: Sequence[FileCounts]
    rules: IntakeRules
    system_prompt: str
    training: Sequence[Chosen]
    holdout: Sequence[Chosen]
    noise: Mapping[str, float]
    mean_query_bytes: float = 0.0
    mean_reasoning_bytes: float = 0.0
    differing_prompts: Sequence[str] = ()
    too_long: str | None = None

    @property
    def modalities(self) -> Modalities:
        """What the rows are weighed over."""
        return self.rules.modalities

    @property
    def refusal(self) -> str | None:
        """Say why no distillation job can start, or None if one can."""
        if self.counts.rows_in == 0:
            return "the file has no rows" if len(self.files) == 1 else "no file has a row"
        if self.counts.accepted == 0:
            return f"none of the {self.counts.rows_in} rows is valid"
        if self.differing_prompts:
            places = ", ".join(self.differing_prompts[:_MAX_SHOWN_PLACES])
            return f"the system prompts differ; each was first seen at {places}"
        if len(self.training) < MIN_TRAINING_ROWS:
            return (
                f"{len(self.training)} training rows after removing duplicates and the holdout; "
                f"Bedrock needs at least {MIN_TRAINING_ROWS}"
            )
        return self.too_long

    @property
    def places(self) -> Sequence[int]:
        """The places of all rows that are to be read again, ascending."""
        return sorted(chosen.place for chosen in (*self.training, *self.holdout))

    def prior(self) -> Weights:
        """Return the mean training label: what is served when nothing better is known."""
        labels = [chosen.label for chosen in self.training if chosen.label is not None]
        if not labels:
            return tuple(1 / len(self.modalities) for _ in self.modalities)
        return mean_weights(labels)

    def balance(self) -> dict[str, int]:
        """Count the training rows by dominant modality; rows without a label apart."""
        counts = Counter(stratum(chosen.label, self.modalities) for chosen in self.training)
        return {name: counts[name] for name in (*self.modalities, UNLABELLED)}

    def histograms(self) -> dict[str, list[int]]:
        """Count the training labels per modality."""
        labels = (chosen.label for chosen in self.training if chosen.label is not None)
        return weight_histograms(labels, self.modalities)

    def filled(
        self, records: Iterable[tuple[int, PromptRecord]]
    ) -> tuple["Selection", TrainingSet]:
        """Render the chosen rows from (place, record) pairs, in any order.

        Return with them the selection as it is now known. Raises UnavailableError if a row that
        was there in the first pass is not there in the second.
        """
        wanted = {chosen.place: chosen for chosen in (*self.training, *self.holdout)}
        lines: dict[int, bytes] = {}
        too_long = None
        for place, record in records:
            if place in wanted:
                lines[place] = line = self._line(wanted[place], record)
                if len(line) - 1 > MAX_RECORD_BYTES:
                    too_long = _too_long(self.files[place // FILE_SPACE], record, line)
        if len(lines) < len(wanted):
            raise UnavailableError("read the prompts again: they changed meanwhile")
        rows = TrainingSet(
            training=[lines[chosen.place] for chosen in self.training],
            holdout=[lines[chosen.place] for chosen in self.holdout],
        )
        counts = self.counts.model_copy(update={"shards": sum(1 for _ in rows.shards())})
        return replace(self, counts=counts, too_long=too_long), rows

    def _line(self, chosen: Chosen, record: PromptRecord) -> bytes:
        kept = self.rules.keep_reasoning and chosen.label_is_its_own
        reasoning = record.reasoning if kept else None
        return training_line(
            record.query, self.system_prompt, self.modalities, chosen.label, reasoning
        )


class IntakeBuilder:
    """Takes in the rows of one dataset, file by file; memory is 40 bytes a row."""

    def __init__(self, rules: IntakeRules) -> None:
        self.rules = rules
        self._survey = Survey()
        self._prompts = SystemPrompts(rules.modalities, with_reasoning=rules.keep_reasoning)
        self._last_prompt: str | None = None
        self._files: list[FileCounts] = []
        self._reasoned_rows = 0
        self._reasoning_bytes = 0

    def begin(self, file: str) -> None:
        """Say that the rows of the next file follow."""
        self._files.append(FileCounts(file))

    def add(self, record: PromptRecord | RejectedLine, place: int) -> None:
        """Count one line; `place` tells the row from all others when it is read again."""
        counts = self._files[-1]
        counts.rows_in += 1
        if isinstance(record, RejectedLine):
            counts.rejected += 1
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
        self._survey.add(query, weights, reasoning, place)

    def select(self) -> Selection:
        """Split what was surveyed into training and holdout."""
        sides = Sides(self.rules.modalities, self.rules.holdout_fraction)
        step = self._survey.grid_step
        for rank, sightings in self._survey.queries():
            sides.add(rank, sightings, step)
        training, holdout = sides.training(), sides.holdout()
        accepted = self._survey.rows
        rejected = sum(file.rejected for file in self._files)
        counts = IntakeCounts(
            rows_in=accepted + rejected,
            accepted=accepted,
            rejected=rejected,
            duplicates=accepted - sides.distinct,
            exact_duplicates=accepted - sides.texts,
            sampled_out=sides.distinct - len(holdout) - len(training),
            training=len(training),
            holdout=len(holdout),
            conflicts=sides.conflicts,
        )
        return Selection(
            counts=counts,
            files=tuple(self._files),
            rules=self.rules,
            system_prompt=self._prompts.agreed,
            training=training,
            holdout=holdout,
            noise=sides.noise.summary(),
            mean_query_bytes=self._survey.query_bytes / max(1, accepted),
            mean_reasoning_bytes=self._reasoning_bytes / max(1, self._reasoned_rows),
            differing_prompts=self._prompts.differing,
        )


def _too_long(file: FileCounts, record: PromptRecord, line: bytes) -> str:
    place = f"{file.name} line {record.line_number}".lstrip()
    return (
        f"with the dataset's system prompt, {place} becomes a record of {len(line) - 1} bytes; "
        f"the limit is {MAX_RECORD_BYTES}"
    )
