"""Marks and curves that nobody could tell from those that lie on them, left out.

A page with every mark of 20,000 trials has ten megabytes, and a browser takes long to draw it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise

WIDTH, HEIGHT = 400, 270
"""Pixels of a figure in a grid, axes left out."""
LAYERS = 5
"""Transparent curves that lie on one another look the same from so many on."""


def thinned_marks(
    x: Sequence[float], y: Sequence[float], preferred: Sequence[float], pixels: float
) -> list[int]:
    """Which of some marks that look the same to draw, in order.

    Args:
        x, y: where each is, in shares of the axes, 0 to 1.
        preferred: of those at one place, those are drawn of which this is least.
        pixels: side of the square in which one mark is drawn: for opaque marks the diameter; for
            transparent ones, which are told from several that lie on one another, half of it.
    """
    order = sorted(range(len(preferred)), key=lambda i: preferred[i])
    cells = [[(int(x[i] * WIDTH / pixels), int(y[i] * HEIGHT / pixels))] for i in order]
    return sorted(_kept(order, cells, 1))


def thinned_curves(curves: Sequence[Iterable[tuple[int, float]]]) -> list[int]:
    """Which curves to draw: those that somewhere pass where few of the others do.

    Args:
        curves: in the order in which they are preferred; each has points (epoch, share of the
            axis of errors, 0 to 1), and between two of them a line.
    """
    places = []
    for curve in curves:
        points = [(epoch, int(share * HEIGHT / 6)) for epoch, share in curve]
        places.append(list(pairwise(points)) or points)
    return _kept(range(len(places)), places, LAYERS)


def _kept(order: Sequence[int], cells: Sequence[Sequence[Hashable]], layers: int) -> list[int]:
    """Those of ``order`` that go through at least one cell with fewer than ``layers`` before."""
    drawn: Counter[Hashable] = Counter()
    kept = []
    for i, mine in zip(order, cells, strict=True):
        if any(drawn[cell] < layers for cell in mine):
            drawn.update(mine)
            kept.append(i)
    return kept


def shares(values: Sequence[float]) -> list[float]:
    """Where each value is between the least and the greatest, 0 to 1."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def said_of(drawn: int, there: int, what: str) -> str:
    """A sentence for a caption, where things were left out; else nothing."""
    if drawn == there:
        return ""
    return f" Where {what} lie on one another, some are left out: {drawn:,} of {there:,} are drawn."
