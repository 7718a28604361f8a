"""Dataset uploaded → validated, split into training and holdout, sharded; run recorded."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.domain.intake.selection import IntakeRules
from search_router.inbound_events import S3TestEvent, UploadEvent
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.shard_prompts import PricedModels, shard_prompts


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=UploadEvent | S3TestEvent)
def lambda_handler(event: UploadEvent | S3TestEvent, context: LambdaContext) -> None:
    """Take in one prompt file, or the folder that a marker completes."""
    if isinstance(event, S3TestEvent):
        logger.info("event ignored", reason="S3 test event")
        return
    deps = dependencies()
    settings = deps.settings
    outcome = shard_prompts(
        event.source_object,
        rules=IntakeRules(settings.modalities, settings.holdout_fraction, settings.keep_reasoning),
        models=PricedModels(settings.teacher_model_id, settings.student_model_id),
        local_tier_max_error=settings.local_tier_max_error,
        uploads=deps.uploads,
        objects=deps.objects,
        runs=deps.runs,
        events=deps.events,
        clock=deps.clock,
    )
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.append_keys(run_id=outcome.run_id)
    measure(measurements.intake_metrics(outcome))
    logger.info(
        "prompts sharded", state=outcome.state, reason=outcome.reason, **outcome.counts.model_dump()
    )
