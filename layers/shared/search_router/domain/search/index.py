"""The segment index as indexing and search see it: entries to write, lists to ask for, hits."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

from search_router.domain.search.filters import Filter
from search_router.domain.weights import Modalities

if TYPE_CHECKING:
    Vector: TypeAlias = array[float]  # of type code "f", 32-bit floats
else:
    Vector = array  # Python 3.11 cannot subscript it
AttributeValue: TypeAlias = str | int | float | bool | Sequence[str]
Attributes: TypeAlias = Mapping[str, AttributeValue]

COLLECTION_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,30}[a-z0-9]")
METADATA = "metadata"  # the modality whose text is made of the attributes
MODALITIES_ATTRIBUTE = "_modalities"  # of an entry: the modalities that its segment has
LIST_LIMIT = 100  # hits that a search asks of each list


class EmbeddingPurpose(StrEnum):
    """What a text is embedded for; the model embeds queries and documents differently."""

    INDEX = "index"
    RETRIEVAL = "retrieval"


class Collection(BaseModel):
    """A searchable set of segments. Its embedding model and dimension cannot change."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    modalities: Modalities
    embedding_model: str
    dimension: int
    created_at: datetime


class IndexEntry(NamedTuple):
    """One segment in the index of one modality; `start` and `end` are in seconds."""

    segment_id: str
    vector: Vector
    text: str
    video_id: str
    start: float
    end: float
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What one modality's list is asked for: a vector, a text or both; at least one of them."""

    modality: str
    vector: Vector | None
    text: str
    filters: tuple[Filter, ...] = ()
    limit: int = LIST_LIMIT


class Candidate(NamedTuple):
    """One hit of one list, with raw scores; None for a score that the engine did not return.

    `cosine` is in [-1, 1], `bm25` at least 0. `text` is the modality's text of the segment.
    """

    segment_id: str
    cosine: float | None
    bm25: float | None
    video_id: str
    start: float
    end: float
    attributes: Attributes
    text: str
