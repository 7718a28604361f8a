"""The whole template, expanded offline: our own checks, and for each a mistake that it finds."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_router.domain import events, naming
from search_router.domain.events import RouterEvent
from search_router.measurements import Metric
from tests.unit import template_checks as checks
from tests.unit.template_checks import MetricName, Template

ROOT = Path(__file__).parents[2]
FOLDERS = {file.parent.name for file in ROOT.glob("functions/*/app.py")}
EVENTS = {file.stem: json.loads(file.read_text()) for file in ROOT.glob("events/*.json")}
EVENT_FILES = {f"{name}.json" for name in EVENTS}
NAMES = {"UploadBucket": "search-router-dev-uploadbucket-0123456789ab"}

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
    "route_api",
}


OUR_EVENTS = {kind.detail_type for kind in RouterEvent.__subclasses__()}
OUTCOMES = {"ModelPromoted", "ModelRejected", "RunFailed", "QueryLogRouted"}
NAMESPACE = "SearchRouter"
EMITTED = {
    MetricName(NAMESPACE, metric.label, frozenset({"service", metric.dimension or "service"}))
    for metric in Metric
}
NEEDS_SOMEBODY = {
    "BatchFallbackShare",
    "ApiFallbackShare",
    "QueriesUnanswered",
    "SplitsFailed",
    "ModelUnusable",
    "ModelThrottles",
    "RunsFailed",
    "LogsFailed",
    "LogsStuck",
    "UploadsMissed",
    "TrackingErrors",
}


def functions_out_of_step(template: Template) -> list[str]:
    return checks.functions_out_of_step(template, FUNCTION_FOLDERS, EVENT_FILES)


def misrouted_events(template: Template) -> list[str]:
    return checks.misrouted_events(template, EVENTS, NAMES)


def forgetful_tables(template: Template) -> list[str]:
    return checks.forgetful_tables(template, kept="StateTable", expiring="CacheTable")


def unheard_events(template: Template) -> list[str]:
    return checks.unheard_events(template, events.SOURCE, OUR_EVENTS)


def silent_outcomes(template: Template) -> list[str]:
    return checks.silent_outcomes(template, OUTCOMES)


def missing_alarms(template: Template) -> list[str]:
    return checks.missing_alarms(template, NEEDS_SOMEBODY)


def unknown_metrics(template: Template) -> list[str]:
    return checks.unknown_metrics(template, EMITTED)


def unseen_metrics(template: Template) -> list[str]:
    return checks.unseen_metrics(template, EMITTED)


def vanishing_copies(template: Template) -> list[str]:
    """Unpacked copies expire, and no earlier than a message that was redriven once."""
    rules = properties(template, "DataBucket")["LifecycleConfiguration"]["Rules"]
    copy_key = naming.split_copy_key("log-0123456789ab", 0, 1)
    days = [r["ExpirationInDays"] for r in rules if copy_key.startswith(r.get("Prefix", "-"))]
    asked = 2 * properties(template, "SplitDeadLetterQueue")["MessageRetentionPeriod"] / 86_400
    if not days:
        return ["DataBucket: copies are kept for ever"]
    return [f"DataBucket: {d} days, a message asks for {asked:g}" for d in days if d < asked]


@pytest.fixture(scope="session")
def expanded_template() -> Template:
    return checks.expand(ROOT / "template.yaml")


@pytest.fixture
def template(expanded_template: Template) -> Template:
    return copy.deepcopy(expanded_template)


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
    functions_out_of_step,
    checks.policies_of_others,
    checks.wide_grants,
    checks.undeliverable_events,
    checks.swallowed_messages,
    checks.impatient_queues,
    checks.lost_runs,
    checks.open_doors,
    checks.event_loops,
    checks.unguarded_buckets,
    vanishing_copies,
    checks.plain_http,
    checks.confused_deputies,
    checks.unencrypted_queues,
    checks.open_policies,
    forgetful_tables,
    unheard_events,
    silent_outcomes,
    missing_alarms,
    unknown_metrics,
    unseen_metrics,
    checks.circles,
    misrouted_events,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_template_has_no_findings(
    check: Callable[[Template], list[str]], template: Template
) -> None:
    assert check(template) == []


def test_the_template_holds_the_functions_that_have_a_folder() -> None:
    assert FOLDERS == FUNCTION_FOLDERS


# ---------------------------------------------------------------------------------------
# One mistake each, that its check must find
# ---------------------------------------------------------------------------------------


def another_functions_role(t: Template) -> None:
    properties(t, "RouteApiFunction")["Role"] = {"Fn::GetAtt": ["RouteQueriesRole", "Arn"]}


def another_functions_log_group(t: Template) -> None:
    properties(t, "RouteApiFunction")["LoggingConfig"] = {"LogGroup": {"Ref": "TrackRunsLogGroup"}}


def endless_logs(t: Template) -> None:
    del properties(t, "RouteApiLogGroup")["RetentionInDays"]


def another_handler(t: Template) -> None:
    properties(t, "RouteApiFunction")["Handler"] = "main.handler"


def a_function_without_folder(t: Template) -> None:
    properties(t, "RouteApiFunction")["Code"]["S3Key"] = "functions/search_api/"


def no_output(t: Template) -> None:
    del t["Outputs"]["RouteApiFunctionName"]


def a_managed_policy(t: Template) -> None:
    properties(t, "RouteQueriesRole")["ManagedPolicyArns"] = [
        "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"
    ]


def a_role_made_by_sam(t: Template) -> None:
    properties(t, "RouteApiRole")["Tags"] = [{"Key": "lambda:createdBy", "Value": "SAM"}]


def every_table(t: Template) -> None:
    grant(t, "RouteApiRole", "KeepState")["Resource"] = "*"


def every_action(t: Template) -> None:
    grant(t, "RouteApiRole", "KeepState")["Action"] = ["dynamodb:*"]


def the_whole_bucket(t: Template) -> None:
    grant(t, "ShardPromptsRole", "WriteRun")["Resource"] = {"Fn::Sub": "${DataBucket.Arn}/*"}


def every_function(t: Template) -> None:
    grant(t, "RouteApiRole", "KeepState").update(
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


def unbounded_workers(t: Template) -> None:
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
    policy(t, "DeployModelRole").remove(grant(t, "DeployModelRole", "HandOverFailedRuns"))


def a_url_for_everybody(t: Template) -> None:
    properties(t, "RouteApiFunctionUrl")["AuthType"] = "NONE"


def a_permission_for_everybody(t: Template) -> None:
    properties(t, "TrackRunsFunctionTickPermission")["Principal"] = "*"


def a_permission_for_every_rule(t: Template) -> None:
    del properties(t, "TrackRunsFunctionTickPermission")["SourceArn"]


def writing_where_events_start(t: Template) -> None:
    grant(t, "ShardPromptsRole", "WriteRun")["Resource"] = {
        "Fn::Sub": "${UploadBucket.Arn}/prompts/shards/*"
    }


def events_from_where_we_write(t: Template) -> None:
    detail = properties(t, "SplitQueryLogFunctionQueryLogUploaded")["EventPattern"]["detail"]
    detail["bucket"]["name"] = [{"Ref": "DataBucket"}]
    detail["object"]["key"] = [{"prefix": "logs/"}]


def events_from_every_bucket(t: Template) -> None:
    detail = properties(t, "SplitQueryLogFunctionQueryLogUploaded")["EventPattern"]["detail"]
    del detail["bucket"], detail["object"]


def plain_objects(t: Template) -> None:
    del properties(t, "DataBucket")["BucketEncryption"]


def half_a_public_access_block(t: Template) -> None:
    properties(t, "DataBucket")["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] = False


def acls(t: Template) -> None:
    del properties(t, "DataBucket")["OwnershipControls"]


def no_versions(t: Template) -> None:
    properties(t, "UploadBucket")["VersioningConfiguration"]["Status"] = "Suspended"


def hasty_copies(t: Template) -> None:
    rules = properties(t, "DataBucket")["LifecycleConfiguration"]["Rules"]
    rules[-1]["ExpirationInDays"] = 14


def copies_for_ever(t: Template) -> None:
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
    del grant(t, "StartDistillationRole", "LendDistillationRole")["Condition"]


def any_role_for_bedrock(t: Template) -> None:
    lend = grant(t, "StartDistillationRole", "LendDistillationRole")
    lend["Resource"] = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}


def plain_messages(t: Template) -> None:
    del properties(t, "SplitQueue")["SqsManagedSseEnabled"]


def http_on_a_topic(t: Template) -> None:
    properties(t, "NotificationTopicPolicy")["PolicyDocument"]["Statement"].pop(0)


def a_public_bucket(t: Template) -> None:
    properties(t, "DataBucketPolicy")["PolicyDocument"]["Statement"].append(
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}
    )


def a_queue_for_every_rule(t: Template) -> None:
    statement = properties(t, "EventDeadLetterQueuePolicy")["PolicyDocument"]["Statement"][1]
    statement["Condition"] = {}


def a_topic_for_every_account(t: Template) -> None:
    statement = properties(t, "NotificationTopicPolicy")["PolicyDocument"]["Statement"][2]
    del statement["Condition"]["StringEquals"]


def no_backups(t: Template) -> None:
    del properties(t, "StateTable")["PointInTimeRecoverySpecification"]


def a_table_that_goes_with_the_stack(t: Template) -> None:
    t["Resources"]["StateTable"]["DeletionPolicy"] = "Delete"


def an_endless_cache(t: Template) -> None:
    del properties(t, "CacheTable")["TimeToLiveSpecification"]


def a_misspelt_event(t: Template) -> None:
    pattern = properties(t, "FinishQueryLogFunctionPartsComplete")["EventPattern"]
    pattern["detail-type"] = ["QueryLogPartComplete"]


def a_silent_failure(t: Template) -> None:
    properties(t, "OutcomeRule")["EventPattern"]["detail-type"].remove("RunFailed")


def a_topic_that_refuses_outcomes(t: Template) -> None:
    properties(t, "NotificationTopicPolicy")["PolicyDocument"]["Statement"].pop(1)


def a_topic_that_refuses_alarms(t: Template) -> None:
    properties(t, "NotificationTopicPolicy")["PolicyDocument"]["Statement"].pop(2)


def no_alarm_on_dead_letters(t: Template) -> None:
    del t["Resources"]["EventDeadLetterQueueDepthAlarm"]


def no_alarm_on_waiting_splits(t: Template) -> None:
    del t["Resources"]["SplitQueueAgeAlarm"]


def no_alarm_on_a_function(t: Template) -> None:
    del t["Resources"]["DeployModelErrorsAlarm"]


def no_alarm_on_fallbacks(t: Template) -> None:
    del t["Resources"]["BatchFallbackAlarm"]


def an_alarm_that_rings_nowhere(t: Template) -> None:
    properties(t, "LogsStuckAlarm")["AlarmActions"] = []


def a_misspelt_metric_in_an_alarm(t: Template) -> None:
    properties(t, "LogsStuckAlarm")["MetricName"] = "LogStuck"


def a_dimension_that_is_not_emitted(t: Template) -> None:
    properties(t, "BatchFallbackAlarm")["Dimensions"].append({"Name": "Tier", "Value": "cache"})


def another_stages_alarm(t: Template) -> None:
    properties(t, "BatchFallbackAlarm")["Dimensions"][0]["Value"] = "search-router-prod"


def a_misspelt_metric_of_aws(t: Template) -> None:
    properties(t, "SplitQueueAgeAlarm")["MetricName"] = "AgeOfOldestMessage"


def in_the_dashboard(t: Template, before: str, after: str) -> None:
    dashboard = properties(t, "Dashboard")
    body = dashboard["DashboardBody"]["Fn::Sub"]
    assert before in body
    dashboard["DashboardBody"]["Fn::Sub"] = body.replace(before, after)


def a_misspelt_metric_on_the_dashboard(t: Template) -> None:
    in_the_dashboard(t, '"SearchRouter", "CostUsd"', '"SearchRouter", "CostUSD"')


def a_misspelt_dimension_on_the_dashboard(t: Template) -> None:
    in_the_dashboard(t, "{SearchRouter,Modality,service}", "{SearchRouter,modality,service}")


def a_metric_that_nobody_sees(t: Template) -> None:
    in_the_dashboard(t, '"SearchRouter", "CostUsd"', '"SearchRouter", "InputTokens"')


def a_circle(t: Template) -> None:
    t["Resources"]["EventDeadLetterQueue"]["DependsOn"] = ["EventDeadLetterQueuePolicy"]


def a_renamed_event(t: Template) -> None:
    pattern = properties(t, "PromoteModelFunctionModelEvaluated")["EventPattern"]
    pattern["detail-type"] = ["ModelScored"]


def a_rule_for_all_our_events(t: Template) -> None:
    del properties(t, "PromoteModelFunctionModelEvaluated")["EventPattern"]["detail-type"]


@pytest.mark.parametrize(
    ("check", "mistake", "finding"),
    [
        (functions_out_of_step, another_functions_role, "route_api: role"),
        (functions_out_of_step, another_functions_log_group, "route_api: log group"),
        (functions_out_of_step, endless_logs, "route_api: log retention"),
        (functions_out_of_step, another_handler, "route_api: handler"),
        (functions_out_of_step, a_function_without_folder, "search_api: folder"),
        (functions_out_of_step, a_function_without_folder, "search_api: golden event"),
        (functions_out_of_step, a_function_without_folder, "route_api: a folder without"),
        (functions_out_of_step, no_output, "route_api: output"),
        (checks.policies_of_others, a_managed_policy, "RouteQueriesRole: managed"),
        (checks.policies_of_others, a_role_made_by_sam, "RouteApiRole: a role that SAM made"),
        (checks.wide_grants, every_table, "RouteApiRole dynamodb:GetItem: * is too wide"),
        (checks.wide_grants, every_action, "RouteApiRole dynamodb:*: a wildcard action"),
        (checks.wide_grants, the_whole_bucket, "${DataBucket.Arn}/* is too wide"),
        (checks.wide_grants, every_function, "function:* is too wide"),
        (checks.undeliverable_events, no_dead_letter_queue, "TrackRunsFunctionTick: no dead"),
        (checks.undeliverable_events, no_retry_policy, "TrackRunsFunctionTick: no retry"),
        (checks.undeliverable_events, no_queue_policy, "EventDeadLetterQueue refuses"),
        (
            checks.undeliverable_events,
            a_rule_missing_from_the_queue_policy,
            "ShardPromptsFunctionPromptsUploaded: EventDeadLetterQueue refuses",
        ),
        (checks.swallowed_messages, no_partial_batches, "fails or loses the batch"),
        (checks.swallowed_messages, a_filter, "a filter on a work queue"),
        (checks.swallowed_messages, unbounded_workers, "no bound on its concurrency"),
        (checks.impatient_queues, short_visibility, "visible again before"),
        (checks.impatient_queues, a_longer_timeout, "visible again before"),
        (checks.impatient_queues, few_receives, "given up after 1 receives"),
        (checks.impatient_queues, no_redrive, "SplitQueue: no dead-letter queue"),
        (checks.impatient_queues, short_lived_dead_letters, "dead letters expire"),
        (checks.lost_runs, no_on_failure, "DeployModelFunction: a failed run is lost"),
        (checks.lost_runs, no_event_invoke_config, "DeployModelFunction: a failed run is lost"),
        (checks.lost_runs, on_failure_without_permission, "DeployModelRole may not write"),
        (checks.open_doors, a_url_for_everybody, "RouteApiFunctionUrl: open"),
        (checks.open_doors, a_permission_for_everybody, "everybody may invoke"),
        (checks.open_doors, a_permission_for_every_rule, "any resource of events"),
        (checks.event_loops, writing_where_events_start, "ShardPromptsRole may start it"),
        (checks.event_loops, events_from_where_we_write, "RouteQueriesRole may start it"),
        (checks.event_loops, events_from_every_bucket, "ShardPromptsRole may start it"),
        (checks.unguarded_buckets, plain_objects, "DataBucket: no encryption"),
        (checks.unguarded_buckets, half_a_public_access_block, "DataBucket: no public access"),
        (checks.unguarded_buckets, acls, "DataBucket: no owner-enforced objects"),
        (checks.unguarded_buckets, no_versions, "UploadBucket: no versions"),
        (vanishing_copies, hasty_copies, "14 days, a message asks for 28"),
        (vanishing_copies, copies_for_ever, "copies are kept for ever"),
        (checks.unguarded_buckets, no_lifecycle, "UploadBucket: no end of unfinished uploads"),
        (checks.unguarded_buckets, no_lifecycle, "UploadBucket: no end of old versions"),
        (checks.plain_http, http_on_a_bucket, "DataBucket: takes requests without TLS"),
        (checks.plain_http, http_on_a_queue, "SplitQueue: takes requests without TLS"),
        (checks.confused_deputies, trust_without_source, "without aws:SourceArn"),
        (checks.confused_deputies, trust_in_any_account, "without aws:SourceAccount"),
        (checks.confused_deputies, a_role_for_any_service, "passes roles to any service"),
        (checks.confused_deputies, any_role_for_bedrock, "passes more than one role"),
        (checks.plain_http, http_on_a_topic, "NotificationTopic: takes requests without TLS"),
        (checks.unencrypted_queues, plain_messages, "SplitQueue: not encrypted"),
        (checks.open_policies, a_public_bucket, "DataBucketPolicy : open to more than a service"),
        (checks.open_policies, a_queue_for_every_rule, "lets in without aws:SourceArn"),
        (checks.open_policies, a_topic_for_every_account, "lets in without aws:SourceAccount"),
        (forgetful_tables, no_backups, "StateTable: no point-in-time recovery"),
        (forgetful_tables, a_table_that_goes_with_the_stack, "StateTable: deleted with the stack"),
        (forgetful_tables, an_endless_cache, "CacheTable: keeps its items for ever"),
        (unheard_events, a_misspelt_event, "QueryLogPartsComplete: nobody waits for it"),
        (unheard_events, a_misspelt_event, "QueryLogPartComplete: nobody sends it"),
        (silent_outcomes, a_silent_failure, "RunFailed: nobody is told"),
        (silent_outcomes, a_topic_that_refuses_outcomes, "NotificationTopic: refuses OutcomeRule"),
        (missing_alarms, a_topic_that_refuses_alarms, "NotificationTopic refuses it"),
        (
            missing_alarms,
            no_alarm_on_dead_letters,
            "EventDeadLetterQueue: no alarm on ApproximateNumberOfMessagesVisible",
        ),
        (
            missing_alarms,
            no_alarm_on_waiting_splits,
            "SplitQueue: no alarm on ApproximateAgeOfOldestMessage",
        ),
        (missing_alarms, no_alarm_on_a_function, "DeployModelFunction: no alarm on Errors"),
        (missing_alarms, no_alarm_on_fallbacks, "no alarm on BatchFallbackShare"),
        (missing_alarms, an_alarm_that_rings_nowhere, "LogsStuckAlarm: rings nowhere"),
        (unknown_metrics, a_misspelt_metric_in_an_alarm, "nothing emits SearchRouter LogStuck by"),
        (unknown_metrics, a_dimension_that_is_not_emitted, "BatchFallbackShare by Tier, service"),
        (unknown_metrics, another_stages_alarm, "nothing emits for the service search-router-prod"),
        (unknown_metrics, a_misspelt_metric_of_aws, "nothing emits AWS/SQS AgeOfOldestMessage"),
        (unknown_metrics, a_misspelt_metric_on_the_dashboard, "nothing emits SearchRouter CostUSD"),
        (unknown_metrics, a_misspelt_dimension_on_the_dashboard, "WeightMean by modality, service"),
        (unseen_metrics, a_metric_that_nobody_sees, "CostUsd: nobody looks at it"),
        (checks.circles, a_circle, "EventDeadLetterQueuePolicy"),
        (misrouted_events, a_renamed_event, "misses the event of promote_model"),
        (misrouted_events, a_rule_for_all_our_events, "takes the event of start_distillation"),
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
