"""Cost estimates of a distillation job and of its model: the likely cost, and an upper bound.

The likely cost takes a token as four bytes of English and excludes the pairs that Bedrock may
synthesize. The budget uses the upper bound: one token per byte, the longest answers, all 15,000
pairs and five epochs. The prices of training and storage are unconfirmed (see `prices.toml`).
"""

import json
from collections.abc import Collection

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.selection import Selection
from search_router.domain.intake.training_records import training_line
from search_router.domain.lifecycle.teacher import MAX_LABEL_TOKENS, teacher_prompt
from search_router.domain.prices import cost_usd, is_priced, price_list
from search_router.domain.records import Record
from search_router.domain.serving.champions import ServingModel
from search_router.domain.weights import REASONING_KEY

BYTES_PER_TOKEN = 4
TEACHER_PROMPT_TOKENS = 50  # Bedrock sends the teacher our short prompt, not a detailed one
TYPICAL_REASONING_BYTES = 170  # the mean of the reference post's labels
MODELS_EVALUATED = 2  # candidate and base student; a champion or baseline comes on top
MAX_PAIRS = 15_000  # Bedrock synthesizes up to this many (user guide, "model-distillation")
MAX_EPOCHS = 5  # the most that Nova customization accepts; training is billed per epoch
CALL_TOKENS = 200  # what a service may add to our text in one call; our own assumption
MAX_JUDGE_TOKENS = 1_000  # of one grade with its explanation; our own assumption
MILLION = 1_000_000


class CostEstimate(Record):
    """US dollars; serving is per million queries that the model answers.

    `evaluation_usd` covers the candidate and the base student on the whole holdout, `reference_usd`
    the teacher's labels for unlabelled holdout rows. The `at_most` figures are upper bounds.
    """

    training_tokens: int
    training_usd: float
    teacher_usd: float
    storage_usd_per_month: float
    serving_usd_per_million_with_reasoning: float
    serving_usd_per_million_without_reasoning: float
    reference_usd: float = 0.0
    evaluation_usd: float = 0.0
    job_at_most_usd: float = 0.0
    evaluation_at_most_usd: float = 0.0

    @property
    def total_usd(self) -> float:
        """The one-time cost of a run, without storage and serving."""
        return self.training_usd + self.teacher_usd + self.reference_usd + self.evaluation_usd


def estimate_costs(selection: Selection, teacher: str, student: str) -> CostEstimate:
    """Estimate a job on this selection, and the serving of its model."""
    unit = price_list().unit_usd
    unlabelled = selection.balance()["unlabelled"]
    prompt = len(selection.system_prompt.encode("utf-8")) + selection.mean_query_bytes
    label = len(json.dumps(dict.fromkeys(selection.modalities, 0.25)))
    reasoning = (selection.mean_reasoning_bytes or TYPICAL_REASONING_BYTES) + len(REASONING_KEY) + 8
    kept = selection.rules.keep_reasoning
    trained = label + (selection.mean_reasoning_bytes if kept else 0)
    asked_for = _tokens(label + (reasoning if kept else 0))
    tokens = round(len(selection.training) * (prompt + trained) / BYTES_PER_TOKEN)
    asked = _tokens(prompt) + TEACHER_PROMPT_TOKENS
    detailed = _tokens(
        len(teacher_prompt(selection.modalities, with_reasoning=False)) + selection.mean_query_bytes
    )
    unreferenced = sum(row.label is None for row in selection.holdout)
    answered = asked_for if selection.mean_reasoning_bytes else _tokens(label)
    return CostEstimate(
        training_tokens=tokens,
        training_usd=round(tokens * unit("customization_training") / MILLION, 4),
        teacher_usd=round(unlabelled * cost_usd(teacher, asked, asked_for), 4),
        storage_usd_per_month=unit("custom_model_storage"),
        serving_usd_per_million_with_reasoning=round(
            MILLION * cost_usd(student, _tokens(prompt), _tokens(label + reasoning)), 2
        ),
        serving_usd_per_million_without_reasoning=round(
            MILLION * cost_usd(student, _tokens(prompt), _tokens(label)), 2
        ),
        reference_usd=round(unreferenced * cost_usd(teacher, detailed, _tokens(label)), 4),
        evaluation_usd=round(
            MODELS_EVALUATED
            * len(selection.holdout)
            * cost_usd(student, _tokens(prompt), answered),
            4,
        ),
        job_at_most_usd=round(_job_at_most_usd(selection, teacher), 4),
        evaluation_at_most_usd=round(_evaluation_at_most_usd(selection, teacher, student), 4),
    )


def answers_at_most_usd(serving: ServingModel, queries: Collection[str]) -> float:
    """Return an upper bound of what a model's answers cost; raises InvalidInputError."""
    _require_price(serving.priced_as)
    texts = [len(query.encode("utf-8", "surrogatepass")) for query in queries]
    each = len(serving.system_prompt.encode("utf-8")) + CALL_TOKENS
    asked, answered = sum(texts) + len(texts) * each, len(texts) * serving.max_output_tokens
    return cost_usd(serving.priced_as, asked, answered)


def log_at_most_usd(serving: ServingModel, rows: int, size: int) -> float:
    """Return an upper bound of what routing a log of `size` bytes costs; raises InvalidInputError.

    No query repeats, none is cached, and every answer has the maximum length.
    """
    _require_price(serving.priced_as)
    each = len(serving.system_prompt.encode("utf-8")) + CALL_TOKENS
    return cost_usd(serving.priced_as, size + rows * each, rows * serving.max_output_tokens)


def judge_at_most_usd(judge: str, dataset: bytes, rubric: str) -> float:
    """Return an upper bound of what grading a dataset costs; raises InvalidInputError."""
    _require_price(judge)
    rows = dataset.count(b"\n")
    each = len(rubric.encode("utf-8")) + CALL_TOKENS
    return cost_usd(judge, len(dataset) + rows * each, rows * MAX_JUDGE_TOKENS)


def _job_at_most_usd(selection: Selection, teacher: str) -> float:
    """Return an upper bound of training, of the teacher's answers and of a month of storage."""
    schema = len(training_line("", "", selection.modalities, None, None))  # not billed
    rows = [len(row.line) - schema for row in selection.training]
    added = MAX_PAIRS - len(rows)
    text = sum(rows) + added * max(rows, default=0)
    answers = added + sum(row.label is None for row in selection.training)
    unit = price_list().unit_usd
    trained = MAX_EPOCHS * (text + answers * MAX_LABEL_TOKENS)
    return (
        trained * unit("customization_training") / MILLION
        + cost_usd(teacher, text + MAX_PAIRS * CALL_TOKENS, MAX_PAIRS * MAX_LABEL_TOKENS)
        + unit("custom_model_storage")
    )


def _evaluation_at_most_usd(selection: Selection, teacher: str, student: str) -> float:
    """Return an upper bound for the two models and the teacher, without champion and baseline."""
    rows = len(selection.holdout)
    detailed = len(teacher_prompt(selection.modalities, with_reasoning=False)) + CALL_TOKENS
    text = sum(len(row.line) for row in selection.holdout)
    unlabelled = sum(row.label is None for row in selection.holdout)
    return MODELS_EVALUATED * cost_usd(
        student, text + rows * CALL_TOKENS, rows * MAX_LABEL_TOKENS
    ) + cost_usd(
        teacher, (text + rows * detailed) if unlabelled else 0, unlabelled * MAX_LABEL_TOKENS
    )


def _require_price(model_id: str) -> None:
    if not is_priced(model_id):
        raise InvalidInputError(f"no price for {model_id}. Add it to prices.toml, then deploy.")


def _tokens(size: float) -> int:
    return round(size / BYTES_PER_TOKEN)
