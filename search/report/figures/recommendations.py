"""The error of what each arm recommends, repeat by repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.metric import Metric, capitalised
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import (
    GREY,
    Panels,
    arm_colours,
    arm_symbols,
    blank,
    shown,
)
from tuneoff.search.report.figures.readings import main_arms, names, so_far
from tuneoff.search.results.records import TEST, VALIDATION

MOST: Final = 12
"""Arms that are drawn."""

Errors = Mapping[str, Sequence[float | None]]


def recommendation_panels(data: ReportData) -> tuple[Panels, ...]:
    """Each repeat's recommendations, joined by a line across the arms; each arm's mean."""
    measure, errors = recommended_errors(data)
    metric = data.results.metric
    words = metric.in_words(measure)
    some = {arm for arm, found in errors.items() if any(e is not None for e in found)}
    every = [arm for arm in main_arms(data) if arm in some]
    if not every:
        return ()
    arms = [arm for arm in data.results.arms if arm in every[:MOST]]
    figure = blank("", f"{words} of the recommendation{metric.in_unit}", height=440)
    lines: list[tuple[float | None, float | None]] = []
    for repeat in range(data.results.repeats):
        found = ((i, errors[arm][repeat]) for i, arm in enumerate(arms))
        lines += [(i, error) for i, error in found if error is not None]
        lines.append((None, None))
    figure.add_scatter(
        x=[x for x, _ in lines],
        y=[None if y is None else metric.drawn([y])[0] for _, y in lines],
        mode="lines",
        line={"color": GREY, "width": 1},
        opacity=1 if data.results.repeats <= 20 else 0.4,
        hoverinfo="skip",
    )
    colours, symbols = arm_colours(data.results.arms), arm_symbols(data.results.arms)
    for index, arm in enumerate(arms):
        _add_recommendations(figure, index, arm, errors[arm], colours[arm], symbols[arm], metric)
    figure.update_xaxes(
        tickvals=list(range(len(arms))),
        ticktext=[shown(arm, 14) for arm in arms],
        range=[-0.5, len(arms) - 0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=False, margin={"t": 12})
    after = (
        " after full training"
        if measure == TEST
        else f", as not every one has a {metric.on('test')} yet"
    )
    left = f" Shown: {MOST} of {len(every)} arms, the main ones." if len(every) > MOST else ""
    panels = Panels(
        name="recommendations",
        title=f"{capitalised(words)} of each repeat's recommendation",
        caption=f"One mark for each repeat: the {words} of the configuration that the arm"
        f" recommended{after}. Lines join the recommendations of the same repeat; bars are"
        f" means.{left}",
        figures=(figure,),
        finding=recommendation_finding(data),
    )
    return (panels,)


def recommended_errors(data: ReportData) -> tuple[str, Errors]:
    """The measure, and by arm one error for each repeat: test errors once all are known."""
    tested = all(
        run.recommendation.test_error is not None for run in data.results.runs if run.recommendation
    )
    arms = data.comparison.arms
    if tested:
        return TEST, {arm.arm: arm.test_errors for arm in arms}
    return VALIDATION, {arm.arm: arm.validation_errors for arm in arms}


def recommendation_finding(data: ReportData) -> str:
    """Which arm's picks have the lowest mean error; that says nothing about luck, which is said."""
    measure, errors = recommended_errors(data)
    known = {
        arm: [error for error in errors.get(arm, ()) if error is not None]
        for arm in main_arms(data)
    }
    means = {arm: fmean(found) for arm, found in known.items() if found}
    if not means:
        return ""
    called = names(data)
    metric = data.results.metric
    best = min(means, key=lambda arm: means[arm])
    mine = known[best]
    reach = f"{counted(len(mine), 'repeat')}"
    if len(mine) > 1 and metric.text(min(mine)) != metric.text(max(mine)):
        reach = f"{metric.text(min(mine))} to {metric.text(max(mine))} over {reach}"
    what = metric.on("test" if measure == TEST else "validation")
    if len(means) == 1:
        return (
            f"The picks of {called[best].short} have a mean {what} of"
            f" {metric.text(means[best])}{so_far(data)} ({reach})."
        )
    second = min((arm for arm in means if arm != best), key=lambda arm: means[arm])
    if metric.text(means[second]) == metric.text(means[best]):
        return (
            f"The picks of {called[best].short} and {called[second].short} have the {metric.lowest}"
            " mean"
            f" {what}{so_far(data)}, {metric.text(means[best])} both."
        )
    return (
        f"The picks of {called[best].short} have the {metric.lowest} mean {what}{so_far(data)},"
        f" {metric.text(means[best])} ({reach}); {called[second].short} comes next with"
        f" {metric.text(means[second])}. Whether that is more than luck, only the comparison says."
    )


def _add_recommendations(
    figure: go.Figure,
    index: int,
    arm: str,
    errors: Sequence[float | None],
    colour: str,
    symbol: str,
    metric: Metric,
) -> None:
    found = [(repeat, error) for repeat, error in enumerate(errors) if error is not None]
    figure.add_scatter(
        x=[index] * len(found),
        y=metric.drawn(error for _, error in found),
        mode="markers",
        name=shown(arm),
        text=[f"repeat {repeat}" for repeat, _ in found],
        marker={
            "color": colour,
            "size": 9 if len(found) <= 30 else 6,
            "opacity": 0.85,
            "symbol": symbol,
        },
        hovertemplate=f"%{{text}}: {metric.hover()}",
    )
    (mean,) = metric.drawn([fmean(error for _, error in found)])
    figure.add_scatter(
        x=[index - 0.22, index + 0.22],
        y=[mean, mean],
        mode="lines",
        name=f"{shown(arm)}, mean",
        line={"color": colour, "width": 4},
        hovertemplate=f"mean: {metric.hover()}",
    )
