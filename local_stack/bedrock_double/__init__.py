"""A loopback Bedrock: jobs that move, deployments that answer, a small student behind Converse.

Real boto3 clients reach it through `AWS_ENDPOINT_URL_BEDROCK` and
`AWS_ENDPOINT_URL_BEDROCK_RUNTIME`. Requests and replies are checked against botocore's own service
models, so what passes here has the shape that Bedrock takes. The quality, latency and cost of its
models are the double's, not AWS's.

To play one more operation: write a method that takes its parameters and returns its reply, and add
it to the `operations()` of its room. Route, checks and error codes follow from botocore.
"""

from local_stack.bedrock_double.clock import SystemClock, VirtualClock
from local_stack.bedrock_double.double import BedrockDouble
from local_stack.bedrock_double.settings import DoubleSettings
from local_stack.bedrock_double.state_change_events import StateChangeEvent

__all__ = ["BedrockDouble", "DoubleSettings", "StateChangeEvent", "SystemClock", "VirtualClock"]
