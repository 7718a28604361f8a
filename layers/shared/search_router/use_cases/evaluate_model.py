"""A model is deployed: measure it on the holdout, beside the base student and the champion."""

import json
from dataclasses import asdict

from pydantic import TypeAdapter

from search_router.domain import naming
from search_router.domain.cascade import Model, route
from search_router.domain.champions import Champion, ServingModel, serving_model
from search_router.domain.errors import NotFoundError, PermanentError, UnavailableError
from search_router.domain.evaluation import Evaluation, Scores, score
from search_router.domain.events import Ignored, ModelEvaluated
from search_router.domain.lines import split_lines
from search_router.domain.prices import foundation_model_id
from search_router.domain.prompts import MAX_RECORD_BYTES, PromptRecord, read_record
from search_router.domain.routing import Decision, normalised_query
from search_router.domain.runs import Run, RunState
from search_router.domain.weights import Weights
from search_router.ports import (
    ChampionRepository,
    Clock,
    EventPublisher,
    ObjectStore,
    RunRepository,
)
from search_router.use_cases.run_lifecycle import RunLifecycle

CANDIDATE, BASE, CHAMPION = "candidate", "base", "champion"
_References = dict[str, Weights]
_DECISION = TypeAdapter(Decision)


def evaluate_model(
    run_id: str,
    *,
    student: str,
    max_output_tokens: int,
    runs: RunRepository,
    champions: ChampionRepository,
    objects: ObjectStore,
    model: Model,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Score the run's candidate and its rivals and record the evaluation on the run.

    Answers are kept per model as soon as they are complete, so that a retry asks only what is
    missing. Raises TransientError when a model could not answer everything in time.
    """
    run = runs.get(run_id)
    if run is None:
        return Ignored("unknown run")
    if run.state is not RunState.EVALUATING:
        return Ignored(f"the run is {run.state}, not EVALUATING")
    if run.evaluation is not None:
        events.publish(ModelEvaluated(run_id=run_id))
        return run
    lifecycle = RunLifecycle(runs, events, clock)
    references = _references(run, objects)
    if not references:
        return lifecycle.reject(run, "the holdout has no labelled row")
    champion = _rival(run, champions.current())
    contenders = _contenders(run, champion, student, max_output_tokens)
    try:
        scores = {
            name: _measure(run_id, name, serving, references, objects, model)
            for name, serving in contenders.items()
        }
    except PermanentError as error:
        return lifecycle.fail(run, str(error))
    evaluation = Evaluation(
        candidate=scores[CANDIDATE],
        base=scores[BASE],
        champion=scores.get(_champion_name(champion)),
        champion_version=champion.version if champion else None,
    )
    objects.put(
        naming.run_key(run_id, "evaluation", "scores.json"),
        evaluation.model_dump_json(indent=2).encode("utf-8") + b"\n",
    )
    evaluated = lifecycle.note(run, evaluation=evaluation)
    events.publish(ModelEvaluated(run_id=run_id))
    return evaluated


def _references(run: Run, objects: ObjectStore) -> _References:
    data = objects.get(naming.run_key(run.run_id, "holdout.jsonl"))
    records = [read_record(line, run.modalities) for line in split_lines([data], MAX_RECORD_BYTES)]
    return {
        record.query: record.weights
        for record in records
        if isinstance(record, PromptRecord) and record.weights is not None
    }


def _rival(run: Run, champion: Champion | None) -> Champion | None:
    """Return the champion if it can be compared: other modalities cannot, itself need not be."""
    if champion is None or champion.deployment_arn == run.deployment_arn:
        return None
    return champion if champion.modalities == run.modalities else None


def _champion_name(champion: Champion | None) -> str:
    return f"{CHAMPION}-{champion.version}" if champion else CHAMPION


def _contenders(
    run: Run, champion: Champion | None, student: str, max_output_tokens: int
) -> dict[str, ServingModel]:
    candidate = ServingModel(
        model_id=run.deployment_arn,
        priced_as=student,
        system_prompt=run.system_prompt,
        modalities=run.modalities,
        max_output_tokens=max_output_tokens,
        prior=run.prior,
    )
    base = candidate.model_copy(update={"model_id": foundation_model_id(student)})
    contenders = {CANDIDATE: candidate, BASE: base}
    if champion is not None:
        contenders[_champion_name(champion)] = serving_model(champion)
    return contenders


def _measure(
    run_id: str,
    name: str,
    serving: ServingModel,
    references: _References,
    objects: ObjectStore,
    model: Model,
) -> Scores:
    key = naming.run_key(run_id, "evaluation", f"{name}.jsonl")
    decisions = _kept_answers(key, objects)
    if decisions is None:
        decisions = _ask(serving, references, model)
        objects.put(key, _render_answers(decisions, references))
    ordered = [decisions[query] for query in references]
    return score(serving.model_id, ordered, list(references.values()))


def _ask(serving: ServingModel, references: _References, model: Model) -> dict[str, Decision]:
    by_key = {normalised_query(query): query for query in references}
    routing = route(by_key, serving, model, cache=None)
    if routing.pending:
        raise routing.problem or UnavailableError("no time was left to ask every query")
    return {query: routing.decisions[normalised_query(query)] for query in references}


def _render_answers(decisions: dict[str, Decision], references: _References) -> bytes:
    rows = [
        {"query": query, "reference": reference, "decision": asdict(decisions[query])}
        for query, reference in references.items()
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")


def _kept_answers(key: str, objects: ObjectStore) -> dict[str, Decision] | None:
    try:
        lines = objects.get(key).split(b"\n")
    except NotFoundError:
        return None
    rows = [json.loads(line) for line in lines if line]
    return {row["query"]: _DECISION.validate_python(row["decision"]) for row in rows}
