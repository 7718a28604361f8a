"""Which operation a request means, taken from the URIs of botocore's service models."""

import functools
from dataclasses import dataclass
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

SERVICES = ("bedrock", "bedrock-runtime")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation's place on the wire; a label segment is None, its name is in `labels`."""

    operation: OperationModel
    segments: tuple[str | None, ...]
    labels: tuple[str, ...]

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Return the label values when a path of as many segments is this route's."""
        values = []
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted is None:
                values.append(unquote(given))
            elif wanted != given:
                return None
        return dict(zip(self.labels, values, strict=True))


class Router:
    """Finds the operation behind a method and path, for every operation of both services."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, int], list[Route]] = {}
        self._by_name: dict[str, OperationModel] = {}
        for service in SERVICES:
            model = ServiceModel(Loader().load_service_model(service, "service-2"))
            for name in model.operation_names:
                self._add(model.operation_model(name))

    def _add(self, operation: OperationModel) -> None:
        self._by_name[operation.name] = operation
        parts = _segments(operation.http["requestUri"])
        labels = tuple(part[1:-1] for part in parts if part.startswith("{"))
        segments = tuple(None if part.startswith("{") else part for part in parts)
        place = (operation.http["method"], len(parts))
        self._routes.setdefault(place, []).append(Route(operation, segments, labels))

    def operation(self, name: str) -> OperationModel:
        """Return an operation of either service by its name; `ValueError` if there is none."""
        if name not in self._by_name:
            raise ValueError(f"Bedrock has no operation {name}")
        return self._by_name[name]

    def find(self, method: str, path: str) -> tuple[OperationModel, dict[str, str]] | None:
        """Return the operation and its path labels, or None for a path that no service has."""
        segments = _segments(path)
        for route in self._routes.get((method, len(segments)), []):
            labels = route.match(segments)
            if labels is not None:
                return route.operation, labels
        return None


@functools.cache
def bedrock_router() -> Router:
    """Return the router of both services, built once: reading their models takes a while."""
    return Router()


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))
