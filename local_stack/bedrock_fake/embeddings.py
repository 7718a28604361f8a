"""InvokeModel for Nova Multimodal Embeddings: static word vectors, texts only.

A text's vector is the unit mean of the vectors of its tokens, so that texts on the same subject are
near each other, as with the real model. The purpose makes no difference here.
"""

import functools
import json
import struct
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_stack.bedrock_fake.contract import Params, invalid
from local_stack.bedrock_fake.foundation_models import FoundationModels
from local_stack.bedrock_fake.resources import Account

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CHARACTERS = 8_192  # of a text in a request
_SCHEMA = "nova-multimodal-embed-v1"
_DIMENSIONS = (256, 384, 1024, 3072)
_PURPOSES = frozenset(
    {"GENERIC_INDEX", "CLASSIFICATION", "CLUSTERING"}
    | {f"{kind}_RETRIEVAL" for kind in ("GENERIC", "TEXT", "IMAGE", "VIDEO", "DOCUMENT", "AUDIO")}
)
_TRUNCATIONS = frozenset({"START", "END", "NONE"})
_WORD_PART = 64  # characters; merging a longer part takes quadratic time
_NO_RANK = 1 << 30


class Embeddings:
    """Answers InvokeModel for the embedding model."""

    def __init__(self, account: Account, foundation_models: FoundationModels) -> None:
        self._account = account
        self._foundation_models = foundation_models

    def invoke(self, params: Params) -> Params:
        """Answer InvokeModel; raises `BedrockError` (ValidationException)."""
        self._foundation_models.serving(params["modelId"], output="EMBEDDING")
        text, dimension = _read(params.get("body", b""))
        latency = self._account.settings.embedding_latency_ms
        if latency:
            self._account.clock.sleep(latency / 1000)
        embedding = {"embeddingType": "TEXT", "embedding": embed(text, dimension)}
        body = json.dumps({"embeddings": [embedding]}).encode()
        return {"body": body, "contentType": "application/json"}


def embed(text: str, dimension: int) -> list[float]:
    """Return the unit vector of a text.

    The word vectors have 256 dimensions; fewer are the first of them, more are filled with zeros.
    A text without tokens gets a vector with equal components.
    """
    import numpy as np  # noqa: PLC0415 - most stacks never embed, and this takes 0.1 s

    vectors = _word_vectors()
    tokens = vectors.tokens(text)
    mean = vectors.rows[tokens].astype(np.float32).mean(0) if tokens else np.zeros(0, np.float32)
    fitted = np.zeros(dimension, np.float32)
    fitted[: len(mean)] = mean[:dimension]
    length = float(np.linalg.norm(fitted))
    if not length:
        fitted[:], length = 1, dimension**0.5
    unit: list[float] = (fitted / length).tolist()
    return unit


def _read(body: bytes) -> tuple[str, int]:
    """Return text and dimension of a request; raises `BedrockError` (ValidationException)."""
    try:
        request: Any = json.loads(body)
        single = request["singleEmbeddingParams"]
        text = single["text"]["value"]
        dimension = single.get("embeddingDimension", 3072)
        is_valid = (
            request.get("schemaVersion", _SCHEMA) == _SCHEMA
            and request["taskType"] == "SINGLE_EMBEDDING"
            and single["embeddingPurpose"] in _PURPOSES
            and single["text"]["truncationMode"] in _TRUNCATIONS
            and dimension in _DIMENSIONS
            and isinstance(text, str)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_valid = False
    if not is_valid:
        raise invalid("Malformed input request, please reformat your input and try again.")
    if not 1 <= len(text) <= MAX_CHARACTERS:
        raise invalid(f"A text must have between 1 and {MAX_CHARACTERS} characters.")
    return text, int(dimension)


class _WordVectors:
    """WordLlama's vectors of 32,000 tokens, read from the files of its package."""

    def __init__(self, folder: Path) -> None:
        import numpy as np  # noqa: PLC0415 - as above

        weights = folder / "weights/l2_supercat_256.safetensors"
        with weights.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
        (tensor,) = (found for name, found in header.items() if name != "__metadata__")
        self.rows: NDArray[np.float16] = np.memmap(
            weights,
            dtype=np.float16,
            mode="r",
            offset=8 + size + tensor["data_offsets"][0],
            shape=tuple(tensor["shape"]),
        )
        tokenizer = folder / "tokenizers/l2_supercat_tokenizer_config.json"
        model = json.loads(tokenizer.read_text("utf-8"))["model"]
        self._vocabulary: dict[str, int] = model["vocab"]
        self._ranks = {
            tuple(merge.split(" ", 1)): rank for rank, merge in enumerate(model["merges"])
        }
        self._tokens_of = functools.lru_cache(maxsize=100_000)(self._merge)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, by the pair merges of its words."""
        parts = (
            word[start : start + _WORD_PART]
            for word in text.split()
            for start in range(0, len(word), _WORD_PART)
        )
        return [token for part in parts for token in self._tokens_of(part)]

    def _merge(self, word: str) -> Sequence[int]:
        parts = list("\u2581" + word)
        while len(parts) > 1:
            rank, at = min(
                (self._ranks.get((parts[i], parts[i + 1]), _NO_RANK), i)
                for i in range(len(parts) - 1)
            )
            if rank == _NO_RANK:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return tuple(token for part in parts for token in self._ids(part))

    def _ids(self, part: str) -> list[int]:
        """Return the token of a part, or those of its bytes."""
        if part in self._vocabulary:
            return [self._vocabulary[part]]
        encoded = part.encode(errors="replace")
        return [self._vocabulary[f"<0x{byte:02X}>"] for byte in encoded]


@functools.cache
def _word_vectors() -> _WordVectors:
    return _WordVectors(Path(str(distribution("wordllama").locate_file("wordllama"))))
