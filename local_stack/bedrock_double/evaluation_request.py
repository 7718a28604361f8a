"""What an evaluation job is asked to do, and what Bedrock refuses of it beyond the shapes.

Played is what a router needs: an LLM judge over responses that the caller brings along. Rules:
Bedrock user guide, `evaluation-judge`, `model-evaluation-custom-metrics-prompt-formats`, and the
service quotas, all as of 2026-10.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError, NotPlayedError

METRICS_PER_DATASET = 3
JUDGE_TASK = "General"
_BUILT_IN = "Builtin."
_BUILT_IN_SCALE = (0.0, 0.25, 0.5, 0.75, 1.0)
_WORDS_IN_A_DEFINITION = 5
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_VARIABLES = frozenset({"prompt", "prediction", "ground_truth"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that the judge is to grade, on a scale of ascending values."""

    name: str
    instructions: str
    scale: tuple[float, ...]
    judge: str

    def value(self, grade: int) -> float:
        """Return the value on this scale that a grade from 1 to 5 comes nearest to."""
        return self.scale[round((grade - 1) / 4 * (len(self.scale) - 1))]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of the job with the metrics asked for."""

    name: str
    uri: str
    task_type: str
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The job: whose responses are judged, on what."""

    source: str
    datasets: tuple[Dataset, ...]


def read_evaluation_request(params: Params) -> EvaluationRequest:
    """Return what is asked; `BedrockError` (ValidationException, ServiceQuotaExceededException)."""
    automated = params["evaluationConfig"].get("automated")
    if automated is None or params.get("applicationType") == "RagEvaluation":
        raise NotPlayedError("evaluation jobs other than automated ones of models")
    source = _read_source(params["inferenceConfig"])
    metrics = {metric.name: metric for metric in _read_metrics(automated)}
    built_in_judge = _judge_of(automated)
    datasets = tuple(
        _read_dataset(config, metrics, built_in_judge)
        for config in automated["datasetMetricConfigs"]
    )
    unused = metrics.keys() - {metric.name for data in datasets for metric in data.metrics}
    if unused:
        raise _invalid(f"The custom metrics {sorted(unused)} must also be listed in metricNames.")
    return EvaluationRequest(source, datasets)


def _read_source(inference: Params) -> str:
    models = inference.get("models")
    if models is None:
        raise NotPlayedError("RAG evaluation")
    if len(models) != 1:
        raise _invalid("An automated evaluation job takes exactly one model.")
    source = models[0].get("precomputedInferenceSource")
    if source is None:
        raise NotPlayedError("evaluation jobs that ask the model themselves")
    return str(source["inferenceSourceIdentifier"])


def _read_metrics(automated: Params) -> Iterator[Metric]:
    custom = automated.get("customMetricConfig")
    if custom is None:
        return
    judge = custom["evaluatorModelConfig"]["bedrockEvaluatorModels"][0]["modelIdentifier"]
    for item in custom["customMetrics"]:
        definition = item["customMetricDefinition"]
        name, instructions = definition["name"], definition["instructions"]
        variables = set(_VARIABLE.findall(instructions))
        if not variables or variables - _VARIABLES:
            raise _invalid(
                f"The instructions of the metric {name} must use the variables "
                "{{prompt}}, {{prediction}}, {{ground_truth}} and no others."
            )
        yield Metric(name, instructions, _read_scale(name, definition.get("ratingScale")), judge)


def _read_scale(name: str, scale: list[Params] | None) -> tuple[float, ...]:
    if scale is None:
        raise NotPlayedError("custom metrics without a ratingScale")
    kinds = {kind for item in scale for kind in item["value"]}
    if len(kinds) > 1:
        raise _invalid(f"The ratingScale of {name} mixes float and string values.")
    if kinds != {"floatValue"}:
        raise NotPlayedError("rating scales of strings")
    long = [item["definition"] for item in scale if _words(item["definition"]) > 5]
    if long:
        raise _invalid(
            f"The ratingScale of {name} has definitions of more than {_WORDS_IN_A_DEFINITION} "
            f"words: {long}"
        )
    return tuple(sorted(float(item["value"]["floatValue"]) for item in scale))


def _words(text: str) -> int:
    return len(text.split())


def _judge_of(automated: Params) -> str | None:
    config = automated.get("evaluatorModelConfig")
    models = config["bedrockEvaluatorModels"] if config else []
    return str(models[0]["modelIdentifier"]) if models else None


def _read_dataset(config: Params, custom: dict[str, Metric], judge: str | None) -> Dataset:
    names = config["metricNames"]
    if config["taskType"] != JUDGE_TASK:
        raise _invalid(f"The task type of an evaluation job with a judge must be {JUDGE_TASK}.")
    if len(names) > METRICS_PER_DATASET:
        raise BedrockError(
            "ServiceQuotaExceededException", f"At most {METRICS_PER_DATASET} metrics per dataset."
        )
    location = config["dataset"].get("datasetLocation")
    if location is None:
        raise NotPlayedError("built-in datasets")
    metrics = tuple(_metric(name, custom, judge) for name in names)
    return Dataset(config["dataset"]["name"], location["s3Uri"], config["taskType"], metrics)


def _metric(name: str, custom: dict[str, Metric], judge: str | None) -> Metric:
    if name in custom:
        return custom[name]
    if not name.startswith(_BUILT_IN):
        raise _invalid(f"The metric {name} is neither built in nor defined as a custom metric.")
    if judge is None:
        raise _invalid(f"The built-in metric {name} needs an evaluatorModelConfig.")
    return Metric(name, "", _BUILT_IN_SCALE, judge)


def _invalid(message: str) -> BedrockError:
    return BedrockError("ValidationException", message)
