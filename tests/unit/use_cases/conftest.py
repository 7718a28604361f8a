"""A fresh world for every test."""

import pytest

from tests.integration.material import trained_once
from tests.records import a_champion
from tests.unit.use_cases.world import World


@pytest.fixture(autouse=True)
def _models_are_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_router.use_cases.shard_prompts.train", trained_once)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def serving_world(world: World) -> World:
    """A world in which a model serves already."""
    world.champions.install(a_champion())
    return world
