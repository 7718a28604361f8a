"""The golden set: labelled queries of the operator's, on which every candidate is measured.

They lie in `golden/*.jsonl` of the upload bucket. Intake leaves them out of every training set.
"""

from dataclasses import dataclass
from functools import partial

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.uploads import GOLDEN_PREFIX, is_hidden
from search_router.domain.weights import Modalities, Weights
from search_router.ports import UploadStore

MAX_GOLDEN_ROWS = 1_000
MAX_GOLDEN_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """Reads the golden set; it is empty without such files."""

    uploads: UploadStore

    def labels(self, bucket: str, modalities: Modalities) -> dict[str, Weights]:
        """Return the labels by query; raises InvalidInputError if the files exceed a limit."""
        labels: dict[str, Weights] = {}
        size = 0
        for source, _, bytes_ in self.uploads.latest(bucket, GOLDEN_PREFIX):
            if is_hidden(source.key) or not source.key.endswith(".jsonl"):
                continue
            size += bytes_
            if size > MAX_GOLDEN_BYTES:
                raise InvalidInputError(f"golden set larger than {MAX_GOLDEN_BYTES} bytes.")
            file = PromptFile(source.key, partial(self.uploads.read, source))
            for record in read_prompts(file, modalities):
                if record.weights is not None:
                    labels[record.query] = record.weights
        if len(labels) > MAX_GOLDEN_ROWS:
            raise InvalidInputError(
                f"golden set has {len(labels)} labelled rows, the limit is {MAX_GOLDEN_ROWS}."
            )
        return labels
