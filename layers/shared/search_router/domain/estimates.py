"""What a distillation job and its model will roughly cost, said before anything is paid.

Tokens are estimated at four bytes of English each. Training is priced at Nova Micro's customization
rate, about $0.001 per 1,000 tokens, and a custom model's storage at about $1.95 a month (Bedrock
pricing page, from memory in 2026-11; check it before you rely on it). Bedrock may add prompts of
its own, up to 15,000 in all; that is not in the estimate.
"""

import json

from pydantic import BaseModel, ConfigDict

from search_router.domain.intake import Selection
from search_router.domain.prices import cost_usd
from search_router.domain.weights import REASONING_KEY

BYTES_PER_TOKEN = 4
TRAINING_USD_PER_TOKEN = 0.001 / 1_000
MODEL_STORAGE_USD_PER_MONTH = 1.95
TEACHER_PROMPT_TOKENS = 50  # Bedrock sends the teacher our short prompt, not a detailed one
TYPICAL_REASONING_BYTES = 170  # the seed's labels
MILLION = 1_000_000


class CostEstimate(BaseModel):
    """US dollars; serving is per million queries that the model has to answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    training_tokens: int
    training_usd: float
    teacher_usd: float
    storage_usd_per_month: float
    serving_usd_per_million_with_reasoning: float
    serving_usd_per_million_without_reasoning: float


def estimate_costs(selection: Selection, teacher: str, student: str) -> CostEstimate:
    """Estimate a job on this selection, and the serving of its model."""
    unlabelled = selection.balance()["unlabelled"]
    prompt = len(selection.system_prompt.encode("utf-8")) + selection.mean_query_bytes
    label = len(json.dumps(dict.fromkeys(selection.modalities, 0.25)))
    reasoning = (selection.mean_reasoning_bytes or TYPICAL_REASONING_BYTES) + len(REASONING_KEY) + 8
    kept = selection.rules.keep_reasoning
    trained = label + (selection.mean_reasoning_bytes if kept else 0)
    asked_for = _tokens(label + (reasoning if kept else 0))
    tokens = round(len(selection.training) * (prompt + trained) / BYTES_PER_TOKEN)
    asked = _tokens(prompt) + TEACHER_PROMPT_TOKENS
    return CostEstimate(
        training_tokens=tokens,
        training_usd=round(tokens * TRAINING_USD_PER_TOKEN, 4),
        teacher_usd=round(unlabelled * cost_usd(teacher, asked, asked_for), 4),
        storage_usd_per_month=MODEL_STORAGE_USD_PER_MONTH,
        serving_usd_per_million_with_reasoning=round(
            MILLION * cost_usd(student, _tokens(prompt), _tokens(label + reasoning)), 2
        ),
        serving_usd_per_million_without_reasoning=round(
            MILLION * cost_usd(student, _tokens(prompt), _tokens(label)), 2
        ),
    )


def _tokens(size: float) -> int:
    return round(size / BYTES_PER_TOKEN)
