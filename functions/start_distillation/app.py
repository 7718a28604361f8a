"""PromptsSharded → preflight, then one Bedrock distillation job for these training bytes."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import RunEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.start_distillation import DistillationPlan, start_distillation


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=RunEvent)
def lambda_handler(event: RunEvent, context: LambdaContext) -> None:
    """Start the distillation of one run."""
    deps = dependencies()
    logger.append_keys(run_id=event.detail.run_id)
    outcome = start_distillation(
        event.detail.run_id,
        plan=DistillationPlan(
            teacher=deps.settings.teacher_model_id,
            student=deps.settings.student_model_id,
            max_output_tokens=deps.settings.max_output_tokens,
            role_arn=deps.settings.distillation_role_arn,
            data_bucket=deps.settings.data_bucket,
            stage=deps.settings.stage,
            budget_usd=deps.settings.budget_usd_per_30_days,
        ),
        runs=deps.runs,
        spending=deps.spending,
        models=deps.foundation_models,
        jobs=deps.jobs,
        events=deps.events,
        clock=deps.clock,
    )
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.info(
        "distillation requested",
        state=outcome.state,
        reason=outcome.reason,
        job_name=outcome.job_name,
    )
