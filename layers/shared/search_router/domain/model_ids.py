"""The several names of one foundation model."""

import re

_CONTEXT_SUFFIX = re.compile(r":\d+k$")
_GEOGRAPHY_PREFIX = re.compile(r"^(us|eu|apac|global)\.")


def foundation_model_id(model_id: str) -> str:
    """Strip what only customization (`:128k`) or inference profiles (`us.`) add to a model id."""
    return _GEOGRAPHY_PREFIX.sub("", _CONTEXT_SUFFIX.sub("", model_id))
