"""The two services beside the double: S3, where datasets and results lie, and EventBridge.

Both are reached on loopback with made-up keys, so that no path leads from here to an AWS account.
"""

import functools
import json
import logging
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_stack.bedrock_double.settings import DoubleSettings
from local_stack.bedrock_double.state_change_events import DETAIL_TYPE, SOURCE, StateChangeEvent

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

_CONFIG = Config(
    connect_timeout=2, read_timeout=20, retries={"mode": "standard", "max_attempts": 3}
)


class S3Objects:
    """Reads datasets from the S3 of the settings, and writes results to it."""

    def __init__(self, settings: DoubleSettings) -> None:
        self._settings = settings

    def read(self, uri: str) -> bytes:
        """Return an object's bytes; `LookupError` when they cannot be had."""
        bucket, key = _bucket_and_key(uri)
        try:
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise LookupError(uri) from error

    def write(self, uri: str, body: bytes) -> None:
        """Write an object; `LookupError` when its bucket cannot be reached."""
        bucket, key = _bucket_and_key(uri)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=body)
        except (BotoCoreError, ClientError) as error:
            raise LookupError(uri) from error

    @functools.cached_property
    def _client(self) -> "S3Client":
        path_style = _CONFIG.merge(Config(s3={"addressing_style": "path"}))
        client: S3Client = _client("s3", self._settings, self._settings.s3_endpoint, path_style)
        return client


class EventBridgePublisher:
    """Puts events on the default bus of the settings' EventBridge."""

    def __init__(self, settings: DoubleSettings) -> None:
        self._settings = settings

    def __call__(self, event: StateChangeEvent) -> None:
        """Put one event; a failure is logged and the event is lost: Bedrock's are best effort."""
        entry = {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Resources": [event.job_arn],
            "Time": event.time,
            "Detail": json.dumps(event.detail),
        }
        try:
            reply = self._client.put_events(Entries=[entry])
        except (BotoCoreError, ClientError):
            logger.exception("event lost", extra={"job_arn": event.job_arn})
            return
        if reply["FailedEntryCount"]:
            logger.error("event refused", extra={"job_arn": event.job_arn, "reply": reply})

    @functools.cached_property
    def _client(self) -> Any:
        return _client("events", self._settings, self._settings.events_endpoint, _CONFIG)


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _client(service: str, settings: DoubleSettings, endpoint: str, config: Config) -> Any:
    session: Any = boto3.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - nobody's key
        region_name=settings.region,
    )
    return session.client(service, endpoint_url=endpoint, config=config)
