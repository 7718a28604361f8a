"""Checks of the account, which need no stack: `doctor --before-deploy`."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.diagnosis.findings import Check, Finding, Status, Subject
from search_router.adapters.bedrock import BedrockFoundationModels
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.lifecycle.distillation import check_lifecycle, check_pair
from search_router.domain.naming import foundation_model_id

DISTILLATION_REGION = "us-east-1"  # of Amazon Nova; user guide, "model-distillation"
DEPLOYMENTS_PER_ACCOUNT = 10
UNRESERVED_EXECUTIONS = 100  # that Lambda keeps from reservations
_BROKEN = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")


class _Model(NamedTuple):
    """A model that the stack uses; the main job fails without a required one."""

    role: str
    model_id: str
    required: bool

    @property
    def severity(self) -> Status:
        return Status.BLOCKER if self.required else Status.WARNING


def credentials(subject: Subject) -> Iterator[Finding]:
    """Name the account that the credentials belong to."""
    try:
        caller = subject.client("sts").get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        remedy = "Sign in, or choose another --profile."
        yield Finding("credentials", Status.BLOCKER, str(error), remedy)
        return
    detail = f"account {caller['Account']}, region {subject.region}, as {caller['Arn']}"
    yield Finding("credentials", Status.OK, detail)


def region(subject: Subject) -> Iterator[Finding]:
    """Amazon Nova is distilled in one region."""
    is_right = subject.region == DISTILLATION_REGION
    status = Status.OK if is_right else Status.BLOCKER
    detail = f"{subject.region}; Amazon Nova is distilled in {DISTILLATION_REGION} only"
    yield Finding("region", status, detail, "" if is_right else f"Use {DISTILLATION_REGION}.")


def pair(subject: Subject) -> Iterator[Finding]:
    """Bedrock distils this student from this teacher."""
    teacher = subject.parameters["TeacherModelId"]
    student = subject.parameters["StudentModelId"]
    try:
        check_pair(teacher, student)
    except InvalidInputError as error:
        detail, _, remedy = str(error).partition(". ")
        yield Finding("teacher and student", Status.BLOCKER, detail, remedy)
    else:
        yield Finding("teacher and student", Status.OK, f"{teacher} teaches {student}")


def lifecycles(subject: Subject) -> Iterator[Finding]:
    """No model is retired, legacy or unknown."""
    models = BedrockFoundationModels(subject.client("bedrock"))
    for model in _models(subject):
        name = f"{model.role} lifecycle"
        try:
            found = models.lifecycle(model.model_id)
            check_lifecycle(found, subject.now)
        except NotFoundError:
            detail = f"no such model in {subject.region}: {model.model_id}"
            yield Finding(name, model.severity, detail, f"Set another {_parameter(model)}.")
        except InvalidInputError as error:
            yield Finding(name, model.severity, str(error), f"Set another {_parameter(model)}.")
        else:
            yield Finding(name, Status.OK, f"{model.model_id} is {found.status}")


def access(subject: Subject) -> Iterator[Finding]:
    """The account may use every model: agreement, authorization, entitlement."""
    bedrock = subject.client("bedrock")
    for model in _models(subject):
        model_id = foundation_model_id(model.model_id)
        found = bedrock.get_foundation_model_availability(modelId=model_id)
        states = {
            "agreement": found["agreementAvailability"]["status"] == "AVAILABLE",
            "authorization": found["authorizationStatus"] == "AUTHORIZED",
            "entitlement": found["entitlementAvailability"] == "AVAILABLE",
            "region": found["regionAvailability"] == "AVAILABLE",
        }
        missing = ", ".join(name for name, is_there in states.items() if not is_there)
        if missing:
            yield Finding(
                f"{model.role} access",
                model.severity,
                f"{model_id}: no {missing}",
                "Request the model in the Bedrock console, fill in its form, call it once.",
            )
        else:
            yield Finding(f"{model.role} access", Status.OK, f"{model_id} can be used")


def quotas(subject: Subject) -> Iterator[Finding]:
    """Bedrock's requests per minute cover what the stack sends."""
    found = {
        quota["QuotaName"].lower(): quota["Value"]
        for quota in subject.pages(
            "service-quotas", "list_service_quotas", "Quotas", ServiceCode="bedrock"
        )
    }
    every_minute = subject.number("RequestsPerMinute")
    evaluation = every_minute * (1 - subject.number("BatchQuotaShare")) / 2
    for role, parameter, wanted in (
        ("student", "StudentModelId", every_minute),
        ("teacher", "TeacherModelId", evaluation),
    ):
        model = _spoken(subject.parameters[parameter])
        names = [name for name in found if "requests per minute" in name and name.endswith(model)]
        if not names:
            detail = f"no quota of {model} found"
            yield Finding(f"{role} quota", Status.UNKNOWN, detail, "Look at Service Quotas.")
            continue
        name = min(names, key=lambda name: found[name])
        detail = f"{found[name]:,.0f} a minute ({name}); {wanted:,.0f} are used"
        is_enough = found[name] >= wanted
        remedy = f"Set RequestsPerMinute={found[name]:.0f}, or request a higher quota."
        status = Status.OK if is_enough else Status.WARNING
        yield Finding(f"{role} quota", status, detail, "" if is_enough else remedy)


def deployments(subject: Subject) -> Iterator[Finding]:
    """The account has room for another deployment."""
    used = sum(
        1
        for _ in subject.pages(
            "bedrock", "list_custom_model_deployments", "modelDeploymentSummaries"
        )
    )
    detail = f"{used} of {DEPLOYMENTS_PER_ACCOUNT} used"
    if used < DEPLOYMENTS_PER_ACCOUNT:
        yield Finding("custom model deployments", Status.OK, detail)
    else:
        remedy = "Delete a deployment that no stack uses, or request a higher quota."
        yield Finding("custom model deployments", Status.WARNING, detail, remedy)


def concurrency(subject: Subject) -> Iterator[Finding]:
    """Lambda can reserve what the API asks for."""
    limit = subject.client("lambda").get_account_settings()["AccountLimit"]
    total, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    wanted = 0 if subject.outputs else int(subject.parameters["RouteApiConcurrency"])
    detail = f"{unreserved:,} of {total:,} executions unreserved"
    name = "Lambda concurrency"
    if wanted and unreserved - wanted < UNRESERVED_EXECUTIONS:
        remedy = "Set RouteApiConcurrency=0, or request a higher Lambda quota."
        reason = f"{detail}; RouteApiConcurrency={wanted} must leave {UNRESERVED_EXECUTIONS}"
        may_be_ours = total - unreserved >= wanted  # the deployed stack has reserved it already
        yield Finding(name, Status.WARNING if may_be_ours else Status.BLOCKER, reason, remedy)
    elif total < UNRESERVED_EXECUTIONS:
        yield Finding(name, Status.WARNING, detail, "Request a higher Lambda quota.")
    else:
        yield Finding(name, Status.OK, detail)


def stack_state(subject: Subject) -> Iterator[Finding]:
    """CloudFormation can create or update the stack."""
    name = subject.stack_name
    try:
        (stack,) = subject.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        yield Finding("stack", Status.OK, f"{name} does not exist yet")
        return
    state = stack["StackStatus"]
    detail = f"{name} is {state}"
    if state in _BROKEN:
        remedy = f"Delete it: search-router cleanup --yes {name}."
        yield Finding("stack", Status.BLOCKER, detail, remedy)
    elif state.endswith("_IN_PROGRESS"):
        yield Finding("stack", Status.BLOCKER, detail, "Wait until it has ended.")
    elif state.endswith("_FAILED"):
        remedy = "Continue the rollback in the CloudFormation console."
        yield Finding("stack", Status.BLOCKER, detail, remedy)
    else:
        yield Finding("stack", Status.OK, detail)


BEFORE_DEPLOY: Mapping[str, Check] = {
    "credentials": credentials,
    "region": region,
    "teacher and student": pair,
    "model lifecycles": lifecycles,
    "model access": access,
    "Bedrock quotas": quotas,
    "custom model deployments": deployments,
    "Lambda concurrency": concurrency,
    "stack": stack_state,
}


def _models(subject: Subject) -> list[_Model]:
    parameters = subject.parameters
    models = [
        _Model(role, parameters[f"{role.capitalize()}ModelId"], required)
        for role, required in (
            ("teacher", True),
            ("student", True),
            ("baseline", False),
            ("judge", False),
        )
    ]
    return [model for model in models if model.model_id]


def _parameter(model: _Model) -> str:
    return f"{model.role.capitalize()}ModelId"


def _spoken(model_id: str) -> str:
    """Return a model's name as quotas have it: "amazon.nova-micro-v1:0:128k" → "nova micro"."""
    name = foundation_model_id(model_id).partition(".")[2].partition(":")[0]
    return name.rpartition("-v")[0].replace("-", " ")
