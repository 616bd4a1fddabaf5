"""[table] of a study file: the study is a table of learning curves, as `tuneoff table` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tuneoff.search.spec.section import Section

Indices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]


class TableSpec(Section):
    """[table]: every run is a row of a table of learning curves.

    A run that has ended is scored on the test split, and the loss and the seconds of each epoch are
    kept with its trial.

    Attributes:
        study: name of the study whose space the configurations fill.
        filling: how many configurations come from the space-filling design.
        hand: by hand-tuned arm of that study: the indices of its configurations among those that
            the table's only arm runs, in the arm's order.
    """

    study: str
    filling: int = Field(ge=0, le=10**6)
    hand: Mapping[str, Indices] = Field(default_factory=dict)
