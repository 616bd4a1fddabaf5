"""Learning curves that a curve-gp arm's model predicted, and what was measured."""

from __future__ import annotations

import math
from html import escape

from plotly import graph_objects as go

from tuneoff.search.report.figures.base import Panels, blank, percents, transparent
from tuneoff.search.results.predictions.records import ArmPredictions, Forecast


def forecast_panels(prediction: ArmPredictions, colour: str, name: str) -> Panels:
    """One figure for each forecast: the predicted curve with intervals, and the measured one."""
    return Panels(
        name=name,
        title=f"What {prediction.arm}'s model predicted, and what was measured",
        caption=f"Runs of repeat {prediction.repeat}: the best full runs, then the stopped ones"
        " that had come furthest. Grey: the prediction made after the filled marks, when the policy"
        " first used its model on this run; median, 50% and 90% interval, with the noise of a"
        " single run. Coloured: the measured error. A prediction uses only what had been trained by"
        " then; of a run that another worker was training at that moment, it uses what was known"
        " before that worker began.",
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
