"""Logger, Tracer and Metrics, made once.

The Tracer stays behind this module: the X-Ray SDK under it loses support in February 2027 and
Powertools is to move to OpenTelemetry, so one module must be all that changes.
"""

import warnings

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

__all__ = ["MetricUnit", "logger", "metrics", "tracer"]

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()

# An event that is ignored, and a function that crashes, have nothing to count.
warnings.filterwarnings("ignore", message="No application metrics to publish")
