"""Bedrock job state change → custom model deployment, or the reason for the failure."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import JobEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=JobEvent)
def lambda_handler(event: JobEvent, context: LambdaContext) -> None:
    """Follow one distillation job."""
    deps = dependencies()
    outcome = deps.deploy_model(event.detail.job_arn)
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason, job_arn=event.detail.job_arn)
        return
    for run in outcome:
        logger.info("job status processed", run_id=run.run_id, state=run.state, reason=run.reason)
