"""Bedrock Converse: many queries at a time, at the pace that the quota allows.

The SDK's own retries are off for this client: every attempt must take its slot from the pace, and
the SDK does not retry 408 and 424.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.clock import jittered
from search_router.domain.errors import (
    InvalidInputError,
    ModelUnusableError,
    ThrottledError,
    TransientError,
)
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelAnswer, ModelReply
from search_router.domain.serving.pacing import Pace
from search_router.domain.serving.visit_order import MAX_STEP
from search_router.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_bedrock_runtime.type_defs import ConverseResponseTypeDef

MAX_ATTEMPTS = 5
_FEED_BELOW = 5  # waiting queries, so that no thread waits for a look-up
_FIRST_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 10.0
_PROBE = "sunset over the sea"  # a query that every working model answers


@dataclass(frozen=True, slots=True)
class ConverseModel:
    """Asks one deployment or base model; `deadline` is on the clock's monotonic scale."""

    client: "BedrockRuntimeClient"
    pace: Pace
    in_flight: int
    deadline: float
    clock: Clock

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelAnswer]]:
        """Yield each query with its answer, as the answers arrive.

        A rejection before the first reply is yielded only if the model answers another query.
        Otherwise raises ModelUnusableError: the model is the cause, not the query.
        """
        answers = self._answers(serving, iter(queries))
        is_working = False
        with closing(answers):
            for query, answer in answers:
                checked: ModelAnswer | None = answer
                if isinstance(answer, ModelReply):
                    is_working = True
                elif isinstance(answer, InvalidInputError) and not is_working:
                    checked = self._checked_rejection(serving, answer)
                    is_working = checked is answer
                if checked is not None:
                    yield query, checked

    def _checked_rejection(
        self, serving: ServingModel, rejection: InvalidInputError
    ) -> ModelAnswer | None:
        """Return the rejection, or the error or None of a probe that got no reply."""
        reply = self._ask_one(serving, _PROBE)
        if isinstance(reply, InvalidInputError):
            raise ModelUnusableError(f"the model rejects every query: {reply}")
        return rejection if isinstance(reply, ModelReply) else reply

    def _answers(
        self, serving: ServingModel, queries: Iterator[str]
    ) -> Generator[tuple[str, ModelAnswer], None, None]:
        first = list(islice(queries, 2))
        if len(first) < 2 or self.in_flight == 1:
            return self._ask_in_turn(serving, chain(first, queries))
        return self._ask_in_threads(serving, chain(first, queries))

    def _ask_in_turn(
        self, serving: ServingModel, queries: Iterator[str]
    ) -> Generator[tuple[str, ModelAnswer], None, None]:
        for query in queries:
            answer = self._ask_one(serving, query)
            if answer is None:
                return
            yield query, answer

    def _ask_in_threads(
        self, serving: ServingModel, queries: Iterator[str]
    ) -> Generator[tuple[str, ModelAnswer], None, None]:
        """Feed threads from the caller's thread and yield their answers.

        The first unexpected error stops all threads. None outlives this call: a call that Lambda
        freezes would resume in a later invocation.
        """
        threads = _AskingThreads(lambda query: self._ask_one(serving, query), self.in_flight)
        try:
            while threads.feed(queries):
                query, answer = threads.next_answer()
                if answer is not None:
                    yield query, answer
        finally:
            threads.stop()

    def _ask_one(self, serving: ServingModel, query: str) -> ModelAnswer | None:
        """Ask with retries; return None if there was no time for any attempt."""
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
            except InvalidInputError as rejection:
                return rejection
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


class _AskingThreads:
    """Threads that ask queries; the caller feeds them and takes their answers.

    The caller's thread alone draws queries, so looking them up needs no locks. It draws a chunk
    before the threads have run out, so that they do not wait for its look-ups.
    """

    def __init__(self, ask: Callable[[str], ModelAnswer | None], count: int) -> None:
        self._ask = ask
        self._queries = SimpleQueue[str | None]()
        self._answers = SimpleQueue[tuple[str, ModelAnswer | None] | BaseException]()
        self._stopped = threading.Event()
        self._unfinished = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"converse-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def feed(self, queries: Iterator[str]) -> bool:
        """Draw queries if few are waiting; return whether any answer is still to come."""
        enough = len(self._threads) + _FEED_BELOW
        while self._unfinished < enough and not self._stopped.is_set():
            chunk = list(islice(queries, MAX_STEP))
            if not chunk:
                break
            for query in chunk:
                self._queries.put(query)
            self._unfinished += len(chunk)
        return self._unfinished > 0

    def next_answer(self) -> tuple[str, ModelAnswer | None]:
        """Return a query and its answer, None if there was no time for it; raises its error."""
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        self._unfinished -= 1
        return answer

    def stop(self) -> None:
        """Wait for the calls in flight and end the threads."""
        self._stopped.set()
        for _ in self._threads:
            self._queries.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (query := self._queries.get()) is not None:
            try:
                answer = None if self._stopped.is_set() else self._ask(query)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._stopped.set()
                self._answers.put(error)
                return
            if answer is None:
                self._stopped.set()
            self._answers.put((query, answer))


def _text(reply: "ConverseResponseTypeDef") -> str:
    blocks = reply["output"].get("message", {}).get("content", [])
    return "".join(block.get("text", "") for block in blocks)
