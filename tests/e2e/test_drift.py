"""The drift guard: what runs here is what template.yaml says, and each planted difference is found.

All differences are planted into one stack at the same time, through the services' own APIs; each
must be named by a finding, and there must be no other finding.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from local_stack.drift import find_drift
from local_stack.launcher import PROJECT, STACK_NAME, LocalStack, LocalStackOptions
from local_stack.template import SamTemplate

TEMPLATE = SamTemplate.load(PROJECT / "template.yaml")


@dataclass(frozen=True)
class Target:
    """The deployed stack, by logical ids."""

    stack: LocalStack
    ids: Mapping[str, str]

    def client(self, service: str) -> Any:
        return self.stack.connection.client(service)

    def configure(self, function: str, **changes: Any) -> None:
        """Change a function's configuration."""
        self.client("lambda").update_function_configuration(
            FunctionName=self.ids[function], **changes
        )

    def change_pattern(self, rule: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a rule's event pattern."""
        events = self.client("events")
        pattern = json.loads(events.describe_rule(Name=self.ids[rule])["EventPattern"])
        change(pattern)
        events.put_rule(Name=self.ids[rule], EventPattern=json.dumps(pattern))

    def change_policy(self, role: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a statement of the role's own policy, by its Sid."""
        iam, name = self.client("iam"), self.ids[role]
        (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        change({statement["Sid"]: statement for statement in document["Statement"]})
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))

    def drift(
        self, template: SamTemplate = TEMPLATE, parameters: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return the guard's findings."""
        return find_drift(
            self.stack.connection,
            template,
            parameters or self.stack.parameters,
            stack_name=STACK_NAME,
        )


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    options = LocalStackOptions(parameters={"AlarmEmail": "somebody@example.com"})
    with LocalStack(options) as stack:
        listed = stack.connection.client("cloudformation").describe_stack_resources(
            StackName=STACK_NAME
        )["StackResources"]
        ids = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in listed}
        yield Target(stack, ids)


@pytest.fixture(scope="module")
def fresh(target: Target) -> list[str]:
    """What the guard finds before anything is planted."""
    return target.drift()


# ---------------------------------------------------------------------------------------
# Planted into the deployed stack
# ---------------------------------------------------------------------------------------


def renamed_handler(t: Target) -> None:
    t.configure("ShardPromptsFunction", Handler="main.handler")


def changed_timeout(t: Target) -> None:
    t.configure("StartDistillationFunction", Timeout=3)


def changed_memory(t: Target) -> None:
    t.configure("PromoteModelFunction", MemorySize=128)


def another_role(t: Target) -> None:
    arn = f"arn:aws:iam::000000000000:role/{t.ids['RouteQueriesRole']}"
    t.configure("FinishQueryLogFunction", Role=arn)


def lost_variable(t: Target) -> None:
    function = t.ids["EvaluateModelFunction"]
    variables = t.client("lambda").get_function_configuration(FunctionName=function)["Environment"][
        "Variables"
    ]
    del variables["MODALITIES"]
    t.configure("EvaluateModelFunction", Environment={"Variables": variables})


def lost_layer(t: Target) -> None:
    t.configure("TrackRunsFunction", Layers=[])


def other_code(t: Target) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", "def lambda_handler(event, context): return None\n")
    t.client("lambda").update_function_code(
        FunctionName=t.ids["SplitQueryLogFunction"], ZipFile=archive.getvalue()
    )


def lost_prefix_filter(t: Target) -> None:
    t.change_pattern(
        "ShardPromptsFunctionPromptsUploaded", lambda pattern: pattern["detail"].pop("object")
    )


def renamed_detail_type(t: Target) -> None:
    t.change_pattern(
        "StartDistillationFunctionPromptsSharded",
        lambda pattern: pattern.update({"detail-type": ["PromptsAreSharded"]}),
    )


def changed_schedule(t: Target) -> None:
    name = t.ids["TrackRunsFunctionTick"]
    described = t.client("events").describe_rule(Name=name)
    t.client("events").put_rule(
        Name=name, ScheduleExpression="rate(1 hour)", Description=described["Description"]
    )


def disabled_rule(t: Target) -> None:
    t.client("events").disable_rule(Name=t.ids["DeployModelFunctionJobEnded"])


def target_without_dead_letters(t: Target) -> None:
    events, rule = t.client("events"), t.ids["EvaluateModelFunctionModelDeployed"]
    (found,) = events.list_targets_by_rule(Rule=rule)["Targets"]
    del found["DeadLetterConfig"]
    events.put_targets(Rule=rule, Targets=[found])


def changed_batch_size(t: Target) -> None:
    t.client("lambda").update_event_source_mapping(
        UUID=t.ids["RouteQueriesFunctionSplit"], BatchSize=10
    )


def lost_partial_batches(t: Target) -> None:
    t.client("lambda").update_event_source_mapping(
        UUID=t.ids["RouteQueriesFunctionSplit"], FunctionResponseTypes=[]
    )


def changed_visibility(t: Target) -> None:
    t.client("sqs").set_queue_attributes(
        QueueUrl=t.ids["SplitQueue"], Attributes={"VisibilityTimeout": "30"}
    )


def dropped_dead_letters(t: Target) -> None:
    t.client("sqs").set_queue_attributes(
        QueueUrl=t.ids["SplitQueue"], Attributes={"RedrivePolicy": ""}
    )


def dropped_on_failure(t: Target) -> None:
    t.client("lambda").put_function_event_invoke_config(
        FunctionName=t.ids["DeployModelFunction"],
        Qualifier="$LATEST",
        MaximumRetryAttempts=2,
        MaximumEventAgeInSeconds=21600,
    )


def widened_action(t: Target) -> None:
    t.change_policy("RouteApiRole", lambda s: s["KeepState"].update({"Action": "dynamodb:*"}))


def widened_resource(t: Target) -> None:
    t.change_policy("ShardPromptsRole", lambda s: s["ReadPrompts"].update({"Resource": "*"}))


def lost_condition(t: Target) -> None:
    t.change_policy("StartDistillationRole", lambda s: s["LendDistillationRole"].pop("Condition"))


def managed_policy(t: Target) -> None:
    t.client("iam").attach_role_policy(
        RoleName=t.ids["RouteQueriesRole"],
        PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess",
    )


def second_policy(t: Target) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    t.client("iam").put_role_policy(
        RoleName=t.ids["PromoteModelRole"],
        PolicyName="extra",
        PolicyDocument=json.dumps(document),
    )


def unguarded_bucket(t: Target) -> None:
    t.client("s3").delete_public_access_block(Bucket=t.ids["DataBucket"])


def bucket_without_events(t: Target) -> None:
    t.client("s3").put_bucket_notification_configuration(
        Bucket=t.ids["UploadBucket"], NotificationConfiguration={}
    )


def bucket_without_versions(t: Target) -> None:
    t.client("s3").put_bucket_versioning(
        Bucket=t.ids["UploadBucket"], VersioningConfiguration={"Status": "Suspended"}
    )


def endless_uploads(t: Target) -> None:
    t.client("s3").delete_bucket_lifecycle(Bucket=t.ids["DataBucket"])


def plain_http(t: Target) -> None:
    t.client("s3").delete_bucket_policy(Bucket=t.ids["DataBucket"])


def endless_logs(t: Target) -> None:
    t.client("logs").delete_retention_policy(logGroupName=t.ids["RouteApiLogGroup"])


def lost_permission(t: Target) -> None:
    t.client("lambda").remove_permission(
        FunctionName=t.ids["FinishQueryLogFunction"],
        StatementId=t.ids["FinishQueryLogFunctionPartsCompletePermission"],
    )


def open_url(t: Target) -> None:
    t.client("lambda").update_function_url_config(
        FunctionName=t.ids["RouteApiFunction"], AuthType="NONE"
    )


def immortal_answers(t: Target) -> None:
    t.client("dynamodb").update_time_to_live(
        TableName=t.ids["CacheTable"],
        TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at"},
    )


def no_backups(t: Target) -> None:
    t.client("dynamodb").update_continuous_backups(
        TableName=t.ids["StateTable"],
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
    )


def silent_alarm(t: Target) -> None:
    t.client("cloudwatch").disable_alarm_actions(
        AlarmNames=[t.ids["SplitDeadLetterQueueDepthAlarm"]]
    )


def deaf_alarm(t: Target) -> None:
    cloudwatch, name = t.client("cloudwatch"), t.ids["SplitQueueAgeAlarm"]
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    accepted = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    settings = {key: value for key, value in alarm.items() if key in accepted}
    cloudwatch.put_metric_alarm(**settings | {"Threshold": 1e9})


def empty_dashboard(t: Target) -> None:
    t.client("cloudwatch").put_dashboard(
        DashboardName=t.ids["Dashboard"], DashboardBody='{"widgets": []}'
    )


def open_topic(t: Target) -> None:
    sns, topic = t.client("sns"), t.ids["NotificationTopic"]
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    for statement in policy["Statement"]:
        if statement["Sid"] == "TakeAlarms":
            statement["Principal"] = "*"
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy)
    )


def nobody_told(t: Target) -> None:
    t.client("sns").unsubscribe(SubscriptionArn=t.ids["AlarmEmailSubscription"])


def somebody_elses_rule(t: Target) -> None:
    t.client("events").put_rule(Name="stranger", EventPattern='{"source": ["search-router"]}')


# The beginning of the sentence that must name it.
PLANTED: Mapping[Callable[[Target], None], str] = {
    renamed_handler: "ShardPromptsFunction Handler: the template says "
    '"app.lambda_handler", deployed is "main.handler"',
    changed_timeout: "StartDistillationFunction Timeout: the template says 120, deployed is 3",
    changed_memory: "PromoteModelFunction MemorySize: the template says 512, deployed is 128",
    another_role: "FinishQueryLogFunction Role: ",
    lost_variable: "EvaluateModelFunction Environment Variables MODALITIES: the template says "
    '"visual,audio,transcription,metadata", deployed is nothing',
    lost_layer: "TrackRunsFunction Layers: ",
    other_code: "SplitQueryLogFunction Code: ",
    lost_prefix_filter: "ShardPromptsFunctionPromptsUploaded EventPattern detail object: the "
    'template says {"key": [{"prefix": "prompts/"}]}, deployed is nothing',
    renamed_detail_type: "StartDistillationFunctionPromptsSharded EventPattern detail-type: the "
    'template says ["PromptsSharded"], deployed is ["PromptsAreSharded"]',
    changed_schedule: "TrackRunsFunctionTick ScheduleExpression: the template says "
    '"rate(5 minutes)", deployed is "rate(1 hour)"',
    disabled_rule: "DeployModelFunctionJobEnded State: the template says nothing",
    target_without_dead_letters: "EvaluateModelFunctionModelDeployed Targets "
    "EvaluateModelFunctionModelDeployedLambdaTarget DeadLetterConfig: ",
    changed_batch_size: "RouteQueriesFunctionSplit BatchSize: the template says 1, deployed is 10",
    lost_partial_batches: "RouteQueriesFunctionSplit FunctionResponseTypes: ",
    changed_visibility: "SplitQueue VisibilityTimeout: the template says 5400",
    dropped_dead_letters: "SplitQueue RedrivePolicy: ",
    dropped_on_failure: "DeployModelFunctionEventInvokeConfig DestinationConfig: ",
    widened_action: "RouteApiRole Policies route-api PolicyDocument Statement KeepState Action: "
    'the template says "dynamodb:GetItem", deployed is "dynamodb:*"',
    widened_resource: "ShardPromptsRole Policies shard-prompts PolicyDocument Statement "
    "ReadPrompts Resource: ",
    lost_condition: "StartDistillationRole Policies start-distillation PolicyDocument Statement "
    "LendDistillationRole Condition: ",
    managed_policy: "RouteQueriesRole ManagedPolicyArns: the template says nothing",
    second_policy: "PromoteModelRole Policies extra: the template says nothing",
    unguarded_bucket: "DataBucket PublicAccessBlockConfiguration: ",
    bucket_without_events: "UploadBucket NotificationConfiguration: ",
    bucket_without_versions: "UploadBucket VersioningConfiguration Status: ",
    endless_uploads: "DataBucket LifecycleConfiguration: ",
    plain_http: "DataBucketPolicy: not there any more",
    endless_logs: "RouteApiLogGroup RetentionInDays: the template says ",
    lost_permission: "FinishQueryLogFunctionPartsCompletePermission: not there any more",
    open_url: 'RouteApiFunctionUrl AuthType: the template says "AWS_IAM", deployed is "NONE"',
    immortal_answers: "CacheTable TimeToLiveSpecification: ",
    no_backups: "StateTable PointInTimeRecoverySpecification: ",
    silent_alarm: "SplitDeadLetterQueueDepthAlarm ActionsEnabled: ",
    deaf_alarm: "SplitQueueAgeAlarm Threshold: ",
    empty_dashboard: "Dashboard DashboardBody widgets: ",
    open_topic: "NotificationTopicPolicy PolicyDocument Statement TakeAlarms Principal: ",
    nobody_told: "AlarmEmailSubscription: not there any more",
    somebody_elses_rule: "stranger: a AWS::Events::Rule that is not in the template",
}


@pytest.fixture(scope="module")
def planted(target: Target, fresh: list[str]) -> list[str]:
    """What the guard finds when everything is planted."""
    for plant in PLANTED:
        plant(target)
    return target.drift()


def test_what_is_deployed_is_what_the_template_says(fresh: list[str]) -> None:
    assert fresh == []


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_difference_is_named(plant: Callable[[Target], None], planted: list[str]) -> None:
    found = [finding for finding in planted if finding.startswith(PLANTED[plant])]
    assert len(found) == 1


def test_nothing_else_is_found(planted: list[str]) -> None:
    named = tuple(PLANTED.values())
    assert [finding for finding in planted if not finding.startswith(named)] == []


# ---------------------------------------------------------------------------------------
# Written into the template, and not deployed
# ---------------------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any]], None]) -> SamTemplate:
    document = json.loads(json.dumps(TEMPLATE.document, default=str))
    change(document["Resources"])
    return dataclasses.replace(TEMPLATE, document=document)


NOT_COMPARED = "neither compared nor on the list of what is not emulated"


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        pytest.param(
            lambda r: r.update({"Archive": {"Type": "AWS::Events::Archive", "Properties": {}}}),
            f"Archive: AWS::Events::Archive is {NOT_COMPARED}",
            id="unknown type",
        ),
        pytest.param(
            lambda r: r["SplitQueue"]["Properties"].update({"RedriveAllowPolicy": {"a": "b"}}),
            f"SplitQueue RedriveAllowPolicy: {NOT_COMPARED}",
            id="unknown property",
        ),
        pytest.param(
            lambda r: r["CacheTable"].update({"CreationPolicy": {}}),
            f"CacheTable CreationPolicy: {NOT_COMPARED}",
            id="unknown attribute",
        ),
        pytest.param(
            lambda r: r.update({"SpareQueue": {"Type": "AWS::SQS::Queue"}}),
            "SpareQueue: not deployed",
            id="missing resource",
        ),
        pytest.param(
            lambda r: r.pop("SplitQueuePolicy"),
            "SplitQueuePolicy: deployed, but not in the template",
            id="resource too many",
        ),
    ],
)
def test_what_is_not_deployed_or_not_compared_is_named(
    change: Callable[[dict[str, Any]], None], finding: str, target: Target, planted: list[str]
) -> None:
    assert sorted(set(target.drift(changed(change))) - set(planted)) == [finding]


def test_another_value_of_a_parameter_is_found_wherever_it_is_used(
    target: Target, planted: list[str]
) -> None:
    found = set(target.drift(parameters=target.stack.parameters | {"RouteConcurrency": "7"}))

    assert (
        "RouteQueriesFunctionSplit ScalingConfig MaximumConcurrency: the template says "
        '"7", deployed is 2' in found
    )
    variables = [f for f in found - set(planted) if "Variables ROUTE_CONCURRENCY" in f]
    assert len(variables) == len(TEMPLATE.code_folders("AWS::Serverless::Function"))
