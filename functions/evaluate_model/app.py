"""ModelDeployed → scores of the candidate, the champion and the base student on the holdout."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.inbound_events import RunEvent
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=RunEvent)
def lambda_handler(event: RunEvent, context: LambdaContext) -> None:
    """Evaluate one run's model."""
    deps = dependencies()
    logger.append_keys(run_id=event.detail.run_id)
    model = deps.evaluation_model(context.get_remaining_time_in_millis() / 1000)
    outcome = deps.evaluate_model(event.detail.run_id, model)
    measure(measurements.throttles_metrics(deps.throttles()))
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    for job in outcome.judging.jobs if outcome.judging else ():
        if job.reason:
            logger.warning("judge's job not started", model=job.name, reason=job.reason)
    if outcome.evaluation and outcome.evaluation.baseline_problem:
        logger.warning("baseline not asked", reason=outcome.evaluation.baseline_problem)
    models = outcome.evaluation.models if outcome.evaluation else {}
    errors = {name: scores.mae for name, scores in models.items()}
    logger.info("model evaluated", state=outcome.state, reason=outcome.reason, mae=errors)
