"""One dataset, one system prompt: what is trained is what is served.

A dataset's own prompt is kept as it is. The two default prompts, with and without a reasoning, are
ours and count as the same: the one that fits the training records takes their place.
"""

from collections.abc import Sequence

from search_router.domain.weights import Modalities, default_system_prompt

_MAX_KEPT = 21  # different prompts: one more than are named


class SystemPrompts:
    """Collects where each different system prompt was first seen."""

    def __init__(self, modalities: Modalities, *, with_reasoning: bool) -> None:
        self._default = default_system_prompt(modalities, with_reasoning=with_reasoning)
        self._other_default = default_system_prompt(modalities, with_reasoning=not with_reasoning)
        self._seen: dict[str, str] = {}

    def add(self, prompt: str, file: str, line_number: int) -> None:
        """Note the prompt of a row."""
        if prompt in self._seen or len(self._seen) == _MAX_KEPT:
            return
        if prompt == self._other_default:
            self.add(self._default, file, line_number)
        else:
            self._seen[prompt] = f"{file} line {line_number}".lstrip()

    @property
    def agreed(self) -> str:
        """The prompt of all rows; the default where none has one."""
        return next(iter(self._seen), self._default)

    @property
    def differing(self) -> Sequence[str]:
        """The places where different prompts were first seen; none if all agree."""
        return list(self._seen.values()) if len(self._seen) > 1 else ()
