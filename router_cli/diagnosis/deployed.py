"""Checks of a deployed stack."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from router_cli.diagnosis.findings import Check, Finding, Status, Subject
from search_router.adapters.bedrock import BedrockDeployments
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.domain.errors import NotFoundError
from search_router.domain.naming import foundation_model_id

_FUNCTION_NAME = "FunctionName"
_SHOWN = 3  # names of alarms
_PENDING = "PendingConfirmation"
_BEDROCK = "arn:aws:bedrock:{region}:{account}:"
_MODEL = "arn:aws:bedrock:{region}::foundation-model/"
_STATE = "arn:aws:dynamodb:{region}:{account}:table/{StateTableName}"
_CACHE = "arn:aws:dynamodb:{region}:{account}:table/{CacheTableName}"
_INVOCATION = (
    ("bedrock:InvokeModel", _BEDROCK + "custom-model-deployment/doctor"),
    ("bedrock:GetCustomModel", _BEDROCK + "custom-model/doctor"),
    ("dynamodb:GetItem", _STATE),
    ("dynamodb:BatchGetItem", _CACHE),
)
# What each function calls on its main path; names in braces are outputs of the stack.
_CALLS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ShardPrompts": (
        ("s3:GetObject", "arn:aws:s3:::{UploadBucketName}/prompts/doctor"),
        ("s3:PutObject", "arn:aws:s3:::{DataBucketName}/runs/doctor"),
    ),
    "StartDistillation": (("bedrock:CreateModelCustomizationJob", _MODEL + "{student}"),),
    "DeployModel": (("bedrock:CreateCustomModelDeployment", _BEDROCK + "custom-model/doctor"),),
    "TrackRuns": (
        ("bedrock:GetCustomModelDeployment", _BEDROCK + "custom-model-deployment/doctor"),
    ),
    "EvaluateModel": (*_INVOCATION[:3], ("bedrock:InvokeModel", _MODEL + "{base}")),
    "PromoteModel": (
        ("bedrock:DeleteCustomModelDeployment", _BEDROCK + "custom-model-deployment/doctor"),
    ),
    "SplitQueryLog": (("s3:GetObject", "arn:aws:s3:::{UploadBucketName}/query-logs/doctor"),),
    "RouteQueries": (
        *_INVOCATION,
        ("s3:PutObject", "arn:aws:s3:::{DataBucketName}/logs/doctor"),
    ),
    "RouteApi": _INVOCATION,
}


def upload_events(subject: Subject) -> Iterator[Finding]:
    """S3 sends the events of uploads to EventBridge."""
    bucket = subject.outputs["UploadBucketName"]
    found = subject.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    if "EventBridgeConfiguration" in found:
        yield Finding("upload events", Status.OK, f"{bucket} sends them to EventBridge")
    else:
        detail, remedy = f"{bucket} sends none", "Deploy again: it sends them to EventBridge."
        yield Finding("upload events", Status.BLOCKER, detail, remedy)


def rules(subject: Subject) -> Iterator[Finding]:
    """Every rule that starts a function is enabled."""
    events, functions = subject.client("events"), subject.client("lambda")
    disabled, found = [], 0
    for name in _functions(subject).values():
        arn = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
        for rule in events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]:
            found += 1
            if events.describe_rule(Name=rule)["State"] == "DISABLED":
                disabled.append(rule)
    if disabled:
        remedy = "Enable them in the EventBridge console."
        yield Finding("event rules", Status.BLOCKER, f"disabled: {', '.join(disabled)}", remedy)
    else:
        yield Finding("event rules", Status.OK, f"{found} enabled")


def worker(subject: Subject) -> Iterator[Finding]:
    """The queue of splits starts the worker."""
    name = subject.outputs["RouteQueriesFunctionName"]
    found = subject.client("lambda").list_event_source_mappings(FunctionName=name)
    states = [mapping["State"] for mapping in found["EventSourceMappings"]]
    is_enabled = "Enabled" in states
    detail = f"its queue is {', '.join(states) or 'not connected'}"
    remedy = "" if is_enabled else f"Enable the trigger of {name} in the Lambda console."
    yield Finding("worker", Status.OK if is_enabled else Status.BLOCKER, detail, remedy)


def permissions(subject: Subject) -> Iterator[Finding]:
    """Roles allow the calls of the main path, with boundary and organization policies."""
    account = subject.client("sts").get_caller_identity()["Account"]
    student = subject.parameters["StudentModelId"]
    values = {
        **subject.outputs,
        "region": subject.region,
        "account": account,
        "student": student,
        "base": foundation_model_id(student),
    }
    iam, functions = subject.client("iam"), subject.client("lambda")
    denied, asked = [], 0
    for function, calls in _CALLS.items():
        name = subject.outputs[f"{function}{_FUNCTION_NAME}"]
        role = functions.get_function_configuration(FunctionName=name)["Role"]
        by_resource = defaultdict(list)
        for action, resource in calls:
            by_resource[resource.format(**values)].append(action)
        for resource, actions in by_resource.items():
            reply = iam.simulate_principal_policy(
                PolicySourceArn=role, ActionNames=actions, ResourceArns=[resource]
            )
            asked += len(actions)
            denied += [
                f"{function}: {result['EvalActionName']} ({result['EvalDecision']})"
                for result in reply["EvaluationResults"]
                if result["EvalDecision"] != "allowed"
            ]
    if denied:
        remedy = "Check the permissions boundary and the organization's policies, or deploy again."
        yield Finding("permissions", Status.BLOCKER, "; ".join(denied), remedy)
    else:
        yield Finding("permissions", Status.OK, f"{asked} calls of {len(_CALLS)} roles allowed")


def subscriptions(subject: Subject) -> Iterator[Finding]:
    """The alarm topic has a subscription, and all subscriptions are confirmed."""
    topic = subject.outputs["AlarmTopicArn"]
    found = list(
        subject.pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
    )
    pending = [one["Endpoint"] for one in found if one["SubscriptionArn"] == _PENDING]
    name = "alarm subscriptions"
    if pending:
        remedy = "Follow the link in AWS's mail, or subscribe again."
        yield Finding(name, Status.WARNING, f"not confirmed: {', '.join(pending)}", remedy)
    elif not found:
        remedy = "Set AlarmEmail, or subscribe to the output AlarmTopicArn."
        yield Finding(name, Status.WARNING, "no subscriber", remedy)
    else:
        yield Finding(name, Status.OK, f"{len(found)} confirmed")


def alarms(subject: Subject) -> Iterator[Finding]:
    """No alarm of the stack is on, and each has a state."""
    found = list(
        subject.pages(
            "cloudwatch",
            "describe_alarms",
            "MetricAlarms",
            AlarmNamePrefix=f"{subject.stack_name}-",
        )
    )
    by_state = defaultdict(list)
    for alarm in found:
        by_state[alarm["StateValue"]].append(alarm["AlarmName"])
    for state, remedy in (
        ("ALARM", "See the runbook in docs/operations.md."),
        ("INSUFFICIENT_DATA", "Wait some minutes. If it stays, look at the alarm's metric."),
    ):
        if names := by_state[state]:
            shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
            detail = f"{len(names)} of {len(found)} {state}: {shown}"
            yield Finding("alarms", Status.WARNING, detail, remedy)
    if not found:
        yield Finding("alarms", Status.WARNING, "none", "Deploy again: the stack has alarms.")
    elif len(by_state["OK"]) == len(found):
        yield Finding("alarms", Status.OK, f"{len(found)} quiet")


def dead_letters(subject: Subject) -> Iterator[Finding]:
    """No message failed every attempt."""
    sqs, attribute = subject.client("sqs"), "ApproximateNumberOfMessages"
    for queue in ("SplitDeadLetterQueue", "EventDeadLetterQueue"):
        url = subject.outputs[f"{queue}Url"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"]
        count = int(found[attribute])
        remedy = "search-router redrive explains each message." if count else ""
        status = Status.WARNING if count else Status.OK
        yield Finding(queue, status, f"{count} messages", remedy)


def champion(subject: Subject) -> Iterator[Finding]:
    """The champion's deployment is active."""
    dynamodb, table = subject.client("dynamodb"), subject.outputs["StateTableName"]
    current = DynamoChampionRepository(dynamodb, table).current()
    if current is None:
        yield Finding("champion", Status.OK, "none yet; upload prompts to train one")
        return
    arn = current.serving.model_id
    try:
        status = BedrockDeployments(subject.client("bedrock")).deployment(arn).status
    except NotFoundError:
        status = "deleted"
    is_active = status == "Active"
    remedy = "" if is_active else "Roll back, or upload the champion's prompts again."
    detail = f"version {current.version} is {status}"
    yield Finding("champion", Status.OK if is_active else Status.BLOCKER, detail, remedy)


DEPLOYED: Mapping[str, Check] = {
    "upload events": upload_events,
    "event rules": rules,
    "worker": worker,
    "permissions": permissions,
    "alarm subscriptions": subscriptions,
    "alarms": alarms,
    "dead letters": dead_letters,
    "champion": champion,
}


def _functions(subject: Subject) -> dict[str, str]:
    return {
        output.removesuffix(_FUNCTION_NAME): name
        for output, name in subject.outputs.items()
        if output.endswith(_FUNCTION_NAME)
    }
