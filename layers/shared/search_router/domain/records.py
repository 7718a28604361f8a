"""The base of every stored record."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable record; fields that a newer version added are ignored when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed.

        Raises TypeError for a field that the record does not have.
        """
        kind = type(self)
        if unknown := changes.keys() - kind.model_fields.keys():
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        return kind.model_validate({**dict(self), **changes})
