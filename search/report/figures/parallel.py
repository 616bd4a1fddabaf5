"""Full runs as lines across their hyperparameters, the best ones on top: parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import FAINT, GREY, Panels, blank, shown, transparent
from tuneoff.search.report.figures.parameters import explained, is_number
from tuneoff.search.results.records import TrialCurve

MOST_AXES: Final = 8
MOST_LINES: Final = 400
BEST_SHARE: Final = 0.1
_LOG_FROM: Final = 100
"""From this ratio of the greatest to the least value on, an axis is logarithmic."""
_BEST, _MIDDLE = "#d55e00", "#0072b2"
_NAME: Final = 14  # characters


@dataclass(frozen=True, slots=True)
class Axis:
    """One hyperparameter, or the error, with the place of each run on it.

    Attributes:
        places: 0 (bottom) to 1, one for each run.
        low, high: what its ends are called.
    """

    name: str
    places: tuple[float, ...]
    low: str
    high: str


def parallel_panels(data: ReportData) -> tuple[Panels, ...]:
    """One line for each full run, from hyperparameter to hyperparameter and to its error."""
    runs = sorted(
        (one for one in data.trials if one.state == "complete" and math.isfinite(_error(one))),
        key=_error,
    )
    axes = [axis for name in _names(runs) if (axis := _axis(name, runs)) is not None]
    if len(runs) < 10 or len(axes) < 2 or _error(runs[0]) == _error(runs[-1]):
        return ()
    chosen = sorted(axes, key=lambda axis: -explained(runs, axis.name))[:MOST_AXES]
    kept = [axis for axis in axes if axis in chosen]
    metric = data.results.metric
    best = max(3, round(BEST_SHARE * len(runs)))
    left = f" The {MOST_AXES} that go along most with the {metric.bare} are drawn, of {len(axes)}."
    return (
        Panels(
            name="parallel",
            title="Full runs across their hyperparameters",
            caption="Each line is one full run of any arm: its hyperparameters and, on the right,"
            f" its {metric.on('validation')}. Strong: the {best} best; blue: the others of the"
            " better half;"
            " grey: the worse half."
            + (left if len(axes) > MOST_AXES else "")
            + (f" {MOST_LINES} of {len(runs):,} runs are drawn." if len(runs) > MOST_LINES else ""),
            figures=(_figure(runs, [*kept, _error_axis(runs, metric)], best, metric),),
            finding=finding(runs, kept, best, metric),
        ),
    )


def finding(runs: Sequence[TrialCurve], axes: Sequence[Axis], best: int, metric: Metric) -> str:
    """On which hyperparameter the best runs lie closest together.

    Args:
        runs: best first; so many of the first are the best.
    """

    def width(axis: Axis) -> float:
        return max(axis.places[:best]) - min(axis.places[:best])

    narrow = min(axes, key=width)
    values = [run.params[narrow.name] for run in runs[:best]]
    if all(map(is_number, values)):
        where = f"between {min(values):.3g} and {max(values):.3g}"
        if min(values) == max(values):
            where = f"at {values[0]:.3g}"
    else:
        where = f"at {', '.join(sorted({str(value) for value in values}))}"
    until = "down to" if metric.maximised else "up to"
    text = (
        f"The {best} best of {counted(len(runs), 'full run')}, {until}"
        f" {metric.text(_error(runs[best - 1]))} {metric.bare}, have {narrow.name} {where}"
    )
    if not all(map(is_number, values)):
        return f"{text}."
    if width(narrow) > 0.7:
        return f"{text}: they lie all over the range, and none of the others is narrower."
    return f"{text}, {100 * width(narrow):.0f}% of the range that was tried."


def _names(runs: Sequence[TrialCurve]) -> list[str]:
    return list(dict.fromkeys(name for one in runs for name in one.params))


def _error(run: TrialCurve) -> float:
    return run.errors[max(run.errors)] if run.errors else math.nan


def _axis(name: str, runs: Sequence[TrialCurve]) -> Axis | None:
    """None for what some run lacks, and for what is the same in all."""
    if any(name not in run.params for run in runs):
        return None
    values = [run.params[name] for run in runs]
    if not all(map(is_number, values)):
        kinds = sorted({str(value) for value in values})
        if len(kinds) < 2:
            return None
        places = tuple(kinds.index(str(value)) / (len(kinds) - 1) for value in values)
        return Axis(name, places, kinds[0], kinds[-1])
    return _numbers(name, [float(value) for value in values])


def _numbers(name: str, values: Sequence[float], log_from: float = _LOG_FROM) -> Axis | None:
    low, high = min(values), max(values)
    if low == high:
        return None
    log = low > 0 and high >= log_from * low
    at = [math.log(value) for value in values] if log else values
    bottom, top = min(at), max(at)
    places = tuple((value - bottom) / (top - bottom) for value in at)
    return Axis(name, places, f"{low:.3g}", f"{high:.3g}")


def _error_axis(runs: Sequence[TrialCurve], metric: Metric) -> Axis:
    name, errors = f"{metric.bare}{metric.in_unit}", [metric.number(_error(run)) for run in runs]
    if metric.percent:
        errors = [max(error, 0.01) for error in errors]  # a logarithm has no zero
    found = _numbers(name, errors, log_from=10)
    return found or Axis(name, tuple(0.0 for _ in errors), "", "")


def _figure(
    runs: Sequence[TrialCurve], axes: Sequence[Axis], best: int, metric: Metric
) -> go.Figure:
    figure = blank("", "", height=400)
    half = max(best, len(runs) // 2)
    groups = (
        (range(half, len(runs)), transparent("#808080", 0.25), 1),
        (range(best, half), transparent(_MIDDLE, 0.35), 1),
        (range(best), transparent(_BEST, 0.9), 2),
    )
    room = {0: MOST_LINES // 2, 1: MOST_LINES // 4, 2: MOST_LINES // 4}
    for i, (some, colour, width) in enumerate(groups):
        drawn = some[:: max(1, math.ceil(len(some) / room[i]))]
        figure.add_scatter(
            **_joined(runs, axes, drawn, metric),
            mode="lines",
            line={"color": colour, "width": width},
            hovertemplate="%{text}<extra></extra>",
        )
    for x, axis in enumerate(axes):
        figure.add_shape(type="line", x0=x, x1=x, y0=0, y1=1, line={"color": GREY, "width": 1})
        for y, text, anchor in ((0, axis.low, "top"), (1, axis.high, "bottom")):
            figure.add_annotation(
                x=x, y=y, text=shown(text, _NAME), showarrow=False, yanchor=anchor,
                xanchor=_side(x, len(axes)), font={"size": 11},
            )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(axes))),
        ticktext=[shown(axis.name, _NAME) for axis in axes],
        range=[-0.15, len(axes) - 0.85],
        showgrid=False,
    )
    figure.update_yaxes(visible=False, range=[-0.09, 1.09])
    figure.update_layout(showlegend=False, margin={"l": 24, "r": 24, "t": 12})
    figure.update_xaxes(gridcolor=FAINT)
    return figure


def _side(x: int, count: int) -> str:
    return "left" if x == 0 else "right" if x == count - 1 else "center"


def _joined(
    runs: Sequence[TrialCurve], axes: Sequence[Axis], drawn: Sequence[int], metric: Metric
) -> dict[str, list[Any]]:
    """Lines as one trace with gaps: hundreds of traces would stall a browser."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for i in drawn:
        run = runs[i]
        x += [*range(len(axes)), None]
        y += [*(round(axis.places[i], 3) for axis in axes), None]
        said = f"{shown(run.arm)}/{run.repeat}#{run.number}: {metric.text(_error(run))}"
        text += [said] * (len(axes) + 1)
    return {"x": x, "y": y, "text": text}
