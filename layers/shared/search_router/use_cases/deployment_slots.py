"""Keeps places free among the account's deployments, so that the next model can be deployed."""

from collections.abc import Collection

from search_router.domain.serving.champions import Champion
from search_router.ports import ChampionRepository, Deployments

MAX_DEPLOYMENTS = 10  # Bedrock quota: custom model deployments per account
FREE_SLOTS = 2  # Bedrock makes two at a time


def free_deployment_slots(
    champions: ChampionRepository, deployments: Deployments, versions_in_use: Collection[int]
) -> int:
    """Delete deployments of former champions, oldest first, until two places are free.

    Kept are the champion in use, the one that a rollback leads to, and those of `versions_in_use`,
    which unfinished query logs are routed by. Models are kept; return how many deployments went.
    """
    deployed = set(deployments.arns())
    surplus = len(deployed) - (MAX_DEPLOYMENTS - FREE_SLOTS)
    if surplus <= 0:
        return 0
    history = list(champions.history())
    needed = _needed(champions.current(), history, versions_in_use)
    former = dict.fromkeys(
        champion.serving.model_id
        for champion in history
        if champion.serving.model_id in deployed - needed
    )
    removed = list(former)[:surplus]
    for arn in removed:
        deployments.tear_down(arn)
    return len(removed)


def _needed(
    current: Champion | None, history: list[Champion], versions_in_use: Collection[int]
) -> set[str]:
    versions = set(versions_in_use)
    if current is not None:
        versions |= {current.version, current.previous_version or 0}
    return {champion.serving.model_id for champion in history if champion.version in versions}
