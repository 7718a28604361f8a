"""ModelDeployed → score the candidate, the champion and the base student on the holdout."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.inbound_events import RunEvent
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.evaluate_model import EvaluationPlan, evaluate_model
from search_router.use_cases.judging import JudgePlan
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=RunEvent)
def lambda_handler(event: RunEvent, context: LambdaContext) -> None:
    """Evaluate one run's model."""
    deps = dependencies()
    logger.append_keys(run_id=event.detail.run_id)
    outcome = evaluate_model(
        event.detail.run_id,
        plan=EvaluationPlan(
            baseline=deps.settings.baseline_model_id,
            judge=JudgePlan(
                deps.settings.judge_model_id,
                deps.settings.evaluation_role_arn,
                deps.settings.data_bucket,
            ),
        ),
        runs=deps.runs,
        champions=deps.champions,
        objects=deps.objects,
        model=deps.evaluation_model(context.get_remaining_time_in_millis() / 1000),
        judges=deps.evaluation_jobs,
        events=deps.events,
        clock=deps.clock,
    )
    measure(measurements.throttles_metrics(deps.throttles()))
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    models = outcome.evaluation.models if outcome.evaluation else {}
    errors = {name: scores.mae for name, scores in models.items()}
    logger.info("model evaluated", state=outcome.state, reason=outcome.reason, mae=errors)
