"""Split an uploaded query log and queue one message per split."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import S3TestEvent, UploadEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=UploadEvent | S3TestEvent)
def lambda_handler(event: UploadEvent | S3TestEvent, context: LambdaContext) -> None:
    """Split one query log."""
    if isinstance(event, S3TestEvent):
        logger.info("event ignored", reason="S3 test event")
        return
    outcome = dependencies().split_query_log(event.source_object)
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.info(
        "query log split",
        log_id=outcome.log_id,
        state=outcome.state,  # the reason may quote a header, so only the ledger holds it
        splits=outcome.splits,
        rows=outcome.rows,
        hours_if_distinct=outcome.hours_if_distinct,
    )
