"""What each role allows against what its function called: needed = granted.

Calls of ministack's services come from its authorizations, those of Bedrock and S3 Vectors from the
records of the fakes. They are joined by the access key of the worker's session.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from local_stack.launcher import AUTHORIZATIONS, BEDROCK_CALLS, S3_VECTORS_CALLS
from tests.expanded_template import ACCOUNT, REGION, Resolver
from tests.policies import Request, listed, matches
from tests.records import TEACHER

_BEDROCK = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:"


@dataclass(frozen=True)
class Grant:
    """One action on one resource pattern that a role allows."""

    role: str
    sid: str
    action: str
    resource: str
    condition: str

    def covers(self, call: "Call") -> bool:
        """Return whether this grant alone would allow a call."""
        statement = {
            "Effect": "Allow",
            "Action": self.action,
            "Resource": self.resource,
            "Condition": json.loads(self.condition),
        }
        return self.role == call.role and matches(statement, call.request)


@dataclass(frozen=True)
class Call:
    """One distinct call of a function's role; `allowed` is what the emulator decided."""

    role: str
    request: Request
    allowed: bool = True

    def __str__(self) -> str:
        return f"{self.role}: {self.request.action} on {self.request.resource}"


def granted(resolver: Resolver) -> list[Grant]:
    """Return everything that the functions' roles allow, in the template's order."""
    resources = resolver.document["Resources"]
    roles = [
        resource["Properties"]["Role"]["Fn::GetAtt"][0]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    return [
        Grant(
            role,
            statement["Sid"],
            action,
            resource,
            json.dumps(statement.get("Condition", {}), sort_keys=True),
        )
        for role in roles
        for policy in resolver.resolve(resources[role]["Properties"]["Policies"])
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def calls(folder: Path, physical_ids: Mapping[str, str]) -> list[Call]:
    """Read what a stack with `record_calls` has recorded.

    Raises `LookupError` if a call of a fake has an unknown access key.
    """
    roles = {physical: logical for logical, physical in physical_ids.items()}
    made, owners = [], {}
    for entry in _lines(folder / AUTHORIZATIONS):
        role = roles[entry["principal"].split("/")[1]]
        owners[entry["access_key"]] = role
        request = Request(entry["action"], entry["resource"], entry["context"])
        made.append(Call(role, request, entry["allowed"]))
    for entry in chain(_lines(folder / BEDROCK_CALLS), _lines(folder / S3_VECTORS_CALLS)):
        if entry["access_key"] == "test" or entry["access_key"].startswith("AKIA"):
            continue  # the deployment, and the test itself
        role = owners[entry["access_key"]]
        requests = _REQUESTS[entry["operation"]](entry["parameters"])
        made += [Call(role, request) for request in requests]
    return made


def unused(grants: Iterable[Grant], made: Iterable[Call]) -> list[Grant]:
    """Return the grants that no call needed."""
    made = list(made)
    return [grant for grant in grants if not any(grant.covers(call) for call in made)]


def missing(grants: Iterable[Grant], made: Iterable[Call]) -> list[Call]:
    """Return the calls that were denied or that no grant covers."""
    grants = list(grants)
    return [
        call for call in made if not call.allowed or not any(grant.covers(call) for grant in grants)
    ]


def table(
    grants: Iterable[Grant], made: Iterable[Call], reason: Callable[[Grant], str | None]
) -> list[tuple[str, str, str, str]]:
    """Return rows of role, action, resource, and the number of calls or why there was none."""
    made = list(made)
    rows = []
    for grant in grants:
        count = sum(grant.covers(call) for call in made)
        use = f"{count} distinct calls" if count else reason(grant) or "UNUSED"
        rows.append((grant.role, grant.action, grant.resource, use))
    return rows


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():  # it is created by the first call
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


# --- What IAM asks about each operation of Bedrock and S3 Vectors ---------------------------------


def _arn(kind: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    owner = f"arn:aws:bedrock:{REGION}::" if kind == "foundation-model" else _BEDROCK
    return f"{owner}{kind}/{name}"


def _on(action: str, parameter: str, kind: str) -> Callable[[Mapping[str, str]], list[Request]]:
    return lambda given: [Request(f"bedrock:{action}", _arn(kind, given[parameter]))]


def _create_job(given: Mapping[str, str]) -> list[Request]:
    job = _arn("model-customization-job", given["jobName"])
    model = _arn("custom-model", given["customModelName"])
    create, tag = "bedrock:CreateModelCustomizationJob", "bedrock:TagResource"
    passed = {"iam:PassedToService": "bedrock.amazonaws.com"}
    tagged = {"jobTags": job, "customModelTags": model}
    # AWS does not document which names of the models are authorized: all of them. The record
    # leaves the teacher out.
    student = given["baseModelIdentifier"]
    models = (student, student.rpartition(":")[0], TEACHER)
    return [
        *(Request(create, _arn("foundation-model", model)) for model in models),
        Request(create, model),
        Request(create, job),
        Request("iam:PassRole", given["roleArn"], passed),
        *(Request(tag, resource) for name, resource in tagged.items() if name in given),
    ]


def _create_deployment(given: Mapping[str, str]) -> list[Request]:
    deployment = _arn("custom-model-deployment", given["modelDeploymentName"])
    tagged = [Request("bedrock:TagResource", deployment)] if "tags" in given else []
    model = _arn("custom-model", given["modelArn"])
    actions = ("bedrock:CreateCustomModelDeployment", "bedrock:GetCustomModel")
    return [*(Request(action, model) for action in actions), *tagged]


def _invoke(given: Mapping[str, str]) -> list[Request]:
    """A deployment also needs access to its model (user guide, "inference-prereq")."""
    model = _arn("foundation-model", given["modelId"])  # deployments are named by their ARN
    requests = [Request("bedrock:InvokeModel", model)]
    if ":custom-model-deployment/" in model:
        requests.append(Request("bedrock:GetCustomModel", _arn("custom-model", "of-it")))
    return requests


def _on_index(*actions: str) -> Callable[[Mapping[str, str]], list[Request]]:
    def requests(given: Mapping[str, str]) -> list[Request]:
        bucket = f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:bucket/{given['vectorBucketName']}"
        return [
            Request(f"s3vectors:{one}", f"{bucket}/index/{given['indexName']}") for one in actions
        ]

    return requests


_DEPLOYMENT = ("customModelDeploymentIdentifier", "custom-model-deployment")
_REQUESTS: Mapping[str, Callable[[Mapping[str, str]], list[Request]]] = {
    "Converse": _invoke,
    "InvokeModel": _invoke,
    "CreateIndex": _on_index("CreateIndex"),
    "GetIndex": _on_index("GetIndex"),
    "DeleteIndex": _on_index("DeleteIndex"),
    "PutVectors": _on_index("PutVectors"),
    "DeleteVectors": _on_index("DeleteVectors"),
    # Texts, filters and returned metadata need the second permission.
    "QueryVectors": _on_index("QueryVectors", "GetVectors"),
    "CreateCustomModelDeployment": _create_deployment,
    "CreateModelCustomizationJob": _create_job,
    "DeleteCustomModelDeployment": _on("DeleteCustomModelDeployment", *_DEPLOYMENT),
    "ListCustomModelDeployments": lambda _: [Request("bedrock:ListCustomModelDeployments", "*")],
    "GetCustomModelDeployment": _on("GetCustomModelDeployment", *_DEPLOYMENT),
    "GetFoundationModel": _on("GetFoundationModel", "modelIdentifier", "foundation-model"),
    "GetModelCustomizationJob": _on(
        "GetModelCustomizationJob", "jobIdentifier", "model-customization-job"
    ),
}
