"""PromptsSharded → checks, then one Bedrock distillation job per training set."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import RunEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=RunEvent)
def lambda_handler(event: RunEvent, context: LambdaContext) -> None:
    """Start the distillation of one run."""
    deps = dependencies()
    logger.append_keys(run_id=event.detail.run_id)
    outcome = deps.start_distillation(event.detail.run_id)
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    job_name = outcome.training.job_name if outcome.training else ""
    logger.info(
        "distillation requested", state=outcome.state, reason=outcome.reason, job_name=job_name
    )
