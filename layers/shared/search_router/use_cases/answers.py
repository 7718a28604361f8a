"""Answers of models to the holdout, kept by the hundred, so that nothing is asked or paid twice.

Every hundred lies under a fixed key and is written once: a retry asks only what is missing, and
every attempt scores the same answers.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter

from search_router.domain import naming
from search_router.domain.errors import NotFoundError, TransientError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import Model, NoCache, route
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import Decision, ModelAnswer, ModelReply
from search_router.domain.streams import batched
from search_router.ports import ObjectStore

ANSWERS_PER_OBJECT = 100
_TEXT = "text"
_DECISIONS = TypeAdapter(dict[str, Decision])


class TimeIsUpError(TransientError):
    """The function has no time left to ask every query; what is complete is kept."""


@dataclass(slots=True)
class Answers:
    """The answers of one run's evaluation; `kept` counts the objects that this attempt wrote."""

    run_id: str
    objects: ObjectStore
    model: Model
    kept: int = 0

    def of(self, name: str, serving: ServingModel, queries: Collection[str]) -> dict[str, Decision]:
        """Return one model's answer to every query, in their order, asking those not kept yet.

        Raises TimeIsUpError, another TransientError of the model, or NotFoundError for a model that
        is not there.
        """
        decisions: dict[str, Decision] = {}
        for index, batch in enumerate(batched(queries, ANSWERS_PER_OBJECT)):
            key = self._key(name, index)
            decisions.update(self._read(key) or self._ask(key, batch, serving))
        return {query: decisions[query] for query in queries}

    def texts(self, name: str, queries: Collection[str]) -> dict[str, str]:
        """Return what a model said to every query, in its own words; all must be kept already."""
        found: dict[str, str] = {}
        for index in range(math.ceil(len(queries) / ANSWERS_PER_OBJECT)):
            kept = json.loads(self.objects.get(self._key(name, index)))
            found.update({query: answer.get(_TEXT, "") for query, answer in kept.items()})
        return {query: found[query] for query in queries}

    def _key(self, name: str, index: int) -> str:
        return naming.run_key(self.run_id, "evaluation", name, f"answers-{index:05d}.json")

    def _ask(self, key: str, queries: list[str], serving: ServingModel) -> dict[str, Decision]:
        by_key = {normalised_query(query): query for query in queries}
        listening = _Listening(self.model)
        routing = route(by_key, serving, listening, NoCache())
        if routing.pending:
            raise routing.problem or TimeIsUpError("no time was left to ask every query")
        answers = {by_key[key]: decision for key, decision in routing.decisions.items()}
        kept = {
            query: {**asdict(answers[query]), _TEXT: listening.texts.get(key, "")}
            for key, query in by_key.items()
        }
        body = json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace")
        self.objects.put_once(key, body, metadata={})
        self.kept += 1
        return self._read(key) or answers

    def _read(self, key: str) -> dict[str, Decision] | None:
        try:
            return _DECISIONS.validate_json(self.objects.get(key))
        except NotFoundError:
            return None


@dataclass(slots=True)
class _Listening:
    """A model whose own words are remembered beside what is made of them."""

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
