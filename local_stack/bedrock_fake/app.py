"""The fake service: its resources and its HTTP endpoint."""

from collections.abc import Mapping

from local_stack.bedrock_fake.aws import EventBridgePublisher, EventDelivery, Publish, S3Objects
from local_stack.bedrock_fake.clock import Clock, SystemClock
from local_stack.bedrock_fake.contract import SERVICES, Operation, Params
from local_stack.bedrock_fake.converse import Conversations
from local_stack.bedrock_fake.custom_models import CustomModels, Deployments
from local_stack.bedrock_fake.customization_jobs import CustomizationJobs
from local_stack.bedrock_fake.embeddings import Embeddings
from local_stack.bedrock_fake.evaluation_jobs import EvaluationJobs
from local_stack.bedrock_fake.foundation_models import FoundationModels
from local_stack.bedrock_fake.resources import Account, ReadObject, WriteObject
from local_stack.bedrock_fake.service import FakeService
from local_stack.bedrock_fake.settings import FakeSettings
from local_stack.loopback import LoopbackClients
from local_stack.processes import CALLER


class FakeBedrock(FakeService[FakeSettings]):
    """Bedrock for one account, served on loopback inside the `with` block.

    `read_object` takes an S3 URI and returns bytes or raises LookupError; `write_object` takes a
    URI and bytes; `publish` takes each `StateChangeEvent` that `process_due` finds due. They
    default to S3 and EventBridge at the settings' `aws_endpoint`. Without one, objects cannot be
    read or written and events are dropped.
    """

    def __init__(
        self,
        settings: FakeSettings | None = None,
        *,
        clock: Clock | None = None,
        publish: Publish | None = None,
        read_object: ReadObject | None = None,
        write_object: WriteObject | None = None,
        port: int = 0,
        caller: Mapping[str, str] = CALLER,
    ) -> None:
        settings = settings or FakeSettings()
        super().__init__(settings, SERVICES, port=port)
        account = Account(self._live, clock or SystemClock())
        if settings.aws_endpoint:
            clients = LoopbackClients(settings.aws_endpoint, caller=caller)
            s3, publish = S3Objects(clients), publish or EventBridgePublisher(clients)
            read_object, write_object = read_object or s3.read, write_object or s3.write
        read_object, write_object = read_object or _no_read, write_object or _no_write
        self._delivery = EventDelivery(publish or _drop, account)
        foundation_models = FoundationModels(account)
        models = CustomModels(account)
        deployments = Deployments(account, models)
        conversations = Conversations(account, deployments, foundation_models)
        self._jobs = CustomizationJobs(account, foundation_models, models, read_object)
        self._evaluations = EvaluationJobs(account, foundation_models, read_object, write_object)
        control_plane: dict[str, Operation] = {
            "GetFoundationModel": foundation_models.get,
            "GetFoundationModelAvailability": foundation_models.availability,
            "CreateModelCustomizationJob": self._jobs.create,
            "GetModelCustomizationJob": self._jobs.get,
            "ListModelCustomizationJobs": self._jobs.list_jobs,
            "StopModelCustomizationJob": self._jobs.stop,
            "GetCustomModel": models.get,
            "ListCustomModels": models.list_models,
            "DeleteCustomModel": deployments.delete_model,
            "CreateCustomModelDeployment": deployments.create,
            "GetCustomModelDeployment": deployments.get,
            "ListCustomModelDeployments": deployments.list_deployments,
            "DeleteCustomModelDeployment": deployments.delete,
            "CreateEvaluationJob": self._evaluations.create,
            "GetEvaluationJob": self._evaluations.get,
            "ListEvaluationJobs": self._evaluations.list_jobs,
            "StopEvaluationJob": self._evaluations.stop,
            "ListTagsForResource": account.tags.list_tags,
        }
        runtime: dict[str, Operation] = {
            "Converse": conversations.converse,
            "InvokeModel": Embeddings(account, foundation_models).invoke,
        }
        self._dispatch(
            {name: self._after_due_work(operation) for name, operation in control_plane.items()}
            | runtime
        )

    def process_due(self) -> None:
        """Advance all jobs to the current time and publish the events that are due."""
        self._advance()
        self._delivery.send(self._jobs.take_events())

    def _after_due_work(self, operation: Operation) -> Operation:
        def perform(params: Params) -> Params:
            self._advance()
            return operation(params)

        return perform

    def _advance(self) -> None:
        self._jobs.advance()
        self._evaluations.advance()


def _drop(_event: object) -> None:
    """Drop an event when there is no bus."""


def _no_read(uri: str) -> bytes:
    raise LookupError(uri)


def _no_write(uri: str, _body: bytes) -> None:
    raise LookupError(uri)
