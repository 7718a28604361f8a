"""One split from the queue → routed rows as one part, entered in the log's ledger once."""

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
from search_router.domain.logs.query_logs import read_message
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.route_queries import (
    Delivery,
    OnPermanentError,
    retry_delay,
    route_queries,
)

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@tracer.capture_method(capture_response=False)
def record_handler(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Route one split; what could not be finished comes back soon, not after the visibility."""
    deps, receives = dependencies(), int(record.attributes.approximate_receive_count)
    try:
        split = read_message(record.body)
        logger.append_keys(log_id=split.log_id, split=split.split)
        outcome = route_queries(
            split,
            delivery=Delivery(receives, OnPermanentError(deps.settings.on_permanent_error)),
            uploads=deps.uploads,
            objects=deps.objects,
            champions=deps.champions,
            tiers=deps.batch_tiers(lambda_context.get_remaining_time_in_millis() / 1000),
            ledger=deps.ledger,
            events=deps.events,
            clock=deps.clock,
        )
    except Exception as error:
        with suppress(SearchRouterError):
            deps.queue.set_visibility(record.receipt_handle, retry_delay(receives, error))
        raise
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    measure(measurements.split_metrics(outcome))
    measure(measurements.local_model_errors_metrics(deps.local_models.pop_failure_count()))
    logger.info("split routed", **outcome.model_dump(exclude={"latency", "weights"}))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Route the splits of one batch; what failed is reported to SQS, and said aloud."""
    response = process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
    for kind, error, _ in processor.exceptions:
        # Only our own messages are known to quote no text.
        text = str(error) if isinstance(error, SearchRouterError) else ""
        logger.error("split failed", kind=kind.__name__ if kind else "", error=text)
    errors = [error for _, error, _ in processor.exceptions]
    measure(measurements.batch_metrics(errors, dependencies().throttles()))
    return response
