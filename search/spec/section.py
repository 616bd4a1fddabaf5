"""What every section of a study file is, and the kinds of values in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Choice = str | int | float | bool


class Section(BaseModel):
    """A table of the study file: no unknown keys, no conversion of types, no change once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
