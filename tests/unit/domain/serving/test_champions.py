"""The champion: stored whole, and still read when fields are added."""

from search_router.domain.serving.champions import Champion
from tests.records import a_champion


def test_a_champion_survives_its_storage() -> None:
    champion = a_champion(prior=(1 / 3, 1 / 3, 1 / 3, 0.0))

    assert Champion.model_validate_json(champion.model_dump_json()) == champion


def test_a_champion_that_newer_code_wrote_can_be_read_after_a_rollback() -> None:
    champion = a_champion()
    newer = {**champion.model_dump(mode="json"), "added_later": 1}
    newer["serving"]["added_later"] = 2

    assert Champion.model_validate(newer) == champion
