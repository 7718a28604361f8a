"""Bedrock Converse: many queries at a time, at the pace that the quota allows.

The SDK's own retries are off for this client: each attempt must take its slot from the pace, and
408 and 424 are not retried by the SDK at all.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.retries import jittered
from search_router.domain.errors import InvalidInputError, ThrottledError, TransientError
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.domain.serving.pacing import Pace
from search_router.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_bedrock_runtime.type_defs import ConverseResponseTypeDef

MAX_ATTEMPTS = 5
_FIRST_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 10.0

_Reply = ModelReply | InvalidInputError | TransientError
_Answer = tuple[str, _Reply]


@dataclass(frozen=True, slots=True)
class ConverseModel:
    """Asks one deployment or base model; `deadline` is on the clock's monotonic scale."""

    client: "BedrockRuntimeClient"
    pace: Pace
    in_flight: int
    deadline: float
    clock: Clock

    def ask(self, serving: ServingModel, queries: Iterable[str]) -> Iterator[_Answer]:
        """Yield a reply, a refusal or the last transient error per query, as they come."""
        remaining = iter(queries)
        first = list(islice(remaining, 2))
        if len(first) < 2 or self.in_flight == 1:
            yield from self._ask_in_turn(serving, chain(first, remaining))
        else:
            yield from self._ask_at_once(serving, chain(first, remaining))

    def _ask_in_turn(self, serving: ServingModel, queries: Iterator[str]) -> Iterator[_Answer]:
        for query in queries:
            answer = self._ask_one(serving, query)
            if answer is None:
                return
            yield query, answer

    def _ask_at_once(self, serving: ServingModel, queries: Iterator[str]) -> Iterator[_Answer]:
        """Let threads draw from one iterator; the first error that is nobody's answer stops them.

        None is left running: what Lambda freezes in mid-call would wake up in another run.
        """
        crew = _Crew(queries)
        threads = [
            threading.Thread(target=self._work, args=(serving, crew), daemon=True)
            for _ in range(self.in_flight)
        ]
        for thread in threads:
            thread.start()
        try:
            working = len(threads)
            while working:
                item = crew.answers.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    working -= 1
                else:
                    yield item
        finally:
            crew.stop.set()
            for thread in threads:
                thread.join()

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

    def _ask_one(self, serving: ServingModel, query: str) -> _Reply | None:
        """Ask with our own retries; None when no time was left for any attempt."""
        problem: TransientError | None = None
        for attempt in range(MAX_ATTEMPTS):
            wait = self.pace.reserve(self.clock.monotonic())
            if attempt:
                wait = max(wait, jittered(attempt, _FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS))
            if self.clock.monotonic() + wait >= self.deadline:
                return problem
            if wait:
                self.clock.sleep(wait)
            try:
                return self._converse(serving, query)
            except InvalidInputError as refusal:
                return refusal
            except TransientError as error:
                problem = error
                if isinstance(error, ThrottledError):
                    self.pace.throttled(self.clock.monotonic())
        return problem

    def _converse(self, serving: ServingModel, query: str) -> ModelReply:
        started = self.clock.monotonic()
        with aws_errors("ask the model", with_query=True):
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

    def __init__(self, queries: Iterator[str]) -> None:
        self._queries = queries
        self._drawing = threading.Lock()
        self.answers: queue.SimpleQueue[_Answer | BaseException | None] = queue.SimpleQueue()
        self.stop = threading.Event()

    def draw(self) -> str | None:
        """Return the next query, or None when all are taken."""
        with self._drawing:
            return next(self._queries, None)


def _text(reply: "ConverseResponseTypeDef") -> str:
    blocks = reply["output"].get("message", {}).get("content", [])
    return "".join(block.get("text", "") for block in blocks)
