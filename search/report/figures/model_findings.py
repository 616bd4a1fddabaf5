"""What the figures of an arm's model show, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.results.predictions.records import Axis, Coverage, Forecast, Map


def forecast_finding(forecasts: Sequence[Forecast], metric: Metric) -> str:
    """How many of the errors measured later lay within the predicted intervals."""
    held = judged = 0
    for forecast in forecasts:
        for epoch, low, high in zip(forecast.epochs, forecast.low90, forecast.high90, strict=True):
            error = forecast.errors.get(epoch)
            if error is not None and math.isfinite(error):
                judged += 1
                held += low <= error <= high
    if not judged:
        return ""
    return (
        f"Of {counted(judged, metric.one)} measured after these predictions were made, {held:,} lay"
        " within the 90% interval."
    )


def coverage_finding(coverage: Sequence[Coverage]) -> str:
    """Whether the widest interval up to 90% held as often as it should, at the last rung."""
    if not coverage:
        return ""
    rung = coverage[-1]
    i = min(range(len(rung.levels)), key=lambda i: abs(rung.levels[i] - 0.9))
    held, low, high = rung.held[i], rung.lower[i], rung.upper[i]
    if held < low:
        read = "fewer than a calibrated model would: its intervals are too narrow"
    elif held > high:
        read = "more than a calibrated model would: its intervals are too wide"
    else:
        read = "as many as a calibrated model may"
    return (
        f"Of {counted(rung.runs, 'run')} predicted after epoch {rung.epoch}, {held:,} ended within"
        f" their {100 * rung.levels[i]:.0f}% interval, {read}."
    )


def map_finding(maps: Sequence[Map], metric: Metric) -> str:
    """Where the first map's lowest predicted error is."""
    if not maps or not maps[0].median or not maps[0].median[0]:
        return ""
    first = maps[0]
    lowest, row, column = min(
        (value, y, x) for y, line in enumerate(first.median) for x, value in enumerate(line)
    )
    return (
        f"On the first map the model predicts the {metric.lowest} {metric.bare},"
        f" {metric.text(lowest)},"
        f" at {_cell(first.x, column)} and {_cell(first.y, row)}."
    )


def _cell(axis: Axis, index: int) -> str:
    if axis.choices:
        return f"{axis.name} {axis.choices[index]}"
    low, high = axis.edges[index], axis.edges[index + 1]
    return f"{axis.name} {low:.3g} to {high:.3g}"
