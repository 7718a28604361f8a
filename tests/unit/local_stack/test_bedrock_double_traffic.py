"""The double's quota, latency and settings."""

from statistics import fmean

import pytest

from local_stack.bedrock_double.clock import VirtualClock
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.settings import DoubleSettings, LiveSettings
from local_stack.bedrock_double.traffic import RequestQuota, latency_ms


def _admitted(quota: RequestQuota, model: str, attempts: int) -> int:
    count = 0
    for _ in range(attempts):
        try:
            quota.admit(model)
        except BedrockError as refusal:
            assert refusal.code == "ThrottlingException"  # noqa: PT017
        else:
            count += 1
    return count


def test_the_quota_refills_continuously_and_never_holds_more_than_a_second() -> None:
    clock, settings = VirtualClock(), LiveSettings(DoubleSettings(requests_per_minute=600))
    quota = RequestQuota(clock, settings)

    assert _admitted(quota, "m", 50) == 10
    clock.advance(0.5)
    assert _admitted(quota, "m", 50) == 5
    clock.advance(60)
    assert _admitted(quota, "m", 50) == 10


def test_models_have_quotas_of_their_own() -> None:
    quota = RequestQuota(VirtualClock(), LiveSettings(DoubleSettings(requests_per_minute=60)))

    assert _admitted(quota, "one", 3) == 1
    assert _admitted(quota, "other", 3) == 1


def test_a_changed_rate_counts_from_the_next_call() -> None:
    settings = LiveSettings(DoubleSettings(requests_per_minute=60))
    quota = RequestQuota(VirtualClock(), settings)
    assert _admitted(quota, "m", 3) == 1

    settings.change({"requests_per_minute": 0})

    assert _admitted(quota, "m", 1000) == 1000


def test_latency_is_lognormal_around_the_mean_and_seeded() -> None:
    settings = DoubleSettings(mean_latency_ms=800, seed=3)

    drawn = [latency_ms(settings, f"query {number}") for number in range(3000)]

    assert fmean(drawn) == pytest.approx(800, rel=0.03)
    assert sorted(drawn)[2970] == pytest.approx(800 * 1.92, rel=0.1)
    assert drawn[0] == latency_ms(settings, "query 0")


def test_no_mean_means_no_latency() -> None:
    assert latency_ms(DoubleSettings(), "query") == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"malformed_rate": 1.5},
        {"malformed_rate": "often"},
        {"malformed_rate": True},
        {"job_failure": 3},
        {"job_seconds": -1},
        {"s3_endpoint": "http://127.0.0.1:1"},
        {"no_such_setting": 1},
    ],
)
def test_a_refused_change_leaves_the_settings_alone(changes: dict[str, object]) -> None:
    settings = LiveSettings(DoubleSettings())

    with pytest.raises(ValueError, match=next(iter(changes))):
        settings.change(changes)

    assert settings.current == DoubleSettings()


@pytest.mark.parametrize(
    "endpoint", ["http://s3.us-east-1.amazonaws.com", "http://10.0.0.1:4566", "127.0.0.1:4566"]
)
def test_only_loopback_neighbours_are_taken(endpoint: str) -> None:
    with pytest.raises(ValueError, match="is not a loopback URL"):
        DoubleSettings(s3_endpoint=endpoint)

    assert DoubleSettings(s3_endpoint="http://localhost:4566", events_endpoint="http://[::1]:1")
