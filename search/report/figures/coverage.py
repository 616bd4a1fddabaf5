"""How often the intervals that a curve-gp arm's model predicted held the error."""

from __future__ import annotations

from collections.abc import Sequence

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.report.figures.base import FAINT, GREY, Panels, blank
from tuneoff.search.report.figures.model_findings import coverage_finding
from tuneoff.search.report.tables import coverage_table
from tuneoff.search.results.numbers import in_percent
from tuneoff.search.results.predictions.records import ArmPredictions, Coverage


def coverage_panels(prediction: ArmPredictions, colour: str, name: str, metric: Metric) -> Panels:
    """One figure for each rung: the share of intervals that held, against their probability."""
    some = (
        f" Judged: {prediction.judged:,} of {prediction.possible:,} forecasts, evenly spaced."
        if prediction.judged < prediction.possible
        else ""
    )
    return Panels(
        name=name,
        title=f"How often {prediction.arm}'s prediction intervals held",
        caption=f"The share of the intervals, predicted after so many epochs for the {metric.bare}"
        " of the"
        " full run, that held it. On the dashed line the intervals are as wide as they should be;"
        " below it they are too narrow. At each probability, a calibrated model lies within the"
        " grey band 19 times in 20. All repeats together. Only runs that came to their end can be"
        f" judged, and those are the runs for which the model predicted the {metric.lowest}"
        f" {metric.plural}.{some}",
        figures=tuple(_coverage_figure(rung, colour) for rung in prediction.coverage),
        table=coverage_table(prediction),
        finding=coverage_finding(prediction.coverage),
    )


def _coverage_figure(rung: Coverage, colour: str) -> go.Figure:
    figure = blank("interval's probability, %", "held, %", height=300)
    levels = [in_percent(level) for level in rung.levels]

    def shares(counts: Sequence[int]) -> list[float]:
        return [in_percent(count / rung.runs) for count in counts]

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
            "text": f"after epoch {rung.epoch}, {counted(rung.runs, 'run')}",
            "font": {"size": 13},
        },
    )
    figure.update_xaxes(range=[-3, 103], dtick=20)
    figure.update_yaxes(range=[-3, 103], dtick=20)
    return figure
