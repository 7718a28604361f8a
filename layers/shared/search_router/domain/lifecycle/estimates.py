"""Cost estimates of a distillation job and of its model.

A token is taken as four bytes of English. The prices of training and storage are unconfirmed (see
`prices.toml`). The estimate excludes the prompts that Bedrock may add, up to 15,000 in all, and the
judge, whose tokens Bedrock does not report.
"""

import json

from search_router.domain.intake.selection import Selection
from search_router.domain.lifecycle.teacher import teacher_prompt
from search_router.domain.prices import cost_usd, price_list
from search_router.domain.records import Record
from search_router.domain.weights import REASONING_KEY

BYTES_PER_TOKEN = 4
TEACHER_PROMPT_TOKENS = 50  # Bedrock sends the teacher our short prompt, not a detailed one
TYPICAL_REASONING_BYTES = 170  # the mean of the reference post's labels
MODELS_EVALUATED = 2  # candidate and base student; a champion or baseline comes on top
MILLION = 1_000_000


class CostEstimate(Record):
    """US dollars; serving is per million queries that the model answers.

    `evaluation_usd` covers the candidate and the base student on the whole holdout, `reference_usd`
    the teacher's labels for unlabelled holdout rows.
    """

    training_tokens: int
    training_usd: float
    teacher_usd: float
    storage_usd_per_month: float
    serving_usd_per_million_with_reasoning: float
    serving_usd_per_million_without_reasoning: float
    reference_usd: float = 0.0
    evaluation_usd: float = 0.0

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
    )


def _tokens(size: float) -> int:
    return round(size / BYTES_PER_TOKEN)
