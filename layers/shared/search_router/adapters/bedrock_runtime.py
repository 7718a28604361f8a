"""Bedrock Converse: many queries at a time, at the pace that the quota allows.

The SDK's own retries are off for this client: each attempt must take its slot from the pace, and
408 and 424 are not retried by the SDK at all.
"""

import itertools
import queue
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import translated
from search_router.domain.champions import ServingModel
from search_router.domain.errors import ThrottledError, TransientError
from search_router.domain.pacing import Pace
from search_router.domain.routing import ModelReply
from search_router.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_bedrock_runtime.type_defs import ConverseResponseTypeDef

MAX_ATTEMPTS = 5
_FIRST_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 10.0

_Answer = tuple[str, ModelReply | TransientError]


@dataclass(frozen=True, slots=True)
class ConverseModel:
    """Asks one deployment or base model; `deadline` is on the clock's monotonic scale."""

    client: "BedrockRuntimeClient"
    pace: Pace
    in_flight: int
    deadline: float
    clock: Clock

    def ask(self, serving: ServingModel, queries: Sequence[str]) -> Iterator[_Answer]:
        """Yield a reply or the last transient error per query, in order of completion."""
        threads = min(self.in_flight, len(queries))
        if threads <= 1:
            yield from self._ask_in_turn(serving, iter(queries))
        else:
            yield from self._ask_at_once(serving, queries, threads)

    def _ask_in_turn(self, serving: ServingModel, queries: Iterator[str]) -> Iterator[_Answer]:
        for query in queries:
            answer = self._ask_one(serving, query)
            if answer is None:
                return
            yield query, answer

    def _ask_at_once(
        self, serving: ServingModel, queries: Sequence[str], threads: int
    ) -> Iterator[_Answer]:
        """Let threads draw from one list; the first permanent error stops them all."""
        crew = _Crew(queries)
        for _ in range(threads):
            threading.Thread(target=self._work, args=(serving, crew), daemon=True).start()
        try:
            while threads:
                item = crew.answers.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    threads -= 1
                else:
                    yield item
        finally:
            crew.stop.set()

    def _work(self, serving: ServingModel, crew: "_Crew") -> None:
        try:
            while not crew.stop.is_set() and (query := crew.draw()) is not None:
                answer = self._ask_one(serving, query)
                if answer is None:
                    break
                crew.answers.put((query, answer))
        except BaseException as error:  # noqa: BLE001 - raised again by the asking thread
            crew.answers.put(error)
        crew.answers.put(None)

    def _ask_one(self, serving: ServingModel, query: str) -> ModelReply | TransientError | None:
        """Ask with our own retries; None when no time is left to start another attempt."""
        problem: TransientError | None = None
        for attempt in range(MAX_ATTEMPTS):
            wait = self.pace.reserve(self.clock.monotonic())
            if attempt:
                wait = max(wait, _backoff(attempt))
            if self.clock.monotonic() + wait >= self.deadline:
                return problem
            if wait:
                self.clock.sleep(wait)
            try:
                return self._converse(serving, query)
            except TransientError as error:
                problem = error
                if isinstance(error, ThrottledError):
                    self.pace.throttled(self.clock.monotonic())
        return problem

    def _converse(self, serving: ServingModel, query: str) -> ModelReply:
        started = self.clock.monotonic()
        with translated("ask the model", with_query=True):
            reply = self.client.converse(
                modelId=serving.model_id,
                system=[{"text": serving.system_prompt}],
                messages=[{"role": "user", "content": [{"text": query}]}],
                inferenceConfig={"maxTokens": serving.max_output_tokens, "temperature": 0.0},
            )
        elapsed = round((self.clock.monotonic() - started) * 1000)
        return ModelReply(
            text=_text(reply),
            stop_reason=reply["stopReason"],
            input_tokens=reply["usage"]["inputTokens"],
            output_tokens=reply["usage"]["outputTokens"],
            latency_ms=max(1, elapsed),
        )


class _Crew:
    """What the threads of one `ask` share; None among the answers says that one has finished."""

    def __init__(self, queries: Sequence[str]) -> None:
        self._queries = queries
        self._places = itertools.count()  # `next` on it is atomic
        self.answers: queue.SimpleQueue[_Answer | BaseException | None] = queue.SimpleQueue()
        self.stop = threading.Event()

    def draw(self) -> str | None:
        """Return the next query, or None when all are taken."""
        place = next(self._places)
        return self._queries[place] if place < len(self._queries) else None


def _text(reply: "ConverseResponseTypeDef") -> str:
    blocks = reply["output"].get("message", {}).get("content", [])
    return "".join(block.get("text", "") for block in blocks)


def _backoff(attempt: int) -> float:
    """Exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter")."""
    ceiling = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2**attempt)
    return random.uniform(0, ceiling)  # noqa: S311 - spreads retries, guards nothing
