"""A fresh world for every test."""

import pytest

from tests.records import a_champion
from tests.unit.use_cases.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def serving_world(world: World) -> World:
    """A world in which a model serves already."""
    world.champions.install(a_champion())
    return world
