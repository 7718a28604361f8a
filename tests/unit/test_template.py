"""Checks of the expanded template, and for each check a planted mistake that it finds."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from local_stack.template import SamTemplate
from router_cli.verbs import make_parser
from search_router.domain import events, naming
from search_router.domain.events import RouterEvent
from search_router.measurements import Metric
from tests.unit import template_checks as checks
from tests.unit.template_checks import MetricName, Template

ROOT = checks.PROJECT
FOLDERS = {file.parent.name for file in ROOT.glob("functions/*/app.py")}
EVENTS = {file.stem: json.loads(file.read_text()) for file in ROOT.glob("events/*.json")}
EVENT_FILES = {f"{name}.json" for name in EVENTS}
NAMES = {
    "UploadBucket": "search-router-dev-uploadbucket-0123456789ab",
    "AWS::StackName": "search-router-dev",
}

FUNCTION_FOLDERS = {
    "shard_prompts",
    "start_distillation",
    "deploy_model",
    "track_runs",
    "evaluate_model",
    "promote_model",
    "split_query_log",
    "route_queries",
    "finish_query_log",
    "split_segments",
    "index_segments",
    "finish_segments",
    "route_api",
    "search_api",
}


OUR_EVENTS = {kind.detail_type for kind in RouterEvent.__subclasses__()}
OUTCOMES = {
    "ModelPromoted", "ModelRejected", "ApprovalNeeded", "RunFailed", "QueryLogRouted",
    "SegmentsIndexed",
}  # fmt: skip
NAMESPACE = "SearchRouter"
EMITTED = {
    MetricName(NAMESPACE, metric.label, frozenset({"service", metric.dimension or "service"}))
    for metric in Metric
}
ALARM_METRICS = {
    "BatchFallbackShare",
    "ApiFallbackShare",
    "QueriesUnanswered",
    "SplitsFailed",
    "ModelUnusable",
    "ModelThrottles",
    "RunsFailed",
    "LogsFailed",
    "LogsStuck",
    "SegmentSplitsFailed",
    "SegmentUploadsFailed",
    "SegmentUploadsStuck",
    "UploadsMissed",
    "TrackingErrors",
}


def mismatched_functions(template: Template) -> list[str]:
    return checks.mismatched_functions(template, FUNCTION_FOLDERS, EVENT_FILES)


def misrouted_events(template: Template) -> list[str]:
    return checks.misrouted_events(template, EVENTS, NAMES)


def unsafe_tables(template: Template) -> list[str]:
    return checks.unsafe_tables(template, kept="StateTable", expiring="CacheTable")


def unmatched_events(template: Template) -> list[str]:
    return checks.unmatched_events(template, events.SOURCE, OUR_EVENTS)


def unpublished_outcomes(template: Template) -> list[str]:
    return checks.unpublished_outcomes(template, OUTCOMES)


def missing_alarms(template: Template) -> list[str]:
    return checks.missing_alarms(template, ALARM_METRICS)


def alarms_without_runbook(template: Template) -> list[str]:
    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = {title.lower() for title in re.findall(r"^### (\w+)$", runbook, re.MULTILINE)}
    return checks.alarms_without_runbook(template, sections)


def unknown_metrics(template: Template) -> list[str]:
    return checks.unknown_metrics(template, EMITTED)


def unused_metrics(template: Template) -> list[str]:
    return checks.unused_metrics(template, EMITTED)


def short_lived_copies(template: Template) -> list[str]:
    """Copies of splits expire, but not before a message that was redriven once."""
    rules = properties(template, "DataBucket")["LifecycleConfiguration"]["Rules"]
    findings = []
    for upload, queue in (("log-01", "SplitDeadLetterQueue"), ("seg-01", "SegmentDeadLetterQueue")):
        copy_key = naming.split_copy_key(upload, 0, 1)
        days = [r["ExpirationInDays"] for r in rules if copy_key.startswith(r.get("Prefix", "-"))]
        needed = 2 * properties(template, queue)["MessageRetentionPeriod"] / 86_400
        if not days:
            findings.append("DataBucket: copies do not expire")
        late = (d for d in days if d < needed)
        findings += [f"DataBucket: {d} days, but messages need {needed:g}" for d in late]
    return findings


@pytest.fixture
def template() -> Template:
    return checks.expanded_template()


def properties(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def policy(template: Template, role: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = properties(template, role)["Policies"][0]["PolicyDocument"][
        "Statement"
    ]
    return found


def grant(template: Template, role: str, sid: str) -> dict[str, Any]:
    return next(statement for statement in policy(template, role) if statement["Sid"] == sid)


CHECKS: list[Callable[[Template], list[str]]] = [
    mismatched_functions,
    checks.foreign_policies,
    checks.unbounded_roles,
    checks.wide_grants,
    checks.undeliverable_events,
    checks.lost_messages,
    checks.hasty_queues,
    checks.lost_invocations,
    checks.public_functions,
    checks.event_loops,
    checks.unguarded_buckets,
    short_lived_copies,
    checks.plain_http,
    checks.confused_deputies,
    checks.unencrypted_queues,
    checks.open_policies,
    unsafe_tables,
    unmatched_events,
    unpublished_outcomes,
    missing_alarms,
    alarms_without_runbook,
    unknown_metrics,
    unused_metrics,
    checks.dependency_cycles,
    misrouted_events,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_template_has_no_findings(
    check: Callable[[Template], list[str]], template: Template
) -> None:
    assert check(template) == []


def test_every_folder_belongs_to_a_function() -> None:
    assert FOLDERS == FUNCTION_FOLDERS


def test_validate_has_the_defaults_of_the_parameters() -> None:
    options = make_parser().parse_args(["validate", "prompts.jsonl"])

    parameters = checks.expanded_template()["Parameters"]

    assert {
        "Modalities": options.modalities,
        "HoldoutFraction": options.holdout_fraction,
        "KeepReasoning": str(options.keep_reasoning).lower(),
        "TeacherModelId": options.teacher,
        "StudentModelId": options.student,
    }.items() <= {name: parameter["Default"] for name, parameter in parameters.items()}.items()


# ---------------------------------------------------------------------------------------
# Planted mistakes
# ---------------------------------------------------------------------------------------


def another_functions_role(t: Template) -> None:
    properties(t, "RouteApiFunction")["Role"] = {"Fn::GetAtt": ["RouteQueriesRole", "Arn"]}


def another_functions_log_group(t: Template) -> None:
    properties(t, "RouteApiFunction")["LoggingConfig"] = {"LogGroup": {"Ref": "TrackRunsLogGroup"}}


def no_log_retention(t: Template) -> None:
    del properties(t, "RouteApiLogGroup")["RetentionInDays"]


def another_handler(t: Template) -> None:
    properties(t, "RouteApiFunction")["Handler"] = "main.handler"


def a_function_without_folder(t: Template) -> None:
    properties(t, "RouteApiFunction")["Code"]["S3Key"] = "functions/rank_api/"


def no_output(t: Template) -> None:
    del t["Outputs"]["RouteApiFunctionName"]


def a_managed_policy(t: Template) -> None:
    properties(t, "RouteQueriesRole")["ManagedPolicyArns"] = [
        "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"
    ]


def a_policy_for_people_on_a_role(t: Template) -> None:
    properties(t, "OperatorPolicy")["Roles"] = [{"Ref": "RouteApiRole"}]


def a_role_without_boundary(t: Template) -> None:
    del properties(t, "RouteApiRole")["PermissionsBoundary"]


def a_role_created_by_sam(t: Template) -> None:
    properties(t, "RouteApiRole")["Tags"] = [{"Key": "lambda:createdBy", "Value": "SAM"}]


def any_table(t: Template) -> None:
    grant(t, "RouteApiRole", "UseState")["Resource"] = "*"


def any_action(t: Template) -> None:
    grant(t, "RouteApiRole", "UseState")["Action"] = ["dynamodb:*"]


def the_whole_bucket(t: Template) -> None:
    grant(t, "ShardPromptsRole", "WriteRun")["Resource"] = {"Fn::Sub": "${DataBucket.Arn}/*"}


def any_function(t: Template) -> None:
    grant(t, "RouteApiRole", "UseState").update(
        Action="lambda:InvokeFunction",
        Resource={"Fn::Sub": "arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:*"},
    )


def no_dead_letter_queue(t: Template) -> None:
    del properties(t, "TrackRunsFunctionTick")["Targets"][0]["DeadLetterConfig"]


def no_retry_policy(t: Template) -> None:
    del properties(t, "TrackRunsFunctionTick")["Targets"][0]["RetryPolicy"]


def no_queue_policy(t: Template) -> None:
    del t["Resources"]["EventDeadLetterQueuePolicy"]


def a_rule_missing_from_the_queue_policy(t: Template) -> None:
    statement = properties(t, "EventDeadLetterQueuePolicy")["PolicyDocument"]["Statement"][1]
    statement["Condition"]["ArnEquals"]["aws:SourceArn"].pop(0)


def no_partial_batches(t: Template) -> None:
    del properties(t, "RouteQueriesFunctionSplit")["FunctionResponseTypes"]


def a_filter(t: Template) -> None:
    properties(t, "RouteQueriesFunctionSplit")["FilterCriteria"] = {"Filters": []}


def no_maximum_concurrency(t: Template) -> None:
    del properties(t, "RouteQueriesFunctionSplit")["ScalingConfig"]


def short_visibility(t: Template) -> None:
    properties(t, "SplitQueue")["VisibilityTimeout"] = 900


def a_longer_timeout(t: Template) -> None:
    properties(t, "RouteQueriesFunction")["Timeout"] = 901


def few_receives(t: Template) -> None:
    properties(t, "SplitQueue")["RedrivePolicy"]["maxReceiveCount"] = 1


def no_redrive(t: Template) -> None:
    del properties(t, "SplitQueue")["RedrivePolicy"]


def short_lived_dead_letters(t: Template) -> None:
    properties(t, "SplitDeadLetterQueue")["MessageRetentionPeriod"] = 345_600


def no_on_failure(t: Template) -> None:
    del properties(t, "DeployModelFunctionEventInvokeConfig")["DestinationConfig"]


def no_event_invoke_config(t: Template) -> None:
    del t["Resources"]["DeployModelFunctionEventInvokeConfig"]


def on_failure_without_permission(t: Template) -> None:
    policy(t, "DeployModelRole").remove(grant(t, "DeployModelRole", "SendFailedEvents"))


def a_public_url(t: Template) -> None:
    properties(t, "RouteApiFunctionUrl")["AuthType"] = "NONE"


def a_public_permission(t: Template) -> None:
    properties(t, "TrackRunsFunctionTickPermission")["Principal"] = "*"


def a_permission_for_any_rule(t: Template) -> None:
    del properties(t, "TrackRunsFunctionTickPermission")["SourceArn"]


def writing_to_the_upload_bucket(t: Template) -> None:
    grant(t, "ShardPromptsRole", "WriteRun")["Resource"] = {
        "Fn::Sub": "${UploadBucket.Arn}/prompts/shards/*"
    }


def events_from_the_data_bucket(t: Template) -> None:
    detail = properties(t, "SplitQueryLogFunctionQueryLogUploaded")["EventPattern"]["detail"]
    detail["bucket"]["name"] = [{"Ref": "DataBucket"}]
    detail["object"]["key"] = [{"prefix": "logs/"}]


def events_from_every_bucket(t: Template) -> None:
    detail = properties(t, "SplitQueryLogFunctionQueryLogUploaded")["EventPattern"]["detail"]
    del detail["bucket"], detail["object"]


def no_encryption_of_objects(t: Template) -> None:
    del properties(t, "DataBucket")["BucketEncryption"]


def half_a_public_access_block(t: Template) -> None:
    properties(t, "DataBucket")["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] = False


def acls(t: Template) -> None:
    del properties(t, "DataBucket")["OwnershipControls"]


def no_versions(t: Template) -> None:
    properties(t, "UploadBucket")["VersioningConfiguration"]["Status"] = "Suspended"


def short_lived_copies_of_splits(t: Template) -> None:
    rules = properties(t, "DataBucket")["LifecycleConfiguration"]["Rules"]
    rules[-1]["ExpirationInDays"] = 14


def copies_that_do_not_expire(t: Template) -> None:
    rules = properties(t, "DataBucket")["LifecycleConfiguration"]["Rules"]
    rules[-1]["Prefix"] = "logs/copied/"


def no_lifecycle(t: Template) -> None:
    del properties(t, "UploadBucket")["LifecycleConfiguration"]


def http_on_a_bucket(t: Template) -> None:
    statement = properties(t, "DataBucketPolicy")["PolicyDocument"]["Statement"][0]
    statement["Effect"] = "Allow"


def http_on_a_queue(t: Template) -> None:
    del t["Resources"]["SplitQueuePolicy"]


def trust_without_source(t: Template) -> None:
    trust = properties(t, "DistillationRole")["AssumeRolePolicyDocument"]["Statement"][0]
    del trust["Condition"]["ArnEquals"]


def trust_in_any_account(t: Template) -> None:
    trust = properties(t, "EvaluationRole")["AssumeRolePolicyDocument"]["Statement"][0]
    del trust["Condition"]["StringEquals"]


def a_role_for_any_service(t: Template) -> None:
    del grant(t, "StartDistillationRole", "PassDistillationRole")["Condition"]


def any_role_for_bedrock(t: Template) -> None:
    lend = grant(t, "StartDistillationRole", "PassDistillationRole")
    lend["Resource"] = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}


def no_encryption_of_messages(t: Template) -> None:
    del properties(t, "SplitQueue")["SqsManagedSseEnabled"]


def http_on_a_topic(t: Template) -> None:
    properties(t, "MonitoringNewsTopicPolicy")["PolicyDocument"]["Statement"].pop(0)


def a_public_bucket(t: Template) -> None:
    properties(t, "DataBucketPolicy")["PolicyDocument"]["Statement"].append(
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}
    )


def a_queue_for_any_rule(t: Template) -> None:
    statement = properties(t, "EventDeadLetterQueuePolicy")["PolicyDocument"]["Statement"][1]
    statement["Condition"] = {}


def a_topic_for_any_account(t: Template) -> None:
    statement = properties(t, "MonitoringAlarmTopicPolicy")["PolicyDocument"]["Statement"][1]
    del statement["Condition"]["StringEquals"]


def a_condition_for_eventbridge(t: Template) -> None:
    statement = properties(t, "MonitoringNewsTopicPolicy")["PolicyDocument"]["Statement"][1]
    statement["Condition"] = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def no_backups(t: Template) -> None:
    del properties(t, "StateTable")["PointInTimeRecoverySpecification"]


def a_table_deleted_with_the_stack(t: Template) -> None:
    t["Resources"]["StateTable"]["DeletionPolicy"] = "Delete"


def no_expiry_of_the_cache(t: Template) -> None:
    del properties(t, "CacheTable")["TimeToLiveSpecification"]


def a_misspelt_event(t: Template) -> None:
    pattern = properties(t, "FinishQueryLogFunctionPartsComplete")["EventPattern"]
    pattern["detail-type"] = ["QueryLogPartComplete"]


def a_failure_without_notification(t: Template) -> None:
    properties(t, "MonitoringRunOutcomeRule")["EventPattern"]["detail-type"].remove("RunFailed")


def a_topic_that_denies_outcomes(t: Template) -> None:
    properties(t, "MonitoringNewsTopicPolicy")["PolicyDocument"]["Statement"].pop(1)


def a_topic_that_denies_alarms(t: Template) -> None:
    properties(t, "MonitoringAlarmTopicPolicy")["PolicyDocument"]["Statement"].pop(1)


def no_alarm_on_dead_letters(t: Template) -> None:
    del t["Resources"]["MonitoringEventDeadLetterQueueDepthAlarm"]


def an_alarm_that_forgets_an_idle_queue(t: Template) -> None:
    properties(t, "MonitoringSplitDeadLetterQueueAgeAlarm")["TreatMissingData"] = "notBreaching"


def an_alarm_without_runbook(t: Template) -> None:
    properties(t, "MonitoringLogsStuckAlarm")["AlarmDescription"] = "A query log is stuck."


def an_alarm_with_a_misspelt_runbook(t: Template) -> None:
    alarm = properties(t, "MonitoringLogsStuckAlarm")
    alarm["AlarmDescription"] = alarm["AlarmDescription"].replace("#logsstuck", "#logstuck")


def no_alarm_on_a_function(t: Template) -> None:
    del t["Resources"]["MonitoringDeployModelErrorsAlarm"]


def no_alarm_on_fallbacks(t: Template) -> None:
    del t["Resources"]["MonitoringBatchFallbackAlarm"]


def an_alarm_without_action(t: Template) -> None:
    properties(t, "MonitoringLogsStuckAlarm")["AlarmActions"] = []


def a_misspelt_metric_in_an_alarm(t: Template) -> None:
    properties(t, "MonitoringLogsStuckAlarm")["MetricName"] = "LogStuck"


def a_dimension_that_is_not_emitted(t: Template) -> None:
    properties(t, "MonitoringBatchFallbackAlarm")["Dimensions"].append(
        {"Name": "Tier", "Value": "cache"}
    )


def another_stages_alarm(t: Template) -> None:
    properties(t, "MonitoringBatchFallbackAlarm")["Dimensions"][0]["Value"] = "search-router-prod"


def a_misspelt_metric_of_aws(t: Template) -> None:
    properties(t, "MonitoringSplitDeadLetterQueueAgeAlarm")["MetricName"] = "AgeOfOldestMessage"


def in_the_dashboard(t: Template, before: str, after: str) -> None:
    dashboard = properties(t, "MonitoringDashboard")
    body = dashboard["DashboardBody"]["Fn::Sub"]
    assert before in body
    dashboard["DashboardBody"]["Fn::Sub"] = body.replace(before, after)


def a_misspelt_metric_on_the_dashboard(t: Template) -> None:
    in_the_dashboard(t, '"SearchRouter", "CostUsd"', '"SearchRouter", "CostUSD"')


def a_misspelt_dimension_on_the_dashboard(t: Template) -> None:
    in_the_dashboard(t, "{SearchRouter,Modality,service}", "{SearchRouter,modality,service}")


def an_unused_metric(t: Template) -> None:
    in_the_dashboard(t, '"SearchRouter", "CostUsd"', '"SearchRouter", "InputTokens"')


def a_dependency_cycle(t: Template) -> None:
    t["Resources"]["EventDeadLetterQueue"]["DependsOn"] = ["EventDeadLetterQueuePolicy"]


def a_renamed_event(t: Template) -> None:
    pattern = properties(t, "PromoteModelFunctionModelEvaluated")["EventPattern"]
    pattern["detail-type"] = ["ModelScored"]


def a_rule_for_all_our_events(t: Template) -> None:
    del properties(t, "PromoteModelFunctionModelEvaluated")["EventPattern"]["detail-type"]


@pytest.mark.parametrize(
    ("check", "mistake", "finding"),
    [
        (mismatched_functions, another_functions_role, "route_api: role"),
        (mismatched_functions, another_functions_log_group, "route_api: log group"),
        (mismatched_functions, no_log_retention, "route_api: log retention"),
        (mismatched_functions, another_handler, "route_api: handler"),
        (mismatched_functions, a_function_without_folder, "rank_api: folder"),
        (mismatched_functions, a_function_without_folder, "rank_api: golden event"),
        (mismatched_functions, a_function_without_folder, "route_api: folder without"),
        (mismatched_functions, no_output, "route_api: output"),
        (checks.foreign_policies, a_managed_policy, "RouteQueriesRole: managed"),
        (checks.foreign_policies, a_role_created_by_sam, "RouteApiRole: role created by SAM"),
        (checks.foreign_policies, a_policy_for_people_on_a_role, "OperatorPolicy: attached"),
        (checks.unbounded_roles, a_role_without_boundary, "RouteApiRole: no permissions boundary"),
        (checks.wide_grants, any_table, "RouteApiRole dynamodb:GetItem: * is too wide"),
        (checks.wide_grants, any_action, "RouteApiRole dynamodb:*: wildcard action"),
        (checks.wide_grants, the_whole_bucket, "${DataBucket.Arn}/* is too wide"),
        (checks.wide_grants, any_function, "function:* is too wide"),
        (checks.undeliverable_events, no_dead_letter_queue, "TrackRunsFunctionTick: no dead"),
        (checks.undeliverable_events, no_retry_policy, "TrackRunsFunctionTick: no retry"),
        (checks.undeliverable_events, no_queue_policy, "policy of EventDeadLetterQueue denies"),
        (
            checks.undeliverable_events,
            a_rule_missing_from_the_queue_policy,
            "ShardPromptsFunctionPromptsUploaded: the policy of EventDeadLetterQueue denies",
        ),
        (checks.lost_messages, no_partial_batches, "does not report failures per item"),
        (checks.lost_messages, a_filter, "filters a work queue"),
        (checks.lost_messages, no_maximum_concurrency, "no maximum concurrency"),
        (checks.hasty_queues, short_visibility, "become visible while"),
        (checks.hasty_queues, a_longer_timeout, "become visible while"),
        (checks.hasty_queues, few_receives, "only 1 receives"),
        (checks.hasty_queues, no_redrive, "SplitQueue: no dead-letter queue"),
        (checks.hasty_queues, short_lived_dead_letters, "dead letters expire"),
        (checks.lost_invocations, no_on_failure, "DeployModelFunction: no OnFailure"),
        (checks.lost_invocations, no_event_invoke_config, "DeployModelFunction: no OnFailure"),
        (checks.lost_invocations, on_failure_without_permission, "DeployModelRole may not send"),
        (checks.public_functions, a_public_url, "RouteApiFunctionUrl: public"),
        (checks.public_functions, a_public_permission, "anyone may invoke"),
        (checks.public_functions, a_permission_for_any_rule, "any resource of events"),
        (checks.event_loops, writing_to_the_upload_bucket, "ShardPromptsRole may trigger it"),
        (checks.event_loops, events_from_the_data_bucket, "RouteQueriesRole may trigger it"),
        (checks.event_loops, events_from_every_bucket, "ShardPromptsRole may trigger it"),
        (checks.unguarded_buckets, no_encryption_of_objects, "DataBucket: no encryption"),
        (checks.unguarded_buckets, half_a_public_access_block, "DataBucket: no public access"),
        (checks.unguarded_buckets, acls, "DataBucket: no owner-enforced objects"),
        (checks.unguarded_buckets, no_versions, "UploadBucket: no versions"),
        (short_lived_copies, short_lived_copies_of_splits, "14 days, but messages need 28"),
        (short_lived_copies, copies_that_do_not_expire, "copies do not expire"),
        (checks.unguarded_buckets, no_lifecycle, "UploadBucket: no end of unfinished uploads"),
        (checks.unguarded_buckets, no_lifecycle, "UploadBucket: no end of old versions"),
        (checks.plain_http, http_on_a_bucket, "DataBucket: accepts requests without TLS"),
        (checks.plain_http, http_on_a_queue, "SplitQueue: accepts requests without TLS"),
        (checks.confused_deputies, trust_without_source, "lacks aws:SourceArn"),
        (checks.confused_deputies, trust_in_any_account, "lacks aws:SourceAccount"),
        (checks.confused_deputies, a_role_for_any_service, "may pass roles to any service"),
        (checks.confused_deputies, any_role_for_bedrock, "may pass other roles"),
        (checks.plain_http, http_on_a_topic, "NewsTopic: accepts requests without TLS"),
        (checks.unencrypted_queues, no_encryption_of_messages, "SplitQueue: not encrypted"),
        (checks.open_policies, a_public_bucket, "DataBucketPolicy : allows more than a service"),
        (checks.open_policies, a_queue_for_any_rule, "lacks the condition aws:SourceArn"),
        (checks.open_policies, a_topic_for_any_account, "lacks the condition aws:SourceAccount"),
        (checks.open_policies, a_condition_for_eventbridge, "EventBridge cannot publish"),
        (unsafe_tables, no_backups, "StateTable: no point-in-time recovery"),
        (unsafe_tables, a_table_deleted_with_the_stack, "StateTable: deleted with the stack"),
        (unsafe_tables, no_expiry_of_the_cache, "CacheTable: items do not expire"),
        (unmatched_events, a_misspelt_event, "QueryLogPartsComplete: no rule matches it"),
        (unmatched_events, a_misspelt_event, "QueryLogPartComplete: nothing publishes it"),
        (unpublished_outcomes, a_failure_without_notification, "RunFailed: no topic gets it"),
        (
            unpublished_outcomes,
            a_topic_that_denies_outcomes,
            "MonitoringNewsTopic: policy denies MonitoringRunOutcomeRule",
        ),
        (
            missing_alarms,
            a_topic_that_denies_alarms,
            "policy of MonitoringAlarmTopic denies it",
        ),
        (
            missing_alarms,
            no_alarm_on_dead_letters,
            "EventDeadLetterQueue: no alarm on ApproximateNumberOfMessagesVisible",
        ),
        (
            missing_alarms,
            an_alarm_that_forgets_an_idle_queue,
            "SplitDeadLetterQueueAgeAlarm: no state while",
        ),
        (alarms_without_runbook, an_alarm_without_runbook, "LogsStuckAlarm: no section"),
        (alarms_without_runbook, an_alarm_with_a_misspelt_runbook, "LogsStuckAlarm: no section"),
        (missing_alarms, no_alarm_on_a_function, "DeployModelFunction: no alarm on Errors"),
        (missing_alarms, no_alarm_on_fallbacks, "no alarm on BatchFallbackShare"),
        (missing_alarms, an_alarm_without_action, "LogsStuckAlarm: notifies no topic"),
        (unknown_metrics, a_misspelt_metric_in_an_alarm, "nothing emits SearchRouter LogStuck by"),
        (unknown_metrics, a_dimension_that_is_not_emitted, "BatchFallbackShare by Tier, service"),
        (unknown_metrics, another_stages_alarm, "nothing emits for the service search-router-prod"),
        (unknown_metrics, a_misspelt_metric_of_aws, "nothing emits AWS/SQS AgeOfOldestMessage"),
        (unknown_metrics, a_misspelt_metric_on_the_dashboard, "nothing emits SearchRouter CostUSD"),
        (unknown_metrics, a_misspelt_dimension_on_the_dashboard, "WeightMean by modality, service"),
        (unused_metrics, an_unused_metric, "CostUsd: not used"),
        (checks.dependency_cycles, a_dependency_cycle, "EventDeadLetterQueuePolicy"),
        (misrouted_events, a_renamed_event, "does not match the event of promote_model"),
        (misrouted_events, a_rule_for_all_our_events, "matches the event of start_distillation"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_planted_mistake_is_found(
    check: Callable[[Template], list[str]],
    mistake: Callable[[Template], None],
    finding: str,
    template: Template,
) -> None:
    # GIVEN a template that is right but for one mistake
    mistake(template)

    # WHEN it is checked
    findings = check(template)

    # THEN the mistake is named
    assert any(finding in found for found in findings), findings


def test_every_check_has_a_planted_mistake() -> None:
    parameters = test_a_planted_mistake_is_found.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {check for check, _, _ in parameters} == set(CHECKS)


def test_queue_messages_hold_no_query_text() -> None:
    body = json.loads(EVENTS["route_queries"]["Records"][0]["body"])
    assert "query" not in body


@pytest.mark.parametrize("role", ["ShardPromptsRole", "SplitQueryLogRole", "RouteQueriesRole"])
def test_a_parser_of_uploads_may_write_neither_champion_nor_budget(role: str) -> None:
    template = SamTemplate.load(ROOT / "template.yaml")
    [policy] = template.resources("AWS::IAM::Role")[role]["Policies"]
    state = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Resource"] == {"Fn::GetAtt": ["StateTable", "Arn"]}
    ]
    assert state
    for statement in state:
        keys = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        assert "SPENDING" not in keys
        assert "*" not in keys
        assert keys == ["CHAMPION"] or "CHAMPION" not in keys
        assert keys != ["CHAMPION"] or statement["Action"] == "dynamodb:GetItem"
