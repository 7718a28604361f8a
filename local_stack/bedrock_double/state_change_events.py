"""The one event Bedrock sends about jobs, best effort: a customization job reached its end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from local_stack.bedrock_double.contract import Params

SOURCE = "aws.bedrock"
DETAIL_TYPE = "Model Customization Job State Change"


@dataclass(frozen=True, slots=True)
class StateChangeEvent:
    """What EventBridge is told; `detail` has the fields of AWS's published sample."""

    time: datetime
    job_arn: str
    detail: Params


Publish = Callable[[StateChangeEvent], None]
