"""Maps of the errors that a curve-gp arm's model predicts, over pairs of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels, blank, percents
from tuneoff.search.report.wording import parameters
from tuneoff.search.results.predictions.records import ArmPredictions, Axis, Map
from tuneoff.search.results.records import TrialCurve
from tuneoff.search.results.verdict import counted

# Both colour scales are ordered by lightness, lighter is lower, so that every kind of colour vision
# can read them.
_MEDIAN_COLOURS: Final = "Viridis_r"
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
    median = _map_figures(prediction, marked, "median", _MEDIAN_COLOURS, "predicted error, %")
    width = _map_figures(
        prediction, marked, "width", _WIDTH_COLOURS, "width of the 90% interval, points"
    )
    return Panels(
        name=name,
        title=f"What {prediction.arm}'s model predicts for a full run",
        caption=_caption(data, prediction),
        figures=(*median, *width),
    )


def _caption(data: ReportData, prediction: ArmPredictions) -> str:
    which = f" of repeat {prediction.repeat}" if data.results.repeats > 1 else ""
    if which and prediction.recommended:
        which += ", whose recommendation is the best,"
    best = f"{prediction.arm}/{prediction.repeat}#{prediction.best}"
    star = "recommended" if prediction.recommended else "with the lowest predicted error"
    sentences = [
        f"Validation error after {counted(data.results.trial_epochs, 'epoch')}, as the"
        f" model{which} predicts it from {counted(prediction.trials, 'trial')}: first the median,"
        " then the width of the 90% interval, without the noise of a single run.",
        "Lighter is lower, on a logarithmic scale.",
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
    quantity: str,
    colours: str,
    title: str,
) -> list[go.Figure]:
    grids = [getattr(m, quantity) for m in prediction.maps]
    every = [_log_percent(value) for grid in grids for row in grid for value in row]
    scale = {
        "colorscale": colours,
        "zmin": min(every, default=0.0),
        "zmax": max(every, default=1.0),
        "colorbar": _colour_bar(title, min(every, default=0.0), max(every, default=1.0)),
    }
    return [
        _map_figure(prediction, m, grid, trials, scale)
        for m, grid in zip(prediction.maps, grids, strict=True)
    ]


def _map_figure(
    prediction: ArmPredictions,
    m: Map,
    grid: Sequence[Sequence[float]],
    trials: Sequence[TrialCurve],
    scale: Mapping[str, Any],
) -> go.Figure:
    figure = blank(escape(m.x.name), escape(m.y.name), height=_HEIGHT)
    figure.add_heatmap(
        x=_edges(m.x),
        y=_edges(m.y),
        z=[[round(_log_percent(value), 3) for value in row] for row in grid],
        customdata=[percents(row) for row in grid],
        hovertemplate=f"{_hover('x', m.x)}{_hover('y', m.y)}%{{customdata:.2f}}<extra></extra>",
        **scale,
    )
    for kind, some in (
        ("circle-open", [t for t in trials if t.state != "complete"]),
        ("circle", [t for t in trials if t.state == "complete"]),
        ("star", [t for t in trials if t.number == prediction.best]),
    ):
        some = [t for t in some if kind == "star" or t.number != prediction.best]
        # A dark mark on a larger light one can be seen on any colour.
        for ground in (True, False):
            figure.add_scatter(
                x=[_place(t, m.x, 0.0 if kind == "star" else 0.618) for t in some],
                y=[_place(t, m.y, 0.0 if kind == "star" else 0.755) for t in some],
                mode="markers",
                text=[_label(t) for t in some],
                marker=_mark(kind, ground),
                cliponaxis=False,
                hoverinfo="skip" if ground else None,
                hovertemplate=None if ground else "%{text}<extra></extra>",
            )
    figure.update_layout(showlegend=False, margin={"t": 8, "r": 14})
    _set_axis(figure.layout.xaxis, m.x)
    _set_axis(figure.layout.yaxis, m.y)
    return figure


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
        names = [escape(choice) for choice in side.choices]
        axis.update(tickvals=list(range(len(names))), ticktext=names)
    axis.update(range=ends, showgrid=False)


def _colour_bar(title: str, low: float, high: float) -> dict[str, Any]:
    ticks = _ticks(low, high)
    return {
        "orientation": "h",
        "title": {"text": title, "side": "top", "font": {"size": 12}},
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
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


def _log_percent(error: float) -> float:
    return math.log10(max(100 * error, _LOWEST))


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
    return f"#{trial.number}, {escape(trial.state)}, epoch {max(trial.errors)}"
