"""Fusion: every score is the sum of its explanation, whatever the lists hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.search.calibration import Calibration, ListCalibration
from search_router.domain.search.fusion import Hit, Scoring, fuse, one_per_video
from search_router.domain.search.index import Candidate
from search_router.domain.search.profiles import Fusion, MissingPolicy, RankingProfile
from search_router.domain.serving.decisions import Tier
from tests.records import SIXTEEN

CALIBRATION = Calibration(
    lists={
        name: ListCalibration(floor=0.2, texts=100, frequencies={"door": 4})
        for name in ("visual", "audio")
    }
)


def a_candidate(
    segment_id: str, cosine: float | None = None, bm25: float | None = None, **changes: object
) -> Candidate:
    plain = Candidate(segment_id, cosine, bm25, "v1", 0.0, 1.0, {}, "a red door")
    return plain._replace(**changes)  # type: ignore[arg-type]


def fused(
    lists: dict[str, list[Candidate]], weights: dict[str, float], **profile: object
) -> list[Hit]:
    scoring = Scoring(RankingProfile.model_validate(profile), CALIBRATION, ["door"])
    return fuse(lists, weights, scoring)


def test_a_bounded_score_is_floored_cosine_and_bounded_bm25_by_weight() -> None:
    bound = CALIBRATION.of("visual").bm25_bound(["door"])
    lists = {
        "visual": [a_candidate("both", 0.6, bound / 2), a_candidate("unrelated", 0.2, None)],
        "audio": [a_candidate("both", None, 2 * bound)],
    }

    first, last = fused(lists, {"visual": 0.75, "audio": 0.25}, mix=0.5, sharpness=1)

    assert (first.segment_id, last.segment_id) == ("both", "unrelated")
    assert first.score == pytest.approx(0.75 * (0.5 * 0.5 + 0.5 * 0.5) + 0.25 * 0.5)
    assert last.score == 0


def test_sharpness_is_the_power_of_a_lists_score() -> None:
    [hit] = fused({"visual": [a_candidate("a", 0.6)]}, {"visual": 1}, mix=1, sharpness=2)

    assert hit.score == pytest.approx(0.5**2)


def test_a_query_of_unknown_rarity_is_bounded_by_the_list() -> None:
    scoring = Scoring(RankingProfile(mix=0, sharpness=1), Calibration(), [])

    hits = fuse(
        {"visual": [a_candidate("a", 0, 4), a_candidate("b", 0, 2)]}, {"visual": 1}, scoring
    )

    assert [hit.score for hit in hits] == [1, 0.5]


def test_min_max_stretches_a_list_to_its_own_scores() -> None:
    candidates = [a_candidate("a", 0.9), a_candidate("b", 0.8), a_candidate("c", 0.7)]

    hits = fused({"visual": candidates}, {"visual": 1}, fusion="min_max", mix=1)

    assert [hit.score for hit in hits] == pytest.approx([1, 0.5, 0.001])


def test_reciprocal_ranks_ignore_scores() -> None:
    candidates = [a_candidate("a", 0.9), a_candidate("b", 0.1)]

    hits = fused({"visual": candidates}, {"visual": 1}, fusion="rrf")

    assert [hit.score for hit in hits] == pytest.approx([1, 61 / 62])


def test_a_missing_modality_is_zero_or_left_out_of_the_mean() -> None:
    only_visual = a_candidate("a", 1.0, attributes={"_modalities": ["visual"]})
    weights = {"visual": 0.5, "audio": 0.5}

    [zero] = fused({"visual": [only_visual], "audio": []}, weights, mix=1)
    [own] = fused(
        {"visual": [only_visual], "audio": []}, weights, mix=1, missing=MissingPolicy.RENORMALISE
    )

    assert (zero.score, own.score) == pytest.approx((0.5, 1.0))


def test_equal_scores_are_ordered_by_segment_id() -> None:
    candidates = [a_candidate(name, 0.5) for name in ("c", "a", "b")]

    hits = fused({"visual": candidates}, {"visual": 1})

    assert [hit.segment_id for hit in hits] == ["a", "b", "c"]


def test_grouping_keeps_the_best_hit_of_each_video_and_lists_the_others() -> None:
    candidates = [
        a_candidate("a", 0.9, video_id="x"),
        a_candidate("b", 0.8, video_id="y"),
        a_candidate("c", 0.7, video_id="x"),
    ]

    groups = one_per_video(fused({"visual": candidates}, {"visual": 1}))

    assert [(best.segment_id, [o.segment_id for o in others]) for best, others in groups] == [
        ("a", ["c"]),
        ("b", []),
    ]


scores = st.none() | st.floats(-1, 1)


@given(data=st.data(), modalities=st.integers(2, 16), fusion=st.sampled_from(Fusion))
def test_contributions_add_up_to_the_score(
    data: st.DataObject, modalities: int, fusion: Fusion
) -> None:
    names = SIXTEEN[:modalities]
    lists = {
        name: [
            a_candidate(segment, data.draw(scores), data.draw(st.none() | st.floats(0, 50)))
            for segment in data.draw(st.lists(st.sampled_from("abcdef"), unique=True))
        ]
        for name in names
    }
    raw = [data.draw(st.floats(0.01, 1)) for _ in names]
    weights = {name: weight / sum(raw) for name, weight in zip(names, raw, strict=True)}
    policy = data.draw(st.sampled_from(MissingPolicy))

    hits = fused(lists, weights, fusion=fusion, missing=policy)

    for hit in hits:
        assert abs(hit.score - sum(part["contribution"] for part in hit.contributions)) < 1e-9
        assert all(0 <= part["normalised"] <= 1 for part in hit.contributions)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.segment_id))
    assert {hit.segment_id for hit in hits} == {c.segment_id for one in lists.values() for c in one}


def test_base_weights_fill_in_the_missing_ones() -> None:
    profile = RankingProfile(base={"visual": 0.4})

    assert profile.base_weights(("visual", "audio", "metadata")) == pytest.approx((0.4, 0.3, 0.3))
    assert RankingProfile().base_weights(("visual", "audio")) == (0.5, 0.5)


def test_the_router_moves_the_base_weights_by_its_share() -> None:
    profile = RankingProfile()

    moved = profile.mixed(("visual", "audio"), (1.0, 0.0), Tier.DISTILLED)
    still = profile.mixed(("visual", "audio"), (1.0, 0.0), Tier.FALLBACK)

    assert moved == pytest.approx((0.65, 0.35))
    assert still == (0.5, 0.5)


def test_light_lists_are_not_asked_but_one_always_is() -> None:
    profile = RankingProfile(min_weight=0.1)

    assert profile.lists_asked(("visual", "audio"), (0.95, 0.05)) == ("visual",)
    assert RankingProfile(min_weight=0.9).lists_asked(("a", "b"), (0.4, 0.6)) == ("b",)
