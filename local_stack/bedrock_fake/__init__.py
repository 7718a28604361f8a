"""A fake Amazon Bedrock on loopback, for the local stack and for tests.

boto3 clients reach it through `AWS_ENDPOINT_URL_BEDROCK` and `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`.
Requests and replies are validated against botocore's service models. The quality, latency and cost
of its models are not those of AWS.

To add an operation, write a method that takes the parameters and returns the reply, and list it in
`app.py`. Its route, validation and error codes come from botocore.
"""

from local_stack.bedrock_fake.app import FakeBedrock
from local_stack.bedrock_fake.aws import StateChangeEvent
from local_stack.bedrock_fake.clock import SystemClock, VirtualClock
from local_stack.bedrock_fake.settings import FakeSettings

__all__ = ["FakeBedrock", "FakeSettings", "StateChangeEvent", "SystemClock", "VirtualClock"]
