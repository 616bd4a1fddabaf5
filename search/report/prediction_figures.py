"""The report's figures of what a curve-gp arm's model predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from plotly import graph_objects as go

from tuneoff.search.report.figures import (
    FAINT,
    GREY,
    Panels,
    arm_colours,
    blank,
    percents,
    transparent,
)
from tuneoff.search.results.predictions.records import ArmPredictions, Axis, Coverage, Forecast, Map
from tuneoff.search.results.records import StudyResults, TrialCurve

# Both are ordered by lightness, for every kind of colour vision: light is little.
_EXPECTED: Final = "Viridis_r"
_UNSURE: Final = "Cividis_r"
_LEAST: Final = 0.05  # percent; what is less has the same colour
_ROUND: Final = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))  # ticks of one decade, coarse and fine
_HEIGHT: Final = 340


def prediction_panels(
    results: StudyResults, predictions: Sequence[ArmPredictions], trials: Sequence[TrialCurve]
) -> list[tuple[ArmPredictions, tuple[Panels, ...]]]:
    """Of each prediction: maps, forecasts and how often they held; some may have no figure yet.

    Args:
        results: of the study.
        predictions: of its curve-gp arms.
        trials: marked on the maps.
    """
    colours = arm_colours(results.arms)
    return [
        (
            prediction,
            (
                _map_panels(results, prediction, trials, f"maps-{i}"),
                _forecast_panels(prediction, colours[prediction.arm], f"forecasts-{i}"),
                _coverage_panels(prediction, colours[prediction.arm], f"coverage-{i}"),
            ),
        )
        for i, prediction in enumerate(predictions)
    ]


# Maps


def _map_panels(
    results: StudyResults, prediction: ArmPredictions, trials: Sequence[TrialCurve], name: str
) -> Panels:
    marked = [
        t for t in trials if (t.arm, t.repeat) == (prediction.arm, prediction.repeat) and t.errors
    ]
    expected = _map_figures(prediction, marked, "median", _EXPECTED, "expected error, %")
    unsure = _map_figures(prediction, marked, "width", _UNSURE, "width of the 90% interval, points")
    best = f"{prediction.arm}/{prediction.repeat}#{prediction.best}"
    which = f" of repeat {prediction.repeat}" if results.repeats > 1 else ""
    which += ", whose pick is the best," if which and prediction.recommended else ""
    known = "the best known configuration" if prediction.recommended else "what it expects most of"
    others = (
        " Two hyperparameters vary in each map, the others are those of the star."
        if len(prediction.params) > 2
        else ""
    )
    left_out = (
        f" Left out: {', '.join(prediction.left_out)}, to which it is least sensitive."
        if prediction.left_out
        else ""
    )
    return Panels(
        name=name,
        title=f"What {prediction.arm}'s model expects of a full run",
        caption=f"Validation error after {results.trial_epochs} epochs as the model{which}"
        f" predicts it from {_many(prediction.trials, 'trial')}: the median, and how wide the"
        " interval is that holds it with 90%, without the noise of a single run. Light is little;"
        f" colours follow the logarithm.{others} Star: {known}, {best}"
        f" ({_params(prediction.params)}). Circles: the other trials, wherever their other"
        " hyperparameters lie; filled, a full search run; hollow, one that was stopped early or"
        f" diverged.{left_out}",
        figures=(*expected, *unsure),
    )


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
        # A dark mark within a light one is seen on any colour.
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
    """Round values between powers of ten, few if there are enough; or else the ends."""
    decades = range(math.floor(low), math.ceil(high))
    for digits in _ROUND:
        ticks = [float(f"{digit * 10.0**decade:.2g}") for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            return ticks
    return [float(f"{10**end:.3g}") for end in (low, high)]


def _log_percent(error: float) -> float:
    return math.log10(max(100 * error, _LEAST))


def _hover(name: str, side: Axis) -> str:
    return "" if side.choices else f"%{{{name}:.4g}}: "


def _edges(side: Axis) -> Sequence[float]:
    """Of the cells; choices lie at 0, 1, ..."""
    return side.edges or [i - 0.5 for i in range(len(side.choices) + 1)]


def _place(trial: TrialCurve, side: Axis, spread: float) -> float:
    value = trial.params[side.name]
    if not side.choices:
        return float(value)
    # Trials with the same choice lie side by side.
    return side.choices.index(str(value)) + 0.7 * ((trial.number * spread + 0.5) % 1.0 - 0.5)


def _label(trial: TrialCurve) -> str:
    return f"#{trial.number}, {escape(trial.state)}, epoch {max(trial.errors)}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _params(params: Mapping[str, Any]) -> str:
    shown = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in params.values())
    return ", ".join(f"{name} = {value}" for name, value in zip(params, shown, strict=True))


# Forecasts


def _forecast_panels(prediction: ArmPredictions, colour: str, name: str) -> Panels:
    return Panels(
        name=name,
        title=f"What {prediction.arm}'s model expected, and what came",
        caption=f"Runs of repeat {prediction.repeat}: the best full ones, then those that came"
        " furthest of the rest. Grey: what was predicted when the run stood at the filled marks,"
        " the first time that the model was asked about it; median, 50% and 90% interval, the"
        " noise of a single run included. Coloured: what was measured. A prediction uses what had"
        " been trained by then, and of runs that others were at work on, what they had reached"
        " when they took them up.",
        figures=tuple(
            _forecast_figure(prediction, forecast, colour) for forecast in prediction.forecasts
        ),
    )


def _forecast_figure(prediction: ArmPredictions, forecast: Forecast, colour: str) -> go.Figure:
    run = f"{escape(prediction.arm)}/{prediction.repeat}#{forecast.trial}, {escape(forecast.state)}"
    figure = blank(f"epoch of {run}", "validation error, %", height=280)
    for low, high, alpha in (
        (forecast.low90, forecast.high90, 0.18),
        (forecast.low50, forecast.high50, 0.3),
    ):
        figure.add_scatter(
            x=[*forecast.epochs, *reversed(forecast.epochs)],
            y=percents([*high, *reversed(low)]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=transparent("#808080", alpha),
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=forecast.epochs,
        y=percents(forecast.median),
        customdata=list(zip(percents(forecast.low90), percents(forecast.high90), strict=True)),
        mode="lines",
        line={"color": "#808080", "width": 2, "dash": "dash"},
        hovertemplate="epoch %{x}: %{y:.2f}% predicted,"
        " 90% within %{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
    )
    measured = {e: v for e, v in sorted(forecast.errors.items()) if math.isfinite(v)}
    figure.add_scatter(
        x=list(measured),
        y=percents(measured.values()),
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={
            "size": 6,
            "symbol": ["circle" if e <= forecast.rung else "circle-open" for e in measured],
        },
        hovertemplate="epoch %{x}: %{y:.2f}%<extra></extra>",
    )
    figure.update_xaxes(range=[0.5, max(forecast.epochs) + 0.5])
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=False, margin={"t": 12})
    return figure


# Coverage


def _coverage_panels(prediction: ArmPredictions, colour: str, name: str) -> Panels:
    some = (
        f" Judged: {prediction.judged:,} of {prediction.possible:,} forecasts, evenly spaced."
        if prediction.judged < prediction.possible
        else ""
    )
    return Panels(
        name=name,
        title=f"How often {prediction.arm}'s predictions held",
        caption="Of the intervals predicted for the final error when a run stood at a rung, the"
        " share that held it; on the dashed line they are as wide as they should be, below it too"
        " narrow. A right model stays in the grey band 19 times in 20. All repeats together."
        " Only runs that came to their end can be judged, and those are the ones of which the"
        f" model expected most.{some}",
        figures=tuple(_coverage_figure(rung, colour) for rung in prediction.coverage),
    )


def _coverage_figure(rung: Coverage, colour: str) -> go.Figure:
    figure = blank("interval's probability, %", "held, %", height=300)
    levels = percents(rung.levels)

    def shares(counts: Sequence[int]) -> list[float]:
        return percents(count / rung.runs for count in counts)

    figure.add_scatter(
        x=[*levels, *reversed(levels)],
        y=[*shares(rung.upper), *reversed(shares(rung.lower))],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=FAINT,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=levels,
        y=shares(rung.held),
        mode="lines+markers",
        text=[f"{count} of {rung.runs}" for count in rung.held],
        line={"color": colour, "width": 2},
        marker={"size": 7},
        hovertemplate="%{x:.0f}% intervals: %{text} held<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        title={
            "text": f"after epoch {rung.epoch}, {_many(rung.runs, 'run')}",
            "font": {"size": 13},
        },
    )
    figure.update_xaxes(range=[-3, 103], dtick=20)
    figure.update_yaxes(range=[-3, 103], dtick=20)
    return figure
