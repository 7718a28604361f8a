"""Embeddings by Amazon Nova Multimodal Embeddings on Bedrock, one text a call.

The error of a call never contains its text.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import InvalidInputError, UnavailableError
from search_router.domain.search.index import EmbeddingPurpose, Vector

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

MAX_CHARACTERS = 8_192  # of a text, by the schema of the request
IN_FLIGHT = 8
_SCHEMA = "nova-multimodal-embed-v1"
# Users may bring vectors of images and sound, so a list can hold vectors of all kinds.
_PURPOSES = {
    EmbeddingPurpose.INDEX: "GENERIC_INDEX",
    EmbeddingPurpose.RETRIEVAL: "GENERIC_RETRIEVAL",
}


class NovaEmbedder:
    """Embeds texts with one model in one dimension, up to `in_flight` at a time."""

    def __init__(
        self,
        client: BedrockRuntimeClient,
        model_id: str,
        dimension: int,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._client = client
        self._model_id = model_id
        self._dimension = dimension
        self._in_flight = in_flight

    def embed(
        self, texts: Sequence[str], purpose: EmbeddingPurpose
    ) -> Sequence[Vector | InvalidInputError]:
        """Return each text's vector, or the error of a text that the model rejected.

        Characters after the first 8,192 are not embedded. Any other error is raised once the calls
        in flight have ended; no thread outlives this call.
        """
        workers = min(self._in_flight, len(texts))
        if workers <= 1:
            return [self._embed_one(text, purpose) for text in texts]
        pool = ThreadPoolExecutor(workers, thread_name_prefix="embed")
        try:
            return list(pool.map(lambda text: self._embed_one(text, purpose), texts))
        finally:
            pool.shutdown(cancel_futures=True)

    def _embed_one(self, text: str, purpose: EmbeddingPurpose) -> Vector | InvalidInputError:
        request = {
            "schemaVersion": _SCHEMA,
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {
                "embeddingPurpose": _PURPOSES[purpose],
                "embeddingDimension": self._dimension,
                "text": {"truncationMode": "END", "value": text[:MAX_CHARACTERS]},
            },
        }
        try:
            with aws_errors("embed a text", with_query=True):
                reply = self._client.invoke_model(
                    modelId=self._model_id,
                    body=json.dumps(request),
                    contentType="application/json",
                    accept="application/json",
                )
                body = reply["body"].read()
        except InvalidInputError as rejection:
            return rejection
        return self._vector(body)

    def _vector(self, body: bytes) -> Vector:
        try:
            (embedding,) = json.loads(body)["embeddings"]
            vector = array("f", embedding["embedding"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UnavailableError("embed a text: the reply holds no vector") from error
        length = math.hypot(*vector)
        if len(vector) != self._dimension or not 0 < length < math.inf:
            raise UnavailableError(
                f"embed a text: the reply is not a vector of dimension {self._dimension}"
            )
        return vector
