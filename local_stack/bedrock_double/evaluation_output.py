"""What an evaluation job leaves in S3, under keys that only a listing tells.

`<out>/<job-name>/<job-uuid>/models/<source>/taskTypes/<type>/datasets/<dataset>/
<uuid>_output.jsonl`, after AWS's model-as-a-judge notebook; the metrics' definitions lie beside.
"""

import json
import uuid
from collections.abc import Iterator, Sequence

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.evaluation_data import JudgedPrompt
from local_stack.bedrock_double.evaluation_request import Dataset, EvaluationRequest, Metric
from local_stack.bedrock_double.judge import judge
from local_stack.bedrock_double.settings import DoubleSettings


def job_folder(output_uri: str, job_name: str, job_arn: str) -> str:
    """Return the URI of the folder that a job writes into, without a slash at its end."""
    return f"{output_uri.rstrip('/')}/{job_name}/{uuid.uuid5(uuid.NAMESPACE_URL, job_arn)}"


def output_uri(folder: str, request: EvaluationRequest, dataset: Dataset) -> str:
    """Return the URI of the results of one dataset."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{folder}/{dataset.name}")
    return (
        f"{folder}/models/{request.source}/taskTypes/{dataset.task_type}"
        f"/datasets/{dataset.name}/{name}_output.jsonl"
    )


def definitions(folder: str, dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """Yield URI and content of a file for each custom metric."""
    for metric in dataset.metrics:
        if metric.instructions:
            text = json.dumps({"metricName": metric.name, "instructions": metric.instructions})
            yield f"{folder}/custom_metrics/{metric.name}.json", text.encode()


def results(prompts: Sequence[JudgedPrompt], dataset: Dataset, settings: DoubleSettings) -> bytes:
    """Return one JSON line per prompt, with the judge's scores; a seeded share has none."""
    return b"".join(_line(prompt, dataset, settings) for prompt in prompts)


def _line(prompt: JudgedPrompt, dataset: Dataset, settings: DoubleSettings) -> bytes:
    record = {
        "inputRecord": prompt.record,
        "modelResponses": prompt.record["modelResponses"],
        "automatedEvaluationResult": {
            "scores": [_score(metric, prompt, settings) for metric in dataset.metrics]
        },
    }
    return json.dumps(record, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"


def _score(metric: Metric, prompt: JudgedPrompt, settings: DoubleSettings) -> Params:
    chance = draw(settings.seed, "missing result", metric.name, prompt.prompt, prompt.response)
    if chance < settings.missing_result_rate:
        return {"metricName": metric.name, "evaluatorDetails": []}
    verdict = judge(metric.instructions, prompt.response, prompt.reference)
    details = {"modelIdentifier": metric.judge, "explanation": verdict.explanation}
    return {
        "metricName": metric.name,
        "result": metric.value(verdict.grade),
        "evaluatorDetails": [details],
    }
