"""Logger, Tracer and Metrics, made once.

The Tracer stays behind this module: the X-Ray SDK under it loses support in February 2027 and
Powertools is to move to OpenTelemetry, so one module must be all that changes. Nobody but `measure`
adds a metric, so that what is emitted is what `measurements.Metric` lists.
"""

import warnings
from collections.abc import Iterable

from aws_lambda_powertools import Logger, Metrics, Tracer, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from search_router.measurements import Measurement

__all__ = ["logger", "measure", "metrics", "tracer"]

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()

# An event that is ignored, and a function that crashes, have nothing to count.
warnings.filterwarnings("ignore", message="No application metrics to publish")


def measure(measurements: Iterable[Measurement]) -> None:
    """Emit measurements in CloudWatch's embedded metric format, with the function's log.

    Those without a dimension of their own go into one line when the invocation ends, several values
    of a metric as an array; each of the others is a line at once.
    """
    for metric, value, place in measurements:
        if metric.dimension is None:
            metrics.add_metric(metric.label, metric.unit.value, value)
        else:
            with single_metric(metric.label, MetricUnit(metric.unit.value), value) as single:
                single.add_dimension(metric.dimension, place)
