"""The fake's quota, latency and settings."""

from statistics import fmean

import pytest

from local_stack.bedrock_fake.app import FakeBedrock
from local_stack.bedrock_fake.clock import VirtualClock
from local_stack.bedrock_fake.contract import BedrockError
from local_stack.bedrock_fake.converse import RequestQuota, latency_ms
from local_stack.bedrock_fake.resources import Account
from local_stack.bedrock_fake.settings import FakeSettings, LiveSettings
from local_stack.loopback import NotLoopbackError


def _admitted(quota: RequestQuota, model: str, attempts: int) -> int:
    count = 0
    for _ in range(attempts):
        try:
            quota.take(model)
        except BedrockError as refusal:
            assert refusal.code == "ThrottlingException"  # noqa: PT017
        else:
            count += 1
    return count


def test_the_quota_refills_continuously_and_never_holds_more_than_a_second() -> None:
    clock, settings = VirtualClock(), LiveSettings(FakeSettings(requests_per_minute=600))
    quota = RequestQuota(Account(settings, clock))

    assert _admitted(quota, "m", 50) == 10
    clock.advance(0.5)
    assert _admitted(quota, "m", 50) == 5
    clock.advance(60)
    assert _admitted(quota, "m", 50) == 10


def test_models_have_quotas_of_their_own() -> None:
    quota = RequestQuota(
        Account(LiveSettings(FakeSettings(requests_per_minute=60)), VirtualClock())
    )

    assert _admitted(quota, "one", 3) == 1
    assert _admitted(quota, "other", 3) == 1


def test_a_changed_rate_counts_from_the_next_call() -> None:
    settings = LiveSettings(FakeSettings(requests_per_minute=60))
    quota = RequestQuota(Account(settings, VirtualClock()))
    assert _admitted(quota, "m", 3) == 1

    settings.change({"requests_per_minute": 0})

    assert _admitted(quota, "m", 1000) == 1000


def test_latency_is_lognormal_around_the_mean_and_seeded() -> None:
    settings = FakeSettings(mean_latency_ms=800, seed=3)

    drawn = [latency_ms(settings, f"query {number}") for number in range(3000)]

    assert fmean(drawn) == pytest.approx(800, rel=0.03)
    assert sorted(drawn)[2970] == pytest.approx(800 * 1.92, rel=0.1)
    assert drawn[0] == latency_ms(settings, "query 0")


def test_no_mean_means_no_latency() -> None:
    assert latency_ms(FakeSettings(), "query") == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"malformed_rate": 1.5},
        {"malformed_rate": "often"},
        {"malformed_rate": True},
        {"job_failure": 3},
        {"job_seconds": -1},
        {"aws_endpoint": "http://127.0.0.1:1"},
        {"no_such_setting": 1},
    ],
)
def test_a_rejected_change_leaves_the_settings_alone(changes: dict[str, object]) -> None:
    settings = LiveSettings(FakeSettings())

    with pytest.raises(ValueError, match=next(iter(changes))):
        settings.change(changes)

    assert settings.current == FakeSettings()


@pytest.mark.parametrize(
    "endpoint", ["http://s3.us-east-1.amazonaws.com", "http://10.0.0.1:4566", "127.0.0.1:4566"]
)
def test_only_loopback_endpoints_are_accepted(endpoint: str) -> None:
    with pytest.raises(NotLoopbackError):
        FakeBedrock(FakeSettings(aws_endpoint=endpoint))
