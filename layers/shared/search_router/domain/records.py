"""The base of all stored records."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable record; fields that another version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed; raises TypeError for other names."""
        kind = type(self)
        if unknown := changes.keys() - kind.model_fields.keys():
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        return kind.model_validate({**dict(self), **changes})
