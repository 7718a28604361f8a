"""The holdout's labels: those of the uploaded file, and the teacher's for rows that have none."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.lifecycle.evaluation import References
from search_router.domain.lifecycle.runs import Run
from search_router.domain.lifecycle.teacher import MAX_LABEL_TOKENS, teacher_prompt
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import Status
from search_router.domain.weights import Weights
from search_router.ports import ObjectStore
from search_router.use_cases.answers import Answers

_TEACHER = "references"


@dataclass(frozen=True, slots=True)
class LabelledHoldout:
    """Queries with the weights that answers are measured by, and where those come from."""

    labels: dict[str, Weights]
    source: References


def labelled_holdout(run: Run, objects: ObjectStore, answers: Answers) -> LabelledHoldout:
    """Read the holdout and have the teacher label the rows without a label.

    The teacher is asked with the detailed prompt, at the evaluation's pace, and its answers are
    kept as all others. A row that it does not answer validly has no label and is left out.
    """
    rows = _rows(run, objects)
    missing = [query for query, label in rows.items() if label is None]
    labels = {query: label for query, label in rows.items() if label is not None}
    from_file = len(labels)
    if not missing:
        return LabelledHoldout(labels, References(from_file=from_file))
    replies = answers.of(_TEACHER, detailed(run.teacher, run), missing)
    usable = {q: reply.weights for q, reply in replies.items() if reply.status != Status.FALLBACK}
    known = labels | usable
    return LabelledHoldout(
        {query: known[query] for query in rows if query in known},
        References(
            from_file=from_file,
            from_teacher=len(usable),
            unusable=len(missing) - len(usable),
            teacher=run.teacher,
            cost_usd=sum(reply.cost_usd for reply in replies.values()),
        ),
    )


def detailed(model_id: str, run: Run) -> ServingModel:
    """Return how a large model is asked: with everything that a student need not be told."""
    return ServingModel(
        model_id=model_id,
        priced_as=model_id,
        system_prompt=teacher_prompt(run.modalities, with_reasoning=False),
        modalities=run.modalities,
        max_output_tokens=MAX_LABEL_TOKENS,
        prior=run.prior,
    )


def _rows(run: Run, objects: ObjectStore) -> dict[str, Weights | None]:
    data = objects.get(naming.run_key(run.run_id, "holdout.jsonl"))
    file = PromptFile("holdout.jsonl", is_packed=False, read=lambda: [data])
    return {record.query: record.weights for record in read_prompts(file, run.modalities)}
