"""The holdout of a run: its labels, and the stored answers of models to its queries.

Answers are stored in objects of a hundred, under fixed keys that are written once. A retry asks
only the queries without a stored answer, and every attempt scores the same answers. A copy under a
hash of model and queries serves later runs that ask the same. Calls are booked before they happen.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter

from search_router.domain import naming
from search_router.domain.errors import NotFoundError, TransientError
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.lifecycle.estimates import answers_at_most_usd
from search_router.domain.lifecycle.evaluation import References
from search_router.domain.lifecycle.scoring import total_cost
from search_router.domain.lifecycle.teacher import MAX_LABEL_TOKENS, teacher_prompt
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import Model, NoCache, route
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import Decision, ModelAnswer, ModelReply, Status
from search_router.domain.streams import batched
from search_router.domain.weights import Weights
from search_router.ports import ObjectStore
from search_router.use_cases.spending import Budget

ANSWERS_PER_OBJECT = 100
_TEACHER = "references"
_TEXT = "text"
_DECISIONS = TypeAdapter(dict[str, Decision])


class TimeIsUpError(TransientError):
    """The function's time ran out before every query was answered; complete objects are stored."""


@dataclass(slots=True)
class Answers:
    """The answers in one run's evaluation; `written` counts the objects of this attempt.

    Without a budget no call is booked.
    """

    run_id: str
    objects: ObjectStore
    model: Model
    budget: Budget | None = None
    written: int = 0

    def of(self, name: str, serving: ServingModel, queries: Collection[str]) -> dict[str, Decision]:
        """Return one model's answer to every query, in their order; ask those not stored yet.

        Raises TimeIsUpError, another TransientError of the model, BudgetExceededError before a
        call, or NotFoundError for a model that does not exist.
        """
        decisions: dict[str, Decision] = {}
        missing: list[tuple[str, list[str]]] = []
        for index, batch in enumerate(batched(queries, ANSWERS_PER_OBJECT)):
            key = self._key(name, index)
            if (found := self._read(key) or self._adopted(key, batch, serving)) is None:
                missing.append((key, batch))
            decisions.update(found or {})
        self._book(name, serving, [query for _, batch in missing for query in batch])
        for key, batch in missing:
            decisions.update(self._ask(key, batch, serving))
        return {query: decisions[query] for query in queries}

    def texts(self, name: str, queries: Collection[str]) -> dict[str, str]:
        """Return a model's response text to every query; all of them must be stored."""
        found: dict[str, str] = {}
        for index in range(math.ceil(len(queries) / ANSWERS_PER_OBJECT)):
            stored = json.loads(self.objects.get(self._key(name, index)))
            found.update({query: answer.get(_TEXT, "") for query, answer in stored.items()})
        return {query: found[query] for query in queries}

    def _key(self, name: str, index: int) -> str:
        return naming.run_key(self.run_id, "evaluation", name, f"answers-{index:05d}.json")

    def _book(self, name: str, serving: ServingModel, queries: list[str]) -> None:
        if self.budget is not None and queries:
            usd = answers_at_most_usd(serving, queries)
            self.budget.book(f"{self.run_id}-{name}-{serving.model_id.rpartition('/')[2]}", usd)

    def _adopted(
        self, key: str, queries: list[str], serving: ServingModel
    ) -> dict[str, Decision] | None:
        """Copy the answers that another run got to the same queries; None if there are none."""
        try:
            body = self.objects.get(_shared_key(serving, queries))
        except NotFoundError:
            return None
        self.objects.put_once(key, body, metadata={})
        return self._read(key)

    def _ask(self, key: str, queries: list[str], serving: ServingModel) -> dict[str, Decision]:
        by_key = {normalised_query(query): query for query in queries}
        model = _RecordingModel(self.model)
        routing = route(by_key, serving, model, NoCache())
        if routing.pending:
            raise routing.problem or TimeIsUpError("time ran out before every query was answered")
        answers = {by_key[key]: decision for key, decision in routing.decisions.items()}
        stored = {
            query: {**asdict(answers[query]), _TEXT: model.texts.get(key, "")}
            for key, query in by_key.items()
        }
        body = json.dumps(stored, ensure_ascii=False).encode("utf-8", "replace")
        self.objects.put_once(_shared_key(serving, queries), body, metadata={})
        self.written += 1
        return self._adopted(key, queries, serving) or answers

    def _read(self, key: str) -> dict[str, Decision] | None:
        try:
            return _DECISIONS.validate_json(self.objects.get(key))
        except NotFoundError:
            return None


def _shared_key(serving: ServingModel, queries: list[str]) -> str:
    """Return the key of a model's answers to these queries, which all runs share.

    It covers all that an answer depends on. The deployment's ARN identifies the trained model.
    """
    parameters = serving.model_dump(mode="json", exclude={"training_histograms", "local_model"})
    text = json.dumps([parameters, queries], sort_keys=True)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return naming.run_key(naming.SHARED, "evaluation", "answers", f"{digest}.json")


@dataclass(slots=True)
class _RecordingModel:
    """A model that records its response texts."""

    model: Model
    texts: dict[str, str] = field(default_factory=dict)

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelAnswer]]:
        """Ask the model."""
        for query, reply in self.model.ask(serving, queries):
            if isinstance(reply, ModelReply):
                self.texts[query] = reply.text
            yield query, reply


@dataclass(frozen=True, slots=True)
class LabelledHoldout:
    """The labelled queries of the holdout, and the sources of their labels."""

    labels: dict[str, Weights]
    source: References


def labelled_holdout(
    answers: Answers, serving: ServingModel, teacher: str, champion_run: str = ""
) -> LabelledHoldout:
    """Return the holdout of the run that `serving` was trained in, by default the evaluated one.

    The teacher labels the unlabelled rows with the detailed prompt, at the evaluation's pace; its
    answers are stored too. A row without a valid answer is left out.
    """
    rows = _rows(answers, serving, champion_run or answers.run_id)
    missing = [query for query, label in rows.items() if label is None]
    labels = {query: label for query, label in rows.items() if label is not None}
    from_file = len(labels)
    if not missing:
        return LabelledHoldout(labels, References(from_file=from_file))
    replies = answers.of(champion_run or _TEACHER, with_detailed_prompt(teacher, serving), missing)
    usable = {q: reply.weights for q, reply in replies.items() if reply.status != Status.FALLBACK}
    labels |= usable
    return LabelledHoldout(
        {query: labels[query] for query in rows if query in labels},
        References(
            from_file=from_file,
            from_teacher=len(usable),
            unusable=len(missing) - len(usable),
            teacher=teacher,
            cost_usd=total_cost(replies.values()),
        ),
    )


def with_detailed_prompt(model_id: str, serving: ServingModel) -> ServingModel:
    """Return a foundation model's serving settings for the same modalities and prior."""
    return ServingModel(
        model_id=model_id,
        priced_as=model_id,
        system_prompt=teacher_prompt(serving.modalities, with_reasoning=False),
        modalities=serving.modalities,
        max_output_tokens=MAX_LABEL_TOKENS,
        prior=serving.prior,
    )


def _rows(answers: Answers, serving: ServingModel, run_id: str) -> dict[str, Weights | None]:
    data = answers.objects.get(naming.run_key(run_id, "holdout.jsonl"))
    file = PromptFile("holdout.jsonl", lambda: [data])
    return {record.query: record.weights for record in read_prompts(file, serving.modalities)}
