"""A model is deployed: measure it on the holdout, beside the base student and the champion."""

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from search_router.domain import naming
from search_router.domain.batches import batched
from search_router.domain.cascade import Model, NoCache, route
from search_router.domain.champions import Champion, ServingModel
from search_router.domain.errors import NotFoundError, PermanentError, UnavailableError
from search_router.domain.evaluation import Evaluation, Scores, score
from search_router.domain.lines import split_lines
from search_router.domain.model_ids import foundation_model_id
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
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle

CANDIDATE, BASE, CHAMPION = "candidate", "base", "champion"
ANSWERS_PER_OBJECT = 100
CLAIM = timedelta(minutes=16)  # longer than the function may run

_References = dict[str, Weights]
_DECISIONS = TypeAdapter(dict[str, Decision])


def evaluate_model(
    run_id: str,
    *,
    runs: RunRepository,
    champions: ChampionRepository,
    objects: ObjectStore,
    model: Model,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Score the run's candidate and its rivals and record the evaluation on the run.

    Answers are kept by the hundred, written once, so that a retry asks only what is missing and
    every attempt scores the same answers. One attempt at a time works on a run. Raises
    TransientError when a model could not answer everything in time.
    """
    run = runs.get(run_id)
    if run is None:
        return Ignored("unknown run")
    lifecycle = RunLifecycle(runs, events, clock)
    if run.state is not RunState.EVALUATING:
        return Ignored(f"the run is {run.state}, not EVALUATING")
    if run.evaluation is not None:
        lifecycle.announce(run)
        return run
    if _is_claimed(run, clock.now()):
        return Ignored("the run is being evaluated")
    claimed = lifecycle.note(run, evaluating_until=clock.now() + CLAIM)
    try:
        evaluation = _evaluate(claimed, champions.current(), objects, model)
    except PermanentError as error:
        return lifecycle.move(claimed, RunState.FAILED, reason=str(error))
    except Exception:
        lifecycle.note(claimed, evaluating_until=None)
        raise
    if evaluation is None:
        return lifecycle.move(claimed, RunState.REJECTED, reason="the holdout has no labelled row")
    evaluated = lifecycle.note(claimed, evaluation=evaluation, evaluating_until=None)
    lifecycle.announce(evaluated)
    return evaluated


def _is_claimed(run: Run, now: datetime) -> bool:
    return run.evaluating_until is not None and now < run.evaluating_until


def _evaluate(
    run: Run, champion: Champion | None, objects: ObjectStore, model: Model
) -> Evaluation | None:
    references = _references(run, objects)
    if not references:
        return None
    base = run.serving.model_copy(update={"model_id": foundation_model_id(run.student)})
    rival = _rival(run, champion)
    return Evaluation(
        candidate=_measure(run.run_id, CANDIDATE, run.serving, references, objects, model),
        base=_measure(run.run_id, BASE, base, references, objects, model),
        champion=_measure_rival(run.run_id, rival, references, objects, model) if rival else None,
        champion_version=rival.version if rival else None,
    )


def _measure_rival(
    run_id: str, rival: Champion, references: _References, objects: ObjectStore, model: Model
) -> Scores | None:
    """Measure the champion; one whose deployment is gone can neither serve nor win."""
    name = f"{CHAMPION}-{rival.version}"
    with suppress(NotFoundError):
        return _measure(run_id, name, rival.serving, references, objects, model)
    return None


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
    if champion is None or champion.serving.model_id == run.deployment_arn:
        return None
    return champion if champion.serving.modalities == run.modalities else None


def _measure(
    run_id: str,
    name: str,
    serving: ServingModel,
    references: _References,
    objects: ObjectStore,
    model: Model,
) -> Scores:
    decisions: dict[str, Decision] = {}
    for index, queries in enumerate(batched(references, ANSWERS_PER_OBJECT)):
        key = naming.run_key(run_id, "evaluation", name, f"answers-{index:05d}.json")
        decisions.update(_kept(key, objects) or _asked(key, queries, serving, objects, model))
    ordered = [decisions[query] for query in references]
    return score(serving.model_id, ordered, list(references.values()))


def _asked(
    key: str, queries: list[str], serving: ServingModel, objects: ObjectStore, model: Model
) -> dict[str, Decision]:
    """Ask one batch of queries and keep the answers, or take those that were kept first."""
    by_key = {normalised_query(query): query for query in queries}
    routing = route(by_key, serving, model, NoCache())
    if routing.pending:
        raise routing.problem or UnavailableError("no time was left to ask every query")
    answers = {by_key[key]: decision for key, decision in routing.decisions.items()}
    body = json.dumps({query: asdict(answers[query]) for query in queries}, ensure_ascii=False)
    objects.put_once(key, body.encode("utf-8"), metadata={})
    return _kept(key, objects) or answers


def _kept(key: str, objects: ObjectStore) -> dict[str, Decision] | None:
    try:
        return _DECISIONS.validate_json(objects.get(key))
    except NotFoundError:
        return None
