"""The base of all stored records."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable record; fields that another version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
