"""Long series: `make test` runs a sample, `make test-all` every case."""

from collections.abc import Iterable
from typing import Any

import pytest

EVERY = pytest.mark.parametrize(
    "every",
    [
        pytest.param(1, id="every case", marks=pytest.mark.sweep),
        pytest.param(17, id="every 17th case"),
    ],
)


def sampled(cases: Iterable[Any], *, kept: int) -> list[Any]:
    """Return the cases as parameters, all but the first few marked as a sweep."""
    return [
        case if place < kept else pytest.param(case, marks=pytest.mark.sweep)
        for place, case in enumerate(cases)
    ]
