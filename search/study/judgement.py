"""What is to be done about a study's evidence: nothing more, or more of it. A plain record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tuneoff.search.study.snapshot import Snapshot


@dataclass(frozen=True)
class Judgement:
    """Whether the arms of a study are decided, and what is to be added if they are not.

    Attributes:
        ended: why nothing is added, in words: "decided after 11 repeats"; None while something is.
        most: the most repeats that may be open.
        trainings: by key of a configuration, the full trainings that it is to have in all, where
            that narrows the comparison more than what they cost narrows it elsewhere.
    """

    ended: str | None
    most: int = 0
    trainings: Mapping[str, int] = field(default_factory=dict)


Judge = Callable[[Snapshot], Judgement]
"""Judges a study of which every open repeat is searched and trained in full."""
