"""The incumbent's error against the epochs spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.axes import Scale, choose_scale, set_axis, spread_labels
from tuneoff.search.report.figures.base import (
    GREY,
    Panels,
    arm_colours,
    arm_dashes,
    blank,
    shown,
    transparent,
)
from tuneoff.search.report.figures.readings import main_arms, names, so_far
from tuneoff.search.results.anytime import AnytimeCurve, anytime, spending_grid

_COLOURED: Final = 8  # curves with a colour; those of further arms are grey
_BANDS: Final = 4  # curves with a band
_LABELLED: Final = 6  # curves with a name at their end
_NAME: Final = 12  # characters of it
_AXIS: Final = {
    "linear": "",
    "log": " The error axis is logarithmic, on which these curves are told apart best.",
    "regret": " The curves end close together, so that the axis shows, on a logarithmic scale, how"
    " far they are above the lowest error of any run.",
}


def anytime_panels(data: ReportData, points: int = 200) -> tuple[Panels, ...]:
    """Each arm's mean incumbent with a band; thin from the arm's end to that of the last arm.

    Args:
        points: at most so many on each curve.
    """
    results, metric = data.results, data.results.metric
    grid = spending_grid(results, points)
    order = main_arms(data)
    curves = [curve for arm in order if (curve := anytime(results, arm, grid)).spent]
    if not curves:
        return ()
    end = max(curve.spent[-1] for curve in curves)
    scale = choose_scale(course(curves, end), _best(data), metric)
    figure = blank("epochs spent", scale.title("validation error"))
    figure.update_xaxes(range=[min(curve.spent[0] for curve in curves) - 0.01 * end, end])
    late = _late(curves, end, scale)
    floor, _ = set_axis(figure, scale, late)
    colours, dashes = arm_colours(results.arms), arm_dashes(results.arms)
    for place, curve in reversed([*enumerate(curves)]):  # the main ones on top
        coloured = place < _COLOURED
        if place >= _BANDS:
            curve = replace(curve, low=(), high=())
        colour = colours[curve.arm] if coloured else GREY
        _add_curve(figure, curve, scale, colour, dashes[curve.arm], end, floor, coloured)
    figure.update_layout(showlegend=False, margin={"t": 12})
    _label_ends(figure, curves[:_LABELLED], scale, colours, end)
    grey = ""
    if len(curves) > _COLOURED:
        grey = f" Grey: {counted(len(curves) - _COLOURED, 'more arm')}."
    panels = Panels(
        name="anytime",
        title=metric.in_words("Error reached after each epoch spent"),
        caption=metric.in_words(
            "The validation error of each arm's incumbent, the configuration that it would"
            " recommend at that point: mean over repeats, with a bootstrap 95% interval of the mean"
            f"{_of_some(len(curves))}. Epochs of pruned and lost attempts count. Thin: the arm has"
            " ended, and its last recommendation stands. Lower is better. The"
            " error axis is scaled to what follows the first tenth of the"
            f" epochs.{_AXIS[scale.kind]}"
        )
        + grey,
        figures=(figure,),
        key=1 < len(curves) <= _COLOURED,
        finding=anytime_finding(data),
    )
    return (panels,)


def _of_some(curves: int) -> str:
    return "" if curves <= _BANDS else f" of the {_BANDS} main arms"


def course(curves: Sequence[AnytimeCurve], end: int) -> list[float]:
    """What the curves are at a hundred even steps from the first tenth of the epochs to the end."""
    values = []
    for curve in curves:
        for step in range(10, 101):
            at = end * step / 100
            known = [e for n, e in zip(curve.spent, curve.mean, strict=True) if n <= at]
            if known:
                values.append(known[-1])
    return values or [curve.mean[-1] for curve in curves]


def anytime_finding(data: ReportData) -> str:
    """When the arm that ends lower was as good as the other one in the end; else how one did."""
    results, metric = data.results, data.results.metric
    arms = main_arms(data)
    grid = spending_grid(results, 1_000_000)  # all: epochs in a sentence are exact
    curves = [c for arm in arms if (c := anytime(results, arm, grid, intervals=False)).spent][:2]
    called = names(data)
    soon = so_far(data)
    if not curves:
        return ""
    if len(curves) == 1:
        only = curves[0]
        return (
            f"After {counted(only.spent[-1], 'epoch')} {called[only.arm].short} has come to"
            f" {metric.text(only.mean[-1])} {metric.on('validation')}{soon}, from"
            f" {metric.text(only.mean[0])} after"
            f" {counted(only.spent[0], 'epoch')}."
        )
    lower, other = sorted(curves, key=lambda curve: curve.mean[-1])
    target = other.mean[-1]
    theirs = first_at(other, target)
    ours = first_at(lower, target)
    level = "high" if metric.maximised else "low"
    ends = f"is no {metric.lower} so far" if soon else "ends there"
    if lower.mean[-1] == target:
        return (
            f"Both come to {metric.text(target)} {metric.on('validation')}{soon}:"
            f" {called[lower.arm].short}"
            f" after {counted(ours, 'epoch')}, {called[other.arm].short} after"
            f" {counted(theirs, 'epoch')}."
        )
    return (
        f"{called[other.arm].opening_again} comes to {metric.text(target)}"
        f" {metric.on('validation')} after"
        f" {counted(theirs, 'epoch')} and {ends};"
        f" {called[lower.arm].short} is as {level} after {counted(ours, 'epoch')} and"
        f" {'is now' if soon else 'ends'} at {metric.text(lower.mean[-1])}."
    )


def first_at(curve: AnytimeCurve, target: float) -> int:
    """Epochs after which a curve that ends no higher than ``target`` is first that low."""
    return next(n for n, e in zip(curve.spent, curve.mean, strict=True) if e <= target)


def _best(data: ReportData) -> float:
    """The lowest error after any full run, or any run while there is none."""
    steps = [step for run in data.results.runs for step in run.steps if not step.diverged]
    full = [step.error for step in steps if step.full]
    return min(full or [step.error for step in steps], default=0.0)


def _late(curves: Sequence[AnytimeCurve], end: int, scale: Scale) -> list[float]:
    """The errors that the axis must hold: of means, and of bands where a band is not far off."""
    found = course(curves, end)
    low, high = min(found), max(found)
    reach = high - low or 0.01
    for curve in curves[:_BANDS]:
        for spent, *edges in zip(curve.spent, *_band(curve), strict=True):
            if spent >= 0.1 * end:
                found += [min(high + reach / 4, max(low - reach / 4, edge)) for edge in edges]
    bounded = scale.is_log or scale.metric.percent
    return [max(error, low / 2) for error in found] if bounded else found


def _add_curve(
    figure: go.Figure,
    curve: AnytimeCurve,
    scale: Scale,
    colour: str,
    dash: str,
    end: int,
    floor: float,
    coloured: bool,
) -> None:
    def drawn(errors: Sequence[float]) -> list[float]:
        """In a band, what the axis cannot show lies below it."""
        return [max(scale.value(e), floor / 2) if scale.is_log else scale.value(e) for e in errors]

    if coloured:
        edge = {"width": 0, "shape": "hv", "color": colour}
        fill: dict[str, str] = {}
        for bound in _band(curve):
            figure.add_scatter(
                x=curve.spent,
                y=drawn(bound),
                mode="lines",
                line=edge,
                hoverinfo="skip",
                **fill,
            )
            fill = {"fill": "tonexty", "fillcolor": transparent(colour, 0.16)}
    figure.add_scatter(
        x=curve.spent,
        y=drawn(curve.mean),
        customdata=scale.metric.drawn(curve.mean, 3),
        mode="lines",
        name=shown(curve.arm),
        line={
            "color": colour,
            "width": 2.5 if coloured else 1,
            "shape": "hv",
            "dash": dash if coloured else "solid",
        },
        hovertemplate=f"{scale.metric.hover('customdata')} after %{{x}} epochs",
    )
    if curve.spent[-1] < end:
        figure.add_scatter(
            x=[curve.spent[-1], end],
            y=drawn([curve.mean[-1]] * 2),
            mode="lines",
            line={"color": colour, "width": 1},
            hoverinfo="skip",
        )


def _label_ends(
    figure: go.Figure,
    curves: Sequence[AnytimeCurve],
    scale: Scale,
    colours: dict[str, str],
    end: int,
) -> None:
    """Each arm's name, right of the end of its curve, in a margin that is wide enough."""
    axis = figure.layout.yaxis
    low, high = map(float, axis.range)

    def place(error: float) -> float:
        value = scale.value(error)
        if scale.is_log:
            value = math.log10(value) if value > 0 else low
        return (value - low) / (high - low)

    places = spread_labels([place(curve.mean[-1]) for curve in curves], 0.05)
    longest = 0
    for curve, at in zip(curves, places, strict=True):
        text = shown(curve.arm, _NAME)
        longest = max(longest, min(_NAME, len(curve.arm)))
        figure.add_annotation(
            text=f'<span style="color:{colours[curve.arm]}">●</span> {text}',
            x=end,
            y=at,
            yref="y domain",
            xanchor="left",
            yanchor="middle",
            showarrow=False,
            font={"size": 12},
        )
    figure.update_layout(margin={"r": 24 + 8 * longest})


def _band(curve: AnytimeCurve) -> tuple[tuple[float, ...], ...]:
    """(low, high), or nothing where a single repeat leaves no interval."""
    return (curve.low, curve.high) if curve.low else ()
