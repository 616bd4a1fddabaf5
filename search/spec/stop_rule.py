"""[budget] ``stop_when``: the rule by which a search ends before its budget is spent."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"\s*gain\s*<\s*(\S+)\s+within\s+(\S+)\s+epochs?\s*")
_EXAMPLE = 'write it as "gain < 0.1 within 50 epochs": points of error, and epochs'
_MOST_EPOCHS = 10**9


@dataclass(frozen=True)
class StopRule:
    """A search ends when it is expected to gain less than this.

    Attributes:
        points: of error (percent), or in the unit of [metric], that its best full run is expected
            to be undercut by, above 0.
        epochs: that the search would train for it.
    """

    points: float
    epochs: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rule that was written.

        Raises:
            ValueError: it is not one; says what is wrong and how to write it.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no rule to stop by; {_EXAMPLE}")
        try:
            points = float(found[1])
        except ValueError:
            raise ValueError(f"{found[1]!r} is no number of points; {_EXAMPLE}") from None
        if not 0 < points < math.inf:
            raise ValueError(f"a gain of {found[1]} points is refused; give one between 0 and 100")
        if not (found[2].isascii() and found[2].isdecimal() and len(found[2]) < 11):
            raise ValueError(f"{found[2]!r} is no whole number of epochs; {_EXAMPLE}")
        epochs = int(found[2])
        if not 0 < epochs <= _MOST_EPOCHS:
            raise ValueError(f"{epochs} epochs are refused; give 1 to {_MOST_EPOCHS:,}")
        return cls(points, epochs)

    def __str__(self) -> str:
        return f"gain < {self.points!r} within {self.epochs} epochs"
