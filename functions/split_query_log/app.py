"""Query log uploaded → a plan of byte-range splits, one message each on the split queue."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import S3TestEvent, UploadEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_query_log import SplitRules, split_query_log


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=UploadEvent | S3TestEvent)
def lambda_handler(event: UploadEvent | S3TestEvent, context: LambdaContext) -> None:
    """Split one query log."""
    if isinstance(event, S3TestEvent):
        logger.info("event ignored", reason="S3 test event")
        return
    deps = dependencies()
    outcome = split_query_log(
        event.source_object,
        rules=SplitRules(
            deps.settings.batch_requests_per_minute,
            deps.settings.route_concurrency,
            deps.settings.query_field,
        ),
        uploads=deps.uploads,
        objects=deps.objects,
        champions=deps.champions,
        ledger=deps.ledger,
        queue=deps.queue,
        clock=deps.clock,
    )
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.info(
        "query log split",
        log_id=outcome.log_id,
        state=outcome.state,
        reason=outcome.reason,
        splits=outcome.splits,
        rows=outcome.rows,
        hours_if_distinct=outcome.hours_if_distinct,
    )
