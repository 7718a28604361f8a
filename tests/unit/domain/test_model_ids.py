"""Model ids: one model under several names."""

import pytest

from search_router.domain.naming import foundation_model_id


@pytest.mark.parametrize(
    ("model_id", "plain"),
    [
        ("amazon.nova-micro-v1:0", "amazon.nova-micro-v1:0"),
        ("amazon.nova-micro-v1:0:128k", "amazon.nova-micro-v1:0"),
        ("us.amazon.nova-premier-v1:0", "amazon.nova-premier-v1:0"),
        ("global.amazon.nova-lite-v1:0:300k", "amazon.nova-lite-v1:0"),
        ("user.own-model:v2", "user.own-model:v2"),
    ],
)
def test_context_size_and_geography_are_no_part_of_the_model(model_id: str, plain: str) -> None:
    assert foundation_model_id(model_id) == plain
