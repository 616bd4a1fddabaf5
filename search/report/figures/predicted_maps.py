"""Maps of the errors that a curve-gp arm's model predicts, over pairs of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from operator import mul
from typing import Any, Final, Literal

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.metric import Metric, capitalised
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels, blank, rounded, shown
from tuneoff.search.report.figures.model_findings import map_finding
from tuneoff.search.report.figures.thinning import shares, thinned_marks
from tuneoff.search.results.numbers import parameters
from tuneoff.search.results.predictions.records import ArmPredictions, Axis, Map
from tuneoff.search.results.records import TrialCurve

# Both colour scales are ordered by lightness, lighter is better, so that every kind of vision for
# colours can read them.
_MEDIAN_COLOURS: Final = ("Viridis_r", "Viridis")  # lighter is better, whatever is good
_WIDTH_COLOURS: Final = "Cividis_r"
_LOWEST: Final = 0.05  # percent; lower values have its colour, as a logarithm has no zero
_ROUND: Final = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))  # ticks of one decade, coarse and fine
_HEIGHT: Final = 340  # pixels


def map_panels(data: ReportData, prediction: ArmPredictions, name: str) -> Panels:
    """For each pair of hyperparameters, the predicted error and the width of its interval."""
    marked = [
        trial
        for trial in data.trials
        if (trial.arm, trial.repeat) == (prediction.arm, prediction.repeat) and trial.errors
    ]
    metric = data.results.metric
    median, width = (
        _map_figures(prediction, marked, quantity, metric) for quantity in ("median", "width")
    )
    return Panels(
        name=name,
        title=f"What {prediction.arm}'s model predicts for a full run",
        caption=_caption(data, prediction),
        figures=(*median, *width),
        finding=map_finding(prediction.maps, metric),
    )


def _caption(data: ReportData, prediction: ArmPredictions) -> str:
    which = f" of repeat {prediction.repeat}" if data.results.repeats > 1 else ""
    if which and prediction.recommended:
        which += ", whose recommendation is the best,"
    best = f"{prediction.arm}/{prediction.repeat}#{prediction.best}"
    metric = data.results.metric
    star = metric.in_words("with the lowest predicted error")
    star = "recommended" if prediction.recommended else star
    light = "Lighter is higher" if metric.maximised else "Lighter is lower"
    sentences = [
        f"{capitalised(metric.on('validation'))} after"
        f" {counted(data.results.trial_epochs, 'epoch')}, as the"
        f" model{which} predicts it from {counted(prediction.trials, 'trial')}: first the median,"
        " then the width of the 90% interval, without the noise of a single run.",
        f"{light}, on a logarithmic scale." if metric.percent else f"{light}.",
        f"Star: the configuration {star}, {best} ({parameters(prediction.params)}).",
        "Circles: the other trials, wherever their other hyperparameters lie; filled, a full"
        " search run; hollow, a run that was stopped early or diverged.",
    ]
    if len(prediction.params) > 2:
        sentences.insert(
            2, "Two hyperparameters vary in each map; the others have the values of the star."
        )
    if prediction.left_out:
        sentences.append(
            f"Not shown: {', '.join(prediction.left_out)}, to which the prediction is least"
            " sensitive."
        )
    return " ".join(sentences)


def _map_figures(
    prediction: ArmPredictions,
    trials: Sequence[TrialCurve],
    quantity: Literal["median", "width"],
    metric: Metric,
) -> list[go.Figure]:
    grids = [getattr(m, quantity) for m in prediction.maps]
    if quantity == "median":
        title = f"predicted {metric.bare}{metric.in_unit}"
        shown_as, colours = metric.number, _MEDIAN_COLOURS[metric.maximised]
    else:
        title = f"width of the 90% interval{metric.in_points}"
        shown_as, colours = partial(mul, metric.factor), _WIDTH_COLOURS
    grids = [[[shown_as(value) for value in row] for row in grid] for grid in grids]
    every = [_height(value, metric) for grid in grids for row in grid for value in row]
    low, high = min(every, default=0.0), max(every, default=1.0)
    scale = {
        "colorscale": colours,
        "zmin": low,
        "zmax": high,
        "colorbar": _colour_bar(title, low, high, is_log=metric.percent),
    }
    return [
        _map_figure(prediction, m, grid, trials, scale, metric)
        for m, grid in zip(prediction.maps, grids, strict=True)
    ]


def _map_figure(
    prediction: ArmPredictions,
    m: Map,
    grid: Sequence[Sequence[float]],
    trials: Sequence[TrialCurve],
    scale: Mapping[str, Any],
    metric: Metric,
) -> go.Figure:
    # A parameter with a condition plays no part in some of them.
    trials = [t for t in trials if {m.x.name, m.y.name} <= t.params.keys()]
    digits = ".2f" if metric.percent else ".4g"
    figure = blank(shown(m.x.name), shown(m.y.name), height=_HEIGHT)
    figure.add_heatmap(
        x=_edges(m.x),
        y=_edges(m.y),
        z=[[_rounded(_height(value, metric), metric) for value in row] for row in grid],
        customdata=[[_rounded(value, metric, 4) for value in row] for row in grid],
        hovertemplate=f"{_hover('x', m.x)}{_hover('y', m.y)}%{{customdata:{digits}}}"
        "<extra></extra>",
        **scale,
    )
    for kind, some in (
        ("circle-open", [t for t in trials if t.state != "complete"]),
        ("circle", [t for t in trials if t.state == "complete"]),
        ("star", [t for t in trials if t.number == prediction.best]),
    ):
        some = [t for t in some if kind == "star" or t.number != prediction.best]
        some = _thinned(some, m)
        # A dark mark on a larger light one can be seen on any colour.
        for ground in (True, False):
            figure.add_scatter(
                x=rounded(_place(t, m.x, 0.0 if kind == "star" else 0.618) for t in some),
                y=rounded(_place(t, m.y, 0.0 if kind == "star" else 0.755) for t in some),
                mode="markers",
                text=None if ground else [_label(t) for t in some],
                marker=_mark(kind, ground),
                cliponaxis=False,
                hoverinfo="skip" if ground else None,
                hovertemplate=None if ground else "%{text}<extra></extra>",
            )
    figure.update_layout(showlegend=False, margin={"t": 8, "r": 14})
    _set_axis(figure.layout.xaxis, m.x)
    _set_axis(figure.layout.yaxis, m.y)
    return figure


def _thinned(trials: Sequence[TrialCurve], m: Map) -> list[TrialCurve]:
    """The trials whose marks are drawn: no two in one place."""
    x, y = (shares([_share(t, side) for t in trials]) for side in (m.x, m.y))
    errors = [t.errors[max(t.errors)] for t in trials]
    return [trials[i] for i in thinned_marks(x, y, errors, pixels=8)]


def _share(trial: TrialCurve, side: Axis) -> float:
    place = _place(trial, side, 0.618)
    return math.log(place) if side.log else place


def _mark(kind: str, ground: bool) -> dict[str, Any]:
    if kind == "star":
        size, colour = (17, "#ffffff") if ground else (12, "#d55e00")
        return {"symbol": "star", "size": size, "color": colour}
    if kind == "circle":
        return {"symbol": "circle", "size": 8 if ground else 5, "color": _dark_on_light(ground)}
    width = 3.2 if ground else 1.4
    return {
        "symbol": "circle-open",
        "size": 7,
        "line": {"width": width, "color": _dark_on_light(ground)},
        "color": _dark_on_light(ground),
    }


def _dark_on_light(ground: bool) -> str:
    return "#ffffff" if ground else "#111111"


def _set_axis(axis: Any, side: Axis) -> None:
    ends = _edges(side)[0], _edges(side)[-1]
    if side.log:
        ends = math.log10(ends[0]), math.log10(ends[1])
        axis.update(type="log", dtick=1, exponentformat="power")
        if ends[1] - ends[0] < 2:
            ticks = _ticks(*ends)
            axis.update(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    elif side.choices:
        names = [shown(choice) for choice in side.choices]
        axis.update(tickvals=list(range(len(names))), ticktext=names)
    axis.update(range=ends, showgrid=False)


def _colour_bar(title: str, low: float, high: float, *, is_log: bool) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    if is_log:
        ticks = _ticks(low, high)
        marks["tickvals"] = [math.log10(tick) for tick in ticks]
        marks["ticktext"] = [f"{tick:g}" for tick in ticks]
    return {
        "orientation": "h",
        "title": {"text": title, "side": "top", "font": {"size": 12}},
        **marks,
        "thickness": 10,
        "len": 1.0,
        "x": 0.5,
        "y": 1.02,
        "yanchor": "bottom",
        "ypad": 3,
        "outlinewidth": 0,
    }


def _ticks(low: float, high: float) -> list[float]:
    """Three or more round values from 10**low to 10**high; the ends if there are not as many."""
    decades = range(math.floor(low), math.ceil(high))
    for digits in _ROUND:
        ticks = [float(f"{digit * 10.0**decade:.2g}") for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            return ticks
    return [float(f"{10**end:.3g}") for end in (low, high)]


def _height(value: float, metric: Metric) -> float:
    """Where a value as it is shown lies on the colour scale, logarithmic for percentages."""
    return math.log10(max(value, _LOWEST)) if metric.percent else value


def _rounded(value: float, metric: Metric, digits: int = 3) -> float:
    return round(value, digits) if metric.percent else float(f"{value:.6g}")


def _hover(name: str, side: Axis) -> str:
    return "" if side.choices else f"%{{{name}:.4g}}: "


def _edges(side: Axis) -> Sequence[float]:
    """The boundaries of a map's cells; choices lie at 0, 1, 2 and so on."""
    return side.edges or [i - 0.5 for i in range(len(side.choices) + 1)]


def _place(trial: TrialCurve, side: Axis, spread: float) -> float:
    value = trial.params[side.name]
    if not side.choices:
        return float(value)
    # Trials with the same choice lie side by side.
    return side.choices.index(str(value)) + 0.7 * ((trial.number * spread + 0.5) % 1.0 - 0.5)


def _label(trial: TrialCurve) -> str:
    return f"#{trial.number}, {shown(trial.state)}, epoch {max(trial.errors)}"
