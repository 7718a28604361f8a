"""The shared Logger, Tracer and Metrics.

Only this module imports the Tracer: its X-Ray SDK loses support in February 2027, and Powertools
plans to move to OpenTelemetry. Only `measure` adds metrics, so all of them are listed in
`measurements.Metric`.
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

# An invocation that ignores its event, or crashes, adds no metric.
warnings.filterwarnings("ignore", message="No application metrics to publish")


def measure(measurements: Iterable[Measurement]) -> None:
    """Write measurements to the log, in CloudWatch's embedded metric format.

    Metrics without a dimension of their own share one line at the end of the invocation, in which
    several values of a metric form an array. Each of the others is written at once as a line.
    """
    for metric, value, dimension in measurements:
        if metric.dimension is None:
            metrics.add_metric(metric.label, metric.unit.value, value)
        else:
            with single_metric(metric.label, MetricUnit(metric.unit.value), value) as single:
                single.add_dimension(metric.dimension, dimension)
