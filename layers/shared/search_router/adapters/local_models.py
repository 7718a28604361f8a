"""Local models from the data bucket, each read once per container."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import PermanentError, SearchRouterError
from search_router.domain.local_tier.artifact import unpack
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.local_tier import LocalAnswer, LocalTier, LocalTierMode
from search_router.ports import Clock, ObjectStore

_KEPT = 2  # those of the champion, and of its predecessor for splits planned earlier


@dataclass(frozen=True, slots=True)
class TimedLocalModel:
    """A local model that measures the time of each answer."""

    version: str
    model: LocalModel
    clock: Clock

    @property
    def name(self) -> str:
        """The value of the `model` column in result rows."""
        return naming.local_model_key(self.version)

    def answer(self, query: str) -> LocalAnswer:
        """Answer one query, or abstain."""
        start = self.clock.monotonic()
        estimate = self.model.answer(query)
        seconds = self.clock.monotonic() - start
        return LocalAnswer(estimate.weights if estimate else None, round(seconds * 1_000_000))


class S3LocalModels:
    """Loads the local tier of a serving model, in the mode of the settings.

    If a model cannot be read, the tier is skipped and the failure counted. Only errors that are not
    permanent are retried by the next call.
    """

    def __init__(
        self, objects: ObjectStore, clock: Clock, mode: LocalTierMode, shadow_fraction: float
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._mode = mode
        self._shadow_fraction = shadow_fraction
        self._loaded: dict[str, TimedLocalModel | None] = {}
        self._failures = 0

    def tier(self, serving: ServingModel) -> LocalTier | None:
        """Return the tier; None if it is off, not trained, unreadable, or its gate is closed."""
        if self._mode is LocalTierMode.OFF or not serving.local_model:
            return None
        student = self._student(serving)
        if student is None or student.model.gate.closed:
            return None
        return LocalTier(student, self._mode, self._shadow_fraction)

    def pop_failure_count(self) -> int:
        """Return how many reads failed since the last call."""
        failures, self._failures = self._failures, 0
        return failures

    def _student(self, serving: ServingModel) -> TimedLocalModel | None:
        version = serving.local_model
        if version in self._loaded:
            return self._loaded[version]
        student = None
        try:
            artifact = self._objects.get(naming.local_model_key(version))
            model = unpack(artifact, serving.modalities)
            student = TimedLocalModel(version, model, self._clock)
        except SearchRouterError as error:
            self._failures += 1
            if not isinstance(error, PermanentError):
                return None
        while len(self._loaded) >= _KEPT:
            del self._loaded[next(iter(self._loaded))]
        self._loaded[version] = student
        return student
