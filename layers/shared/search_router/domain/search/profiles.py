"""The ranking profile of a collection: how scores are normalised, weighted and fused."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from search_router.domain.serving.decisions import Tier
from search_router.domain.weights import Modalities, Weights, normalise


class Fusion(StrEnum):
    """How scores of different lists are made comparable.

    BOUNDED divides by bounds that are known before the list is read. MIN_MAX stretches each list's
    own scores to [0, 1], and RRF looks at ranks only.
    """

    BOUNDED = "bounded"
    MIN_MAX = "min_max"
    RRF = "rrf"


class MissingPolicy(StrEnum):
    """What a modality that a segment lacks means: a score of 0, or no part in the mean."""

    ZERO = "zero"
    RENORMALISE = "renormalise"


class WeightSource(StrEnum):
    """Where a search's weights come from, if not from a tier of the router."""

    BASE = "base"  # the router is off or has no model
    LATE = "late"  # the router did not answer in time; base weights
    OVERRIDE = "override"  # the caller's


Share = Annotated[float, Field(ge=0, le=1)]
DEFAULT_ROUTER_SHARE = 0.3


class RankingProfile(BaseModel):
    """Versioned fusion settings; the defaults serve without judgments.

    `base` holds weights by modality; missing ones share what is left, all of them equally if it is
    empty. `mix` is the dense part of a list's score and 1 - `mix` the lexical one; `sharpness` is
    the power that the sum is raised to. `router_share` is the router's part of the weights by tier.
    Lists with a weight below `min_weight` are not asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 0
    base: Mapping[str, Share] = {}
    router_share: Mapping[Tier, Share] = {
        Tier.CACHE: DEFAULT_ROUTER_SHARE,
        Tier.LOCAL: DEFAULT_ROUTER_SHARE,
        Tier.DISTILLED: DEFAULT_ROUTER_SHARE,
        Tier.FALLBACK: 0.0,
    }
    fusion: Fusion = Fusion.BOUNDED
    mix: Share = 0.4
    sharpness: Annotated[float, Field(ge=0.25, le=8)] = 1.25
    missing: MissingPolicy = MissingPolicy.ZERO
    min_weight: Share = 0.05

    def base_weights(self, modalities: Modalities) -> Weights:
        """Return the base weights of these modalities, summing to 1."""
        given = [self.base.get(name) for name in modalities]
        absent = given.count(None)
        left = max(0.0, 1.0 - sum(weight for weight in given if weight is not None))
        filled = tuple(left / absent if weight is None else weight for weight in given)
        if sum(filled) <= 0:
            return tuple(1 / len(modalities) for _ in modalities)
        return normalise(filled)

    def mixed(self, modalities: Modalities, routed: Weights, tier: Tier) -> Weights:
        """Return (1 - share) · base + share · routed for the tier that answered."""
        share = self.router_share.get(tier, 0.0)
        pairs = zip(self.base_weights(modalities), routed, strict=True)
        return normalise(tuple((1 - share) * base + share * weight for base, weight in pairs))

    def lists_asked(self, modalities: Modalities, weights: Weights) -> Modalities:
        """Return the modalities whose weight is at least `min_weight`; the heaviest at least."""
        asked = tuple(
            name
            for name, weight in zip(modalities, weights, strict=True)
            if weight > 0 and weight >= self.min_weight
        )
        return asked or (modalities[weights.index(max(weights))],)
