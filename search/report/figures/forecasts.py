"""Learning curves that a curve-gp arm's model predicted, and what was measured."""

from __future__ import annotations

import math

from plotly import graph_objects as go

from tuneoff.metric import Metric
from tuneoff.search.report.figures.base import Panels, blank, shown, transparent
from tuneoff.search.report.figures.model_findings import forecast_finding
from tuneoff.search.results.predictions.records import ArmPredictions, Forecast


def forecast_panels(prediction: ArmPredictions, colour: str, name: str, metric: Metric) -> Panels:
    """One figure for each forecast: the predicted curve with intervals, and the measured one."""
    return Panels(
        name=name,
        title=f"What {prediction.arm}'s model predicted, and what was measured",
        caption=f"Runs of repeat {prediction.repeat}: the best full runs, then the stopped ones"
        " that had come furthest. Grey: the prediction made after the filled marks, when the policy"
        " first used its model on this run; median, 50% and 90% interval, with the noise of a"
        f" single run. Coloured: the measured {metric.bare}. A prediction uses only what had been"
        " trained by"
        " then; of a run that another worker was training at that moment, it uses what was known"
        " before that worker began.",
        figures=tuple(
            _forecast_figure(prediction, forecast, colour, metric)
            for forecast in prediction.forecasts
        ),
        finding=forecast_finding(prediction.forecasts, metric),
    )


def _forecast_figure(
    prediction: ArmPredictions, forecast: Forecast, colour: str, metric: Metric
) -> go.Figure:
    digits = ".2f" if metric.percent else ".4g"
    run = f"{shown(prediction.arm)}/{prediction.repeat}#{forecast.trial}, {shown(forecast.state)}"
    figure = blank(f"epoch of {run}", f"{metric.on('validation')}{metric.in_unit}", height=280)
    for low, high, alpha in (
        (forecast.low90, forecast.high90, 0.18),
        (forecast.low50, forecast.high50, 0.3),
    ):
        figure.add_scatter(
            x=[*forecast.epochs, *reversed(forecast.epochs)],
            y=metric.drawn([*high, *reversed(low)]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=transparent("#808080", alpha),
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=forecast.epochs,
        y=metric.drawn(forecast.median),
        customdata=list(
            zip(metric.drawn(forecast.low90), metric.drawn(forecast.high90), strict=True)
        ),
        mode="lines",
        line={"color": "#808080", "width": 2, "dash": "dash"},
        hovertemplate=f"epoch %{{x}}: {metric.hover()} predicted,"
        f" 90% within %{{customdata[0]:{digits}}} to %{{customdata[1]:{digits}}}<extra></extra>",
    )
    measured = {e: v for e, v in sorted(forecast.errors.items()) if math.isfinite(v)}
    figure.add_scatter(
        x=list(measured),
        y=metric.drawn(measured.values()),
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={
            "size": 6,
            "symbol": ["circle" if e <= forecast.rung else "circle-open" for e in measured],
        },
        hovertemplate=f"epoch %{{x}}: {metric.hover()}<extra></extra>",
    )
    figure.update_xaxes(range=[0.5, max(forecast.epochs) + 0.5])
    if metric.percent and not metric.maximised:
        figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=False, margin={"t": 12})
    return figure
