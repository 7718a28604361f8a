"""Approval and rollback: one write each, unique versions, Active deployments only."""

from dataclasses import replace

import pytest

from search_router.domain.errors import ConflictError, InvalidInputError, NotFoundError
from search_router.domain.events import (
    ApprovalNeeded,
    ModelDeployed,
    ModelPromoted,
    ModelRejected,
)
from search_router.domain.lifecycle.promotion import PromotionPolicy, PromotionRules
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.serving.champions import ChampionMove
from search_router.use_cases.champion_moves import Rollback
from tests.fakes import FakeModel, InMemoryChampions, reply
from tests.records import a_champion, dataset_of, deployment_of, job_of, jsonl, label
from tests.unit.use_cases.world import World, labelled_rows, ran, student, truth

OTHER = jsonl(labelled_rows(300, "search"))
THIRD = jsonl(labelled_rows(300, "look"))


def awaiting(world: World, body: bytes | None = None) -> Run:
    world.rules = PromotionRules(PromotionPolicy.ASK_ALWAYS)
    run = ran(world.promote(world.evaluated(body).run_id))
    assert run.state is RunState.AWAITING_APPROVAL
    return run


def test_the_next_query_after_a_rollback_is_answered_by_the_former_model_with_its_prompt(
    world: World,
) -> None:
    first = world.promoted()
    second = world.promoted(OTHER)
    asked: list[tuple[str, str]] = []

    def watching(serving, query):  # type: ignore[no-untyped-def]
        asked.append((serving.model_id, serving.system_prompt))
        return student(serving, query)

    world.model = FakeModel(watching)
    world.ask("a dog barks")
    assert world.roll_back() == 1
    world.ask("a dog barks")

    assert [model for model, _ in asked] == [deployment_of(second).arn, deployment_of(first).arn]
    assert asked[1][1] == dataset_of(first).system_prompt
    assert world.customizer.deleted == [], "so rolling forward is as quick"


def test_a_rollback_is_one_write_and_is_recorded(world: World) -> None:
    world.promoted()
    world.promoted(OTHER)
    runs = list(world.runs.all())

    world.roll_back()

    assert list(world.runs.all()) == runs
    assert list(world.champions.moves())[-1] == ChampionMove(
        moved_at=world.clock.now(), from_version=2, to_version=1, reason="it was worse"
    )
    assert [move.to_version for move in world.champions.moves()] == [1, 2, 1]


def test_a_version_is_never_reused(world: World) -> None:
    world.promoted()
    world.promoted(OTHER)
    world.roll_back()

    third = world.promoted(THIRD)

    assert third.champion_version == 3
    champion = world.champions.current()
    assert champion is not None
    assert (champion.version, champion.previous_version) == (3, 1)
    assert world.roll_back() == 1, "not to the version that was rolled back"


def test_a_run_in_evaluation_is_compared_with_the_champion_after_the_rollback(
    world: World,
) -> None:
    world.promoted()
    world.promoted(OTHER)
    run = world.evaluated(THIRD)
    world.roll_back()

    again = ran(world.promote(run.run_id))

    assert (again.state, again.evaluation) == (RunState.EVALUATING, None)


@pytest.mark.parametrize(
    ("to", "message"),
    [(None, "no previous version"), (1, "is the current champion"), (7, "not found: 7")],
)
def test_a_rollback_to_a_missing_or_current_version_is_rejected(
    world: World, to: int | None, message: str
) -> None:
    world.promoted()

    with pytest.raises(InvalidInputError, match=message):
        world.roll_back(to)


def test_without_a_champion_there_is_no_rollback(world: World) -> None:
    with pytest.raises(InvalidInputError, match="no champion serves"):
        world.roll_back()


def test_a_rollback_requires_an_active_deployment(world: World) -> None:
    first = world.promoted()
    world.promoted(OTHER)
    name = deployment_of(first).name
    world.customizer.deployments[name] = replace(
        world.customizer.deployments[name], status="Failed"
    )
    with pytest.raises(InvalidInputError, match="deployment of version 1 is Failed"):
        world.roll_back()

    world.customizer.delete(deployment_of(first).arn)
    with pytest.raises(InvalidInputError, match=r"is deleted\. Upload its prompt file again"):
        world.roll_back()
    assert world.champions.last_version() == 2


def test_uploading_the_file_again_brings_a_champion_back_after_its_deployment_was_deleted(
    world: World,
) -> None:
    """As the error above advises: no new job, a new deployment, a new version."""
    first = world.promoted()
    world.promoted(OTHER)
    world.customizer.delete(deployment_of(first).arn)
    jobs = len(world.customizer.started)

    back = world.promoted(key="prompts/again.jsonl")

    assert (len(world.customizer.started), back.champion_version) == (jobs, 3)
    assert job_of(back).model_arn == job_of(first).model_arn


def test_of_a_concurrent_rollback_and_promotion_one_wins(world: World) -> None:
    world.promoted()
    world.promoted(OTHER)
    before = world.champions.current()
    assert before is not None
    world.champions.install(a_champion(3))

    class Late(InMemoryChampions):
        def current(self):  # type: ignore[no-untyped-def]
            return before

    late = Late(world.runs, world.champions._pointer, world.champions._versions)
    with pytest.raises(ConflictError):
        Rollback(late, world.customizer, world.clock)(None, "")

    champion = world.champions.current()
    assert champion is not None
    assert champion.version == 3


def test_an_approved_run_is_promoted(world: World) -> None:
    run = awaiting(world)
    assert world.champions.current() is None

    promoted = world.approve(run.run_id)

    assert (promoted.state, promoted.champion_version) == (RunState.PROMOTED, 1)
    assert promoted.reason == run.reason, "the scores stay"
    assert promoted.decision is not None
    assert (promoted.decision.by, promoted.decision.why) == ("Ada", "looks right")
    assert list(world.champions.moves())[-1].reason == "approved by Ada: looks right"
    assert world.events.of(ModelPromoted) == [ModelPromoted(run_id=run.run_id, champion_version=1)]


def test_a_run_that_awaits_approval_is_announced_with_the_two_commands(world: World) -> None:
    run = awaiting(world)

    [event] = world.events.of(ApprovalNeeded)

    assert event == ApprovalNeeded(
        run_id=run.run_id,
        reason=run.reason,
        approve_with=f"search-router promote {run.run_id} --reason WHY",
        reject_with=f"search-router reject {run.run_id} --reason WHY",
    )
    assert event.expires == "never"


def test_an_operator_rejects_a_run_and_its_deployment_goes(world: World) -> None:
    run = awaiting(world)

    rejected = world.approvals.reject(run.run_id, "Ada", "too few labels")

    assert (rejected.state, rejected.reason) == (RunState.REJECTED, run.reason)
    assert rejected.decision is not None
    assert rejected.decision.sentence == "rejected by Ada: too few labels"
    assert deployment_of(rejected).deleted
    assert world.champions.current() is None
    assert world.events.of(ModelRejected)[-1].reason == "rejected by Ada: too few labels"
    with pytest.raises(InvalidInputError, match="does not await approval"):
        world.approvals.reject(run.run_id, "Ada", "again")


def test_a_rejected_run_is_promoted_by_override_without_another_job(world: World) -> None:
    # GIVEN a run that an operator rejected, whose deployment is deleted
    first = world.promoted()
    run = awaiting(world, OTHER)
    world.approvals.reject(run.run_id, "Ada", "not now")
    world.rules = PromotionRules()
    asked, jobs = len(world.model.asked), len(world.customizer.started)
    # WHEN another decides otherwise
    world.approvals.override(run.run_id, "Grace", "the labels are right")
    assert world.run(run.run_id).state is RunState.DEPLOYING
    world.customizer.end_deployment(deployment_of(run).name)
    world.track()
    # THEN the model is deployed again and serves, without a job or a call
    promoted = ran(world.promote(run.run_id))
    assert (promoted.state, promoted.champion_version) == (RunState.PROMOTED, 2)
    assert (len(world.model.asked), len(world.customizer.started)) == (asked, jobs)
    assert promoted.reason == run.reason, "its scores"
    move = list(world.champions.moves())[-1]
    assert move.reason == "promoted by override by Grace: the labels are right"
    assert move.from_version == first.champion_version
    with pytest.raises(InvalidInputError, match="does not count as rejected"):
        world.approvals.override(run.run_id, "Grace", "again")


def test_an_approval_after_another_promotion_evaluates_again(world: World) -> None:
    run = awaiting(world, OTHER)
    world.rules = PromotionRules()
    world.promoted(THIRD)
    world.events.published.clear()

    again = world.approve(run.run_id)

    assert (again.state, again.evaluation) == (RunState.EVALUATING, None)
    assert world.events.published == [ModelDeployed(run_id=run.run_id)]
    champion = world.champions.current()
    assert champion is not None
    assert champion.version == 1


def test_a_run_that_awaits_no_approval_cannot_be_approved(world: World) -> None:
    run = world.evaluated()

    with pytest.raises(InvalidInputError, match=r"does not await approval: .* is EVALUATING"):
        world.approve(run.run_id)
    with pytest.raises(NotFoundError, match="run not found: run-000000000000"):
        world.approve("run-000000000000")


def test_an_inconclusive_comparison_awaits_approval_if_the_policy_asks(
    world: World,
) -> None:
    """A candidate with a few small errors, whose interval includes the margin."""
    world.promoted()
    champion = world.champions.current()
    assert champion is not None

    def unsteady(serving, query):  # type: ignore[no-untyped-def]
        if "deployment" not in serving.model_id or serving.model_id == champion.serving.model_id:
            return student(serving, query)
        right = truth(query)
        off = (right[0] - 0.1, right[1] + 0.1, *right[2:])
        return reply(label(*(off if query.split()[1].endswith("7") else right)))

    world.model = FakeModel(unsteady)
    world.rules = PromotionRules(PromotionPolicy.ASK_IF_UNSURE, margin=0.005)
    run = ran(world.promote(world.evaluated(OTHER).run_id))

    assert run.state is RunState.AWAITING_APPROVAL, run.reason
    assert "inconclusive" in run.reason


def test_after_a_rollback_the_later_champion_can_serve_again(world: World) -> None:
    world.promoted()
    world.promoted(OTHER)
    world.roll_back()

    assert world.roll_back(2) == 2
    assert [move.to_version for move in world.champions.moves()] == [1, 2, 1, 2]
