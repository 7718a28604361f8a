"""One dataset, one system prompt: what is trained is what is served.

A dataset's own prompt is kept as it is. The two default prompts, with and without a reasoning, are
ours and count as the same: the one that fits the training records takes their place.
"""

from collections.abc import Sequence

from search_router.domain.weights import Modalities, default_system_prompt

_MAX_KEPT = 22  # different prompts: more than are named, also if two are ours


class SystemPrompts:
    """Collects where each different system prompt was first seen."""

    def __init__(self, modalities: Modalities, *, with_reasoning: bool) -> None:
        self._default = default_system_prompt(modalities, with_reasoning=with_reasoning)
        other = default_system_prompt(modalities, with_reasoning=not with_reasoning)
        self._replaced = {other: self._default}
        self._places: dict[str, str] = {}

    def add(self, prompt: str, file: str, line_number: int) -> None:
        """Note the prompt of a row."""
        if prompt not in self._places and len(self._places) < _MAX_KEPT:
            self._places[prompt] = f"{file} line {line_number}".lstrip()

    @property
    def agreed(self) -> str:
        """The prompt of all rows; the default where none has one."""
        return next(iter(self._distinct()), self._default)

    @property
    def differing(self) -> Sequence[str]:
        """The places where different prompts were first seen; none if all agree."""
        distinct = self._distinct()
        return list(distinct.values()) if len(distinct) > 1 else ()

    def _distinct(self) -> dict[str, str]:
        distinct: dict[str, str] = {}
        for prompt, place in self._places.items():
            distinct.setdefault(self._replaced.get(prompt, prompt), place)
        return distinct
