"""Query embeddings, kept per container: popular queries cost no call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search_router.domain.errors import InvalidInputError
from search_router.ports import Embedder

if TYPE_CHECKING:
    from search_router.domain.search.index import EmbeddingPurpose, Vector

_KEPT = 2_000  # 1 KiB each at 256 dimensions


class CachedEmbedder:
    """Embeds texts, most of them once; the oldest are forgotten first."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[tuple[EmbeddingPurpose, str], Vector] = {}

    def embed(
        self, texts: Sequence[str], purpose: "EmbeddingPurpose"
    ) -> "Sequence[Vector | InvalidInputError]":
        """Return each text's vector, or the error of a text that the model rejected."""
        missing = [text for text in dict.fromkeys(texts) if (purpose, text) not in self._vectors]
        rejected: dict[str, InvalidInputError] = {}
        if missing:
            for text, vector in zip(missing, self._embedder.embed(missing, purpose), strict=True):
                if isinstance(vector, InvalidInputError):
                    rejected[text] = vector
                else:
                    self._vectors[purpose, text] = vector
        found = [rejected[t] if t in rejected else self._vectors[purpose, t] for t in texts]
        while len(self._vectors) > _KEPT:
            del self._vectors[next(iter(self._vectors))]
        return found
