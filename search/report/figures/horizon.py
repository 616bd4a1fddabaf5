"""Do longer runs rank configurations otherwise? One line for each, from horizon to horizon."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from plotly import graph_objects as go

from tuneoff.metric import Metric
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import (
    GREY,
    Panels,
    arm_colours,
    arm_symbols,
    blank,
    shown,
    transparent,
)
from tuneoff.search.report.horizon import SURVIVORS
from tuneoff.search.results.horizon.records import CurveRanks, HorizonRuns, Sampled
from tuneoff.search.results.numbers import parameters

_PLACE: Final = "place, 1 is the best"
_FAINT: Final = 0.4  # opacity of what no arm recommends


def horizon_panels(data: ReportData) -> tuple[Panels, ...]:
    """The sample's errors at each horizon, and what the search's own curves say."""
    found = data.horizon
    if found is None:
        return ()
    panels, metric = [], data.results.metric
    runs = found.runs
    if runs is not None and (drawn := [one for one in runs.sample if len(one.errors) > 1]):
        whole = [one for one in drawn if all(one.errors.get(h) for h in runs.horizons)]
        panels.append(
            Panels(
                name="horizon",
                title="Would longer runs have ranked the configurations otherwise?",
                finding=" ".join(found.sentences[:1]),
                caption=" ".join((*found.sentences[1:], ""))
                + f"The figure shows {len(drawn)} of the {runs.population} configurations that the"
                " arms ran to their end, from the better, middle and worse third of each arm, each"
                f" trained anew to every horizon: their {metric.plural} and, of those that have all"
                " horizons,"
                " their places. Thick lines are what the arms recommend. Lines that cross are"
                " configurations that change places, of which near equals do so by luck. In"
                " correlations a configuration counts as often as there are such configurations.",
                figures=(
                    _figure(
                        runs, drawn, data.results.arms, f"{metric.on('validation')}{metric.in_unit}"
                    ),
                    _figure(runs, whole, data.results.arms, _PLACE),
                )[: 1 + bool(whole)],
                key=True,
            )
        )
    if found.curves:
        first = found.curves[0]
        panels.append(
            Panels(
                name="curve-ranks",
                title="How early do the search's own runs say how they end?",
                caption=f"The rank correlation of the {metric.on('validation')} after each epoch"
                " with that at"
                " the end of the same run, with its 95% interval. "
                + metric.in_words(SURVIVORS).format(
                    runs=first.runs, all=first.runs + first.stopped
                ),
                figures=(_curves_figure(found.curves),),
                finding=curves_finding(found.curves, metric),
            )
        )
    return tuple(panels)


def curves_finding(curves: Sequence[CurveRanks], metric: Metric) -> str:
    """The rank correlation after the first epoch that has one, and after the last."""
    known = [(c.epoch, c.spearman) for c in curves if c.spearman is not None]
    if not known:
        return ""
    (first, early), (last, late) = known[0], known[-1]
    said = (
        f"The {metric.plural} after epoch {first} rank the runs as the end does with a"
        " correlation of"
    )
    later = f", those after epoch {last} with {late:.2f}" if last > first else ""
    return f"{said} {early:.2f}{later}; 1 is the same order."


def _figure(
    runs: HorizonRuns, drawn: list[Sampled], arms: tuple[str, ...], measure: str
) -> go.Figure:
    """One line for each configuration, of its errors or its places."""
    figure = blank("epochs of the run", measure, height=520)
    colours, symbols = arm_colours(arms), arm_symbols(arms)
    picked = {key for picks in runs.picks.values() for key in picks.values()}
    places = _places(drawn, runs.horizons) if measure == _PLACE else {}
    for one in sorted(drawn, key=lambda one: one.key in picked):  # those on top
        epochs = sorted(one.errors)
        means = [fmean(one.errors[e]) for e in epochs]
        errors = runs.metric.drawn(means)
        is_picked = one.key in picked
        colour = colours.get(one.arm, "#7f7f7f")
        colour = colour if is_picked else transparent(colour, _FAINT)
        said = shown(f"{one.arm}: {parameters(one.params)}")
        figure.add_scatter(
            x=epochs,
            y=[places[one.key, e] for e in epochs] if places else errors,
            mode="lines+markers",
            name=shown(one.arm),
            text=[
                f"{said}<br>{e} epochs: {runs.metric.text(y)}"
                for e, y in zip(epochs, means, strict=True)
            ],
            line={"color": colour, "width": 3 if is_picked else 1.5},
            marker={"size": 8 if is_picked else 6, "symbol": symbols.get(one.arm, "circle")},
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(
        type="log",
        tickvals=list(runs.horizons),
        ticktext=[str(epochs) for epochs in runs.horizons],
    )
    if places:
        figure.update_yaxes(autorange="reversed")
    figure.update_layout(showlegend=False)
    return figure


def _places(drawn: list[Sampled], horizons: tuple[int, ...]) -> dict[tuple[str, int], int]:
    """By key and horizon: 1 for the lowest error."""
    return {
        (one.key, epochs): place
        for epochs in horizons
        for place, one in enumerate(sorted(drawn, key=lambda o: fmean(o.errors[epochs])), start=1)
    }


def _curves_figure(curves: tuple[CurveRanks, ...]) -> go.Figure:
    figure = blank("epoch of the run", "rank correlation with the end", height=360)
    known = [(c.epoch, c.spearman, c.interval) for c in curves if c.spearman is not None]
    x = [epoch for epoch, _, _ in known]
    bounded = [(epoch, around) for epoch, _, around in known if around is not None]
    figure.add_scatter(
        x=[epoch for epoch, _ in bounded] + [epoch for epoch, _ in reversed(bounded)],
        y=[round(a.low, 4) for _, a in bounded] + [round(a.high, 4) for _, a in reversed(bounded)],
        fill="toself",
        fillcolor=transparent("#7f7f7f", 0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=x,
        y=[round(value, 4) for _, value, _ in known],
        mode="lines+markers",
        line={"color": GREY, "width": 2},
        hovertemplate="after epoch %{x}: %{y:.2f}<extra></extra>",
    )
    figure.update_yaxes(range=[min(0.0, *(around.low for _, around in bounded), 0.0), 1.02])
    figure.update_xaxes(dtick=1 if len(x) < 20 else None)
    figure.update_layout(showlegend=False)
    return figure
