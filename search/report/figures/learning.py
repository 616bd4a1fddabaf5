"""Every trial's learning curve, by arm."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import (
    Panels,
    arm_colours,
    blank,
    label,
    measured,
    percents,
    transparent,
)
from tuneoff.search.results.records import TrialCurve


def learning_panels(data: ReportData) -> tuple[Panels, ...]:
    """One figure for each arm: every trial's curve, those of the recommended ones in bold."""
    results = data.results
    with_errors = measured(data.trials)
    every = [error for trial in with_errors for error in trial.errors.values()]
    recommended = {
        (run.arm, run.repeat, run.recommendation.trial)
        for run in results.runs
        if run.recommendation
    }
    figures = []
    for arm in results.arms:
        mine = [trial for trial in with_errors if trial.arm == arm]
        if not mine:
            continue
        figure = blank(f"epoch ({escape(arm)})", "validation error, %", height=340)
        colour = arm_colours(results.arms)[arm]
        for bold in (False, True):
            some = [t for t in mine if ((t.arm, t.repeat, t.number) in recommended) is bold]
            figure.add_scatter(
                **_joined(some),
                mode="lines+markers",
                name="recommended" if bold else "other trials",
                line={
                    "color": colour if bold else transparent(colour, 0.3),
                    "width": 2.5 if bold else 1,
                },
                marker={"size": 4 if bold else 3},
                hovertemplate="%{text}<br>epoch %{x}: %{y:.2f}%<extra></extra>",
            )
        pad = 0.04 * (max(every) - min(every)) + 0.002
        figure.update_yaxes(range=[100 * (min(every) - pad), 100 * (max(every) + pad)])
        figure.update_xaxes(range=[0.5, results.trial_epochs + 0.5])
        figure.update_layout(showlegend=False, margin={"t": 12})
        figures.append(figure)
    panels = Panels(
        name="learning",
        title="Learning curves",
        caption="Validation error after each epoch of every trial, by arm. Bold: the trials that"
        " the arm recommends, one for each repeat.",
        figures=tuple(figures),
        key=True,
    )
    return (panels,)


def _joined(trials: Sequence[TrialCurve]) -> dict[str, list[Any]]:
    """All curves as one trace with gaps: thousands of traces would stall a browser."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        epochs = sorted(trial.errors)
        x += [*epochs, None]
        y += [*percents([trial.errors[epoch] for epoch in epochs]), None]
        text += [label(trial)] * (len(epochs) + 1)
    return {"x": x, "y": y, "text": text}
