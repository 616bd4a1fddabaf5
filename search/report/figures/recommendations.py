"""The error of what each arm recommends, repeat by repeat."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import (
    GREY,
    Panels,
    arm_colours,
    arm_symbols,
    blank,
    percents,
)
from tuneoff.search.results.records import TEST, VALIDATION, ArmSummary, StudyResults


def recommendation_panels(data: ReportData) -> tuple[Panels, ...]:
    """Each repeat's recommendations, joined by a line across the arms; each arm's mean."""
    results, comparison = data.results, data.comparison
    tested = all(
        run.recommendation.test_error is not None for run in results.runs if run.recommendation
    )
    measure = TEST if tested else VALIDATION
    errors = {a.arm: a.test_errors if tested else a.validation_errors for a in comparison.arms}
    figure = blank("", f"{measure} of the recommendation, %", height=440)
    lines: list[tuple[float | None, float | None]] = []
    for repeat in range(results.repeats):
        found = ((i, errors[arm][repeat]) for i, arm in enumerate(results.arms))
        lines += [(i, 100 * error) for i, error in found if error is not None]
        lines.append((None, None))
    figure.add_scatter(
        x=[x for x, _ in lines],
        y=[y for _, y in lines],
        mode="lines",
        line={"color": GREY, "width": 1},
        showlegend=False,
        hoverinfo="skip",
    )
    for index, arm in enumerate(comparison.arms):
        _add_recommendations(figure, results, index, arm, errors[arm.arm])
    figure.update_xaxes(
        tickvals=list(range(len(results.arms))),
        ticktext=[escape(arm) for arm in results.arms],
        range=[-0.5, len(results.arms) - 0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=False)
    found_any = any(arm.repeats for arm in comparison.arms)
    after = " after full training" if tested else ", as not every one has a test error yet"
    panels = Panels(
        name="recommendations",
        title=f"{measure.capitalize()} of each repeat's recommendation",
        caption=f"One mark for each repeat: the {measure} of the configuration that the arm"
        f" recommended{after}. Lines join the recommendations of the same repeat; bars are means.",
        figures=(figure,) if found_any else (),
    )
    return (panels,)


def _add_recommendations(
    figure: go.Figure,
    results: StudyResults,
    index: int,
    arm: ArmSummary,
    errors: Sequence[float | None],
) -> None:
    found = [(repeat, error) for repeat, error in enumerate(errors) if error is not None]
    if not found:
        return
    colour = arm_colours(results.arms)[arm.arm]
    figure.add_scatter(
        x=[index] * len(found),
        y=percents([error for _, error in found]),
        mode="markers",
        name=escape(arm.arm),
        text=[f"repeat {repeat}" for repeat, _ in found],
        marker={"color": colour, "size": 9, "symbol": arm_symbols(results.arms)[arm.arm]},
        hovertemplate="%{text}: %{y:.2f}%",
    )
    mean = 100 * sum(error for _, error in found) / len(found)
    figure.add_scatter(
        x=[index - 0.16, index + 0.16],
        y=[mean, mean],
        mode="lines",
        name=f"{escape(arm.arm)}, mean",
        line={"color": colour, "width": 4},
        hovertemplate="mean: %{y:.2f}%",
    )
