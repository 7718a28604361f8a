"""Index splits of segment files from the queue: one part each, recorded in the ledger once."""

from contextlib import suppress
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.domain.errors import SearchRouterError
from search_router.domain.search.segment_uploads import SegmentSplit
from search_router.domain.serving.pacing import CLOSING_SECONDS
from search_router.domain.splits.plan import read_split
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_attempts import retry_delay

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@tracer.capture_method(capture_response=False)
def record_handler(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Index one split; on an error, shorten its visibility timeout so that it is retried soon."""
    deps, receives = dependencies(), int(record.attributes.approximate_receive_count)
    try:
        split = read_split(SegmentSplit, record.body)
        logger.append_keys(upload_id=split.upload_id, split=split.split)
        seconds = lambda_context.get_remaining_time_in_millis() / 1000 - CLOSING_SECONDS
        outcome = deps.index_segments(split, seconds, receives)
    except Exception as error:
        with suppress(SearchRouterError):
            deps.segment_queue.set_visibility(record.receipt_handle, retry_delay(receives, error))
        raise
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    measure(measurements.segment_metrics(outcome))
    logger.info("split indexed", **outcome.model_dump())


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Index the splits of one batch; failures are reported to SQS and logged."""
    response = process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
    for kind, error, _ in processor.exceptions:
        # Messages of other errors may quote a text.
        text = str(error) if isinstance(error, SearchRouterError) else ""
        logger.error("split failed", kind=kind.__name__ if kind else "", error=text)
    errors = [error for _, error, _ in processor.exceptions]
    measure(measurements.index_batch_metrics(errors))
    return response
