"""Injected faults and events, lifecycles of models, and the base student."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from local_stack.bedrock_fake import FakeBedrock, FakeSettings
from local_stack.bedrock_fake.faults import Fault
from tests.integration.fake_bench import (
    BASE,
    TEACHER,
    Bench,
    invalid,
    rejected,
    teacher,
    text_of,
)

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
STATUSES: dict[Fault, tuple[str, int] | tuple[str, int, str]] = {
    Fault.THROTTLE: ("ThrottlingException", 429),
    Fault.MODEL_TIMEOUT: ("ModelTimeoutException", 408),
    Fault.MODEL_ERROR: ("ModelErrorException", 424),
    Fault.INTERNAL: ("InternalServerException", 500),
    Fault.UNAVAILABLE: ("ServiceUnavailableException", 503),
    Fault.MODEL_UNKNOWN: ("ValidationException", 400, "model identifier is invalid"),
    Fault.MODEL_LOCKED: ("ResourceNotFoundException", 404, "use case details"),
    Fault.MODEL_LEGACY: ("ResourceNotFoundException", 404, "Access denied.*Legacy"),
}


@pytest.mark.parametrize("fault", STATUSES)
def test_the_next_call_meets_the_fault_and_the_one_after_does_not(
    bench: Bench, fault: Fault
) -> None:
    bench.fake.fail_next("Converse", fault)

    with rejected(*STATUSES[fault]):
        bench.ask(BASE)

    assert bench.ask(BASE)["stopReason"] == "end_turn"


def test_a_lost_reply_is_work_done_without_an_answer(bench: Bench) -> None:
    bench.fake.fail_next("CreateModelCustomizationJob", Fault.LOST_REPLY)

    with pytest.raises(ConnectionClosedError):
        bench.create_job()

    assert bench.job("run-1")["status"] == "InProgress"
    assert bench.create_job() == bench.job("run-1")["jobArn"]


@pytest.mark.parametrize(
    ("operation", "fault"),
    [("GetModelCustomizationJob", Fault.MODEL_ERROR), ("NoSuchOperation", Fault.THROTTLE)],
)
def test_a_fault_that_bedrock_does_not_have_is_rejected(
    bench: Bench, operation: str, fault: Fault
) -> None:
    with pytest.raises(ValueError, match=operation):
        bench.fake.fail_next(operation, fault)


def test_shares_of_calls_fail_and_a_retry_draws_anew(bench: Bench) -> None:
    bench.fake.change(faults="Converse:throttle:0.2, *:503:0.1", requests_per_minute=0)

    def outcome(number: int) -> str:
        try:
            bench.ask(BASE, query=f"harbour {number}")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "ok"

    first = [outcome(number) for number in range(300)]
    second = [outcome(number) for number in range(300)]

    assert 40 <= first.count("ThrottlingException") <= 80
    assert 12 <= first.count("ServiceUnavailableException") <= 45
    assert first != second
    failed_twice = [a for a, b in zip(first, second, strict=True) if a != "ok" and b != "ok"]
    assert len(failed_twice) < 60


def test_the_same_requests_meet_the_same_faults_in_every_run() -> None:
    def outcomes(seed: int) -> list[int]:
        fake = FakeBedrock(FakeSettings(seed=seed, faults="*:500:0.5"))
        return [
            fake.answer("GET", f"/foundation-models/{number}", b"").status for number in range(40)
        ]

    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)


@pytest.mark.parametrize("faults", ["Converse", "Converse:bang:0.1", "Converse:500:2", ":500:0.1"])
def test_unreadable_faults_are_rejected(bench: Bench, faults: str) -> None:
    with pytest.raises(ValueError, match="OPERATION:FAULT:RATE"):
        bench.fake.change(faults=faults)


# --- events --------------------------------------------------------------------------------------


def event_times(bench: Bench) -> list[float]:
    """Return when the events of a finished job come, in seconds after its end."""
    bench.create_job()
    bench.clock.advance(60)
    times = []
    for second in range(0, 700, 100):
        seen = len(bench.events)
        bench.fake.process_due()
        times += [float(second)] * (len(bench.events) - seen)
        bench.clock.advance(100)
    return times


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({}, [0.0]),
        ({"event_loss_rate": 1.0}, []),
        ({"event_late_rate": 1.0}, [300.0]),
        ({"event_duplicate_rate": 1.0}, [0.0, 300.0]),
        ({"event_duplicate_rate": 1.0, "event_late_seconds": 0.0}, [0.0, 0.0]),
        ({"event_late_rate": 1.0, "event_duplicate_rate": 1.0}, [300.0, 600.0]),
    ],
)
def test_events_are_lost_late_or_sent_twice(
    bench: Bench, changes: dict[str, float], times: list[float]
) -> None:
    bench.fake.change(**changes)

    assert event_times(bench) == times


# --- foundation models ---------------------------------------------------------------------------


def lifecycle(bench: Bench, model: str) -> dict[str, Any]:
    reply = bench.bedrock.get_foundation_model(modelIdentifier=model)
    return dict(reply["modelDetails"]["modelLifecycle"])


def test_models_can_be_made_legacy_and_retired(bench: Bench) -> None:
    assert lifecycle(bench, TEACHER)["status"] == "ACTIVE"

    bench.fake.change(legacy_models=TEACHER)
    assert lifecycle(bench, TEACHER)["status"] == "LEGACY"
    assert lifecycle(bench, TEACHER)["endOfLifeTime"] > bench.clock.now()
    assert bench.ask(TEACHER)["stopReason"] == "end_turn"

    bench.fake.change(retired_models=f"{TEACHER}, {BASE}")
    gone = lifecycle(bench, TEACHER)["endOfLifeTime"]
    assert gone == bench.clock.now() - timedelta(days=1)
    with rejected("ResourceNotFoundException", 404, "end of its life"):
        bench.ask(TEACHER)
    with invalid("end of life"):
        bench.create_job(customizationConfig=teacher(TEACHER))


def test_a_locked_model_has_no_agreement_and_is_not_served(bench: Bench) -> None:
    def agreement() -> str:
        reply = bench.bedrock.get_foundation_model_availability(modelId=HAIKU)
        return str(reply["agreementAvailability"]["status"])

    assert agreement() == "AVAILABLE"

    bench.fake.change(locked_models=HAIKU)
    assert agreement() == "NOT_AVAILABLE"
    with rejected("ResourceNotFoundException", 404, "use case details"):
        bench.ask(f"us.{HAIKU}")


def test_a_legacy_student_cannot_be_customized(bench: Bench) -> None:
    bench.fake.change(legacy_models="amazon.nova-micro-v1:0:128k")

    with invalid("LEGACY"):
        bench.create_job()


def test_some_models_are_asked_by_inference_profile_only(bench: Bench) -> None:
    with invalid("inference profile"):
        bench.ask(HAIKU)

    assert bench.ask(f"us.{HAIKU}")["stopReason"] == "end_turn"
    assert bench.ask(f"global.{HAIKU}")["stopReason"] == "end_turn"


# --- the base student --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "form"),
    [
        ({"base_prose_rate": 1.0}, "prose"),
        ({"base_prose_rate": 0.0, "base_incomplete_rate": 1.0}, "incomplete"),
        (
            {"base_prose_rate": 0.0, "base_incomplete_rate": 0.0, "base_fenced_rate": 1.0},
            "fenced",
        ),
        (
            {"base_prose_rate": 0.0, "base_incomplete_rate": 0.0, "base_fenced_rate": 0.0},
            "bare",
        ),
    ],
)
def test_the_base_students_habits_have_rates(
    bench: Bench, changes: dict[str, float], form: str
) -> None:
    bench.fake.change(**changes)

    assert {_form(text_of(bench.ask(BASE, f"harbour {n}"))) for n in range(20)} == {form}


def _form(text: str) -> str:
    if "```json" in text:
        return "fenced"
    if not text.startswith("{"):
        return "prose"
    return "bare" if text.endswith("}") else "incomplete"
