"""Which axis shows a figure's errors best, and the round numbers on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from plotly import graph_objects as go

from tuneoff.metric import ERROR, Metric

PREFERENCE: Final = 1.25
"""How much better a less usual axis must show the values to be taken."""
_ROUND: Final = (
    (1,),
    (1, 3),
    (1, 2, 5),
    tuple(range(1, 10)),
    tuple(n / 10 for n in range(10, 100)),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis of errors.

    Attributes:
        kind: "linear" and "log": of the error, in the metric's unit. "regret": logarithmic, of the
            error minus ``best``, in points.
        best: the lowest error of all, as it is stored.
        metric: what the errors are.
    """

    kind: Literal["linear", "log", "regret"]
    best: float = 0.0
    metric: Metric = ERROR

    @property
    def is_log(self) -> bool:
        return self.kind != "linear"

    def value(self, error: float) -> float:
        """What is drawn for an error: in the metric's unit, or how far it is from the best."""
        if self.kind == "regret":
            return float(f"{self.metric.factor * (error - self.best):.5g}")
        return float(f"{self.metric.number(error):.5g}")

    def title(self, measure: str) -> str:
        """The axis's title, for a measure such as "validation error"."""
        measure, metric = self.metric.in_words(measure), self.metric
        if self.kind == "regret":
            side = "below" if metric.maximised else "above"
            return f"{measure} {side} {metric.text(self.best)}{metric.in_points} (log)"
        return f"{measure}{metric.in_unit}{' (log)' if self.is_log else ''}"


def choose_scale(
    values: Sequence[float], best: float | None = None, metric: Metric = ERROR
) -> Scale:
    """The axis on which the values are spread most evenly.

    Judged by how much of the axis the middle half of the values takes up. A linear axis is what
    readers know best, and a logarithm of the error comes second: the next is taken only if it is
    better by the factor ``PREFERENCE``, and possible, which it is where all values are above zero,
    or above ``best``.

    Args:
        values: errors, as they are stored.
        best: the lowest error of all; None where the axis may not be one of regret.
        metric: what the errors are. A value that is maximised is never shown on a logarithmic axis.
    """
    scale, shown = Scale("linear", metric=metric), _evenness(values)
    low = min(values, default=0.0)
    if low > 1e-6 and not metric.maximised:
        evenness = _evenness([math.log(value) for value in values])
        if evenness > PREFERENCE * shown:
            scale, shown = Scale("log", metric=metric), evenness
    if best is not None and low - best > 1e-6:
        evenness = _evenness([math.log(value - best) for value in values])
        if evenness > PREFERENCE * shown:
            scale = Scale("regret", best, metric)
    return scale


def set_axis(figure: go.Figure, scale: Scale, errors: Sequence[float]) -> tuple[float, float]:
    """Give the vertical axis this scale, wide enough for these errors; its ends, as drawn."""
    values = [scale.value(error) for error in errors]
    if not scale.is_log:
        low, high = min(values), max(values)
        pad = 0.05 * (high - low) + (0.02 if scale.metric.percent else 1e-3 * abs(high))
        pad = pad or 0.02  # all of them are zero
        ends = max(low - pad, -0.02 * (high - low) if low >= 0 else low - pad), high + pad
        figure.update_yaxes(range=list(ends))
        return ends
    logs = [math.log10(value) for value in values if value > 0]
    pad = 0.05 * (max(logs) - min(logs)) + 0.01
    low, high = min(logs) - pad, max(logs) + pad
    ticks = log_ticks(low, high)
    figure.update_yaxes(
        type="log",
        range=[low, high],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    return 10**low, 10**high


def log_ticks(low: float, high: float) -> list[float]:
    """Three or more round values from 10**low to 10**high; the ends if there are not as many."""
    decades = range(math.floor(low), math.ceil(high))
    for digits in _ROUND:
        ticks = [float(f"{digit * 10.0**decade:.3g}") for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            return ticks[:: math.ceil(len(ticks) / 8)]
    return [float(f"{10**end:.3g}") for end in (low, high)]


def spread_labels(places: Sequence[float], least: float) -> list[float]:
    """Places, 0 to 1, moved until neighbours are at least so far apart; all of them must fit."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    found = [min(1.0, max(0.0, place)) for place in places]
    for below, above in pairwise(order):
        found[above] = max(found[above], found[below] + least)
    end = 1.0
    for i in reversed(order):
        found[i] = min(found[i], end)
        end = found[i] - least
    return found


def _evenness(values: Sequence[float]) -> float:
    """The share of the range from least to greatest that the middle half of the values takes."""
    if not values or max(values) == min(values):
        return 0.0
    first, third = np.quantile(values, [0.25, 0.75])
    return float((third - first) / (max(values) - min(values)))
