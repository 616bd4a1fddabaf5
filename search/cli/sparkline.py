"""A row of numbers as a row of small bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
ASCII: Final = "_.-~=+*#"
"""For terminals that have no others."""


def sparkline(values: Sequence[float], width: int, levels: str = BLOCKS) -> str:
    """A character for each value, the least one lowest and the greatest one highest.

    Args:
        values: a NaN or an infinite one is shown as "x".
        width: at most so many characters; of more values, each character shows the mean of some.
        levels: characters, lowest first.
    """
    joined = [_mean(part) for part in _parts(values, width)]
    finite = [value for value in joined if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(
        levels[_level(value, low, high, len(levels))] if math.isfinite(value) else "x"
        for value in joined
    )


def _level(value: float, low: float, high: float, levels: int) -> int:
    if high <= low:
        return 0
    # Halves: the difference of two floats may be greater than any float.
    return min(levels - 1, int(levels * ((value / 2 - low / 2) / (high / 2 - low / 2))))


def _parts(values: Sequence[float], width: int) -> list[Sequence[float]]:
    count = min(len(values), max(1, width))
    return [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(value / len(finite) for value in finite) if finite else math.nan
