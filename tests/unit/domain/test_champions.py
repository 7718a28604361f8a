"""The champion: serving is told everything by the pointer, nothing by settings."""

from search_router.domain.champions import Champion, serving_model
from tests.records import a_champion, a_serving_model


def test_all_that_serving_needs_comes_from_the_champion() -> None:
    champion = a_champion(
        7,
        deployment_arn="arn:of:deployment",
        system_prompt="Be brief.",
        modalities=("mood", "licence"),
        max_output_tokens=99,
        prior=(0.5, 0.5),
        student_model_id="amazon.nova-lite-v1:0:300k",
    )

    assert serving_model(champion) == a_serving_model(
        ("mood", "licence"),
        model_id="arn:of:deployment",
        priced_as="amazon.nova-lite-v1:0:300k",
        system_prompt="Be brief.",
        max_output_tokens=99,
        prior=(0.5, 0.5),
    )


def test_a_champion_survives_its_storage() -> None:
    champion = a_champion(prior=(1 / 3, 1 / 3, 1 / 3, 0.0))

    assert Champion.model_validate_json(champion.model_dump_json()) == champion
