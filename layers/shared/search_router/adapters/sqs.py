"""SQS: the queue of splits."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.clock import rounds
from search_router.domain.errors import UnavailableError
from search_router.domain.splits.plan import UploadSplit
from search_router.domain.streams import batched

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

BATCH_ENTRIES = 10
MAX_VISIBILITY_SECONDS = 43_200
_ROUNDS = 5


class SqsSplitQueue:
    """Sends splits in batches and changes their visibility timeout."""

    def __init__(
        self, client: "SQSClient", queue_url: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._sleep = sleep

    def send(self, messages: Iterable[UploadSplit]) -> None:
        """Send all messages; retries those that a batch rejected, at most four times."""
        for batch in batched(messages, BATCH_ENTRIES):
            remaining = batch
            for _ in rounds(_ROUNDS, self._sleep):
                remaining = self._send_batch(remaining)
                if not remaining:
                    break
            else:
                raise UnavailableError(
                    f"send splits: {len(remaining)} were rejected {_ROUNDS} times"
                )

    def set_visibility(self, receipt_handle: str, seconds: int) -> None:
        """Set the seconds after which a received message is delivered again."""
        with aws_errors("change a split's visibility"):
            self._client.change_message_visibility(
                QueueUrl=self._queue_url,
                ReceiptHandle=receipt_handle,
                VisibilityTimeout=min(seconds, MAX_VISIBILITY_SECONDS),
            )

    def _send_batch(self, batch: list[UploadSplit]) -> list[UploadSplit]:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            # The group makes the queue fair: a large upload does not delay small ones.
            {
                "Id": str(index),
                "MessageBody": message.model_dump_json(),
                "MessageGroupId": message.upload,
            }
            for index, message in enumerate(batch)
        ]
        with aws_errors("send splits"):
            reply = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return [batch[int(failed["Id"])] for failed in reply.get("Failed", [])]
