"""Every trial's learning curve, by arm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.metric import Metric, capitalised
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.axes import Scale, choose_scale, set_axis
from tuneoff.search.report.figures.base import (
    STRONG,
    Panels,
    arm_colours,
    blank,
    label,
    measured,
    shown,
    transparent,
)
from tuneoff.search.report.figures.readings import main_arms, names, so_far
from tuneoff.search.report.figures.thinning import said_of, thinned_curves
from tuneoff.search.results.records import TrialCurve

MOST: Final = 9
"""Arms that have a figure."""
_RANGE: Final = 0.97  # of the errors are on the axis where the rest would press them together


@dataclass(frozen=True, slots=True)
class _Look:
    """How runs of a state are drawn: the mark at their end, and their line; and what is said."""

    name: str
    said: str
    symbol: str
    mark: str
    dash: str
    in_colour: bool


_LOOKS: Final = {
    "complete": _Look("came to the end", "came to their end", "circle", "●", "solid", True),
    "pruned": _Look("pruned", "were pruned", "x-thin-open", "×", "solid", True),
    "paused": _Look("paused", "are paused", "square-open", "□", "solid", True),
    "running": _Look("still running", "are still running", "circle-open", "○", "solid", True),
    "waiting": _Look("waiting", "wait to be taken over", "circle-open-dot", "◉", "solid", True),
    "diverged": _Look("diverged", "diverged", "triangle-up", "▲", "dash", False),
    "failed": _Look("failed", "failed", "cross", "✚", "dot", False),
}


def learning_panels(data: ReportData, points: int | None = None) -> tuple[Panels, ...]:
    """One figure for each arm: every trial's curve, those of the recommended ones in bold.

    Args:
        points: at most about so many are drawn of an arm's curves, evenly from the best to the
            worst; what is recommended is always drawn.
    """
    results, metric = data.results, data.results.metric
    with_errors = measured(data.trials)
    arms = [arm for arm in main_arms(data) if any(t.arm == arm for t in with_errors)]
    shown_arms = arms[:MOST]
    trials = [trial for trial in with_errors if trial.arm in shown_arms]
    if not trials:
        return ()
    recommended = {
        (run.arm, run.repeat, run.recommendation.trial)
        for run in results.runs
        if run.recommendation
    }
    every = [error for trial in trials for error in trial.errors.values()]
    scale = choose_scale(every, metric=metric)
    top = axis_top(every, scale)
    colours = arm_colours(results.arms)
    drawn, figures = 0, []
    for arm in shown_arms:
        mine = _thinned([t for t in trials if t.arm == arm], recommended, scale, min(every), top)
        mine = _fewer(mine, recommended, points)
        drawn += len(mine)
        figure = blank(f"epoch ({shown(arm, 30)})", scale.title("validation error"), height=340)
        _add_curves(figure, mine, recommended, scale, colours[arm])
        set_axis(figure, scale, [min(every), top])
        figure.update_xaxes(
            range=[0.5, results.trial_epochs + 0.5], dtick=1 if results.trial_epochs <= 10 else None
        )
        figure.update_layout(showlegend=False, margin={"t": 12})
        figures.append(figure)
    panels = Panels(
        name="learning",
        title="Learning curves",
        caption=f"{capitalised(metric.on('validation'))} after each epoch of every trial, by arm."
        " Bold: the trials that"
        " the arm recommends, one for each repeat. Marks at the ends:"
        f" {_legend(trials)}."
        + _above(trials, top, metric)
        + said_of(drawn, len(trials), "curves")
        + _left_out(len(arms)),
        figures=tuple(figures),
        key=False,
        finding=learning_finding(data),
    )
    return (panels,)


def learning_finding(data: ReportData) -> str:
    """How the runs ended, and where the lowest error was."""
    trials = measured(data.trials)
    if not trials:
        return ""
    counts = Counter(trial.state for trial in trials)
    ends = [
        f"{counts[state]:,} {_one(look.said, counts[state])}"
        for state, look in _LOOKS.items()
        if counts[state]
    ]
    listed = ends[0] if len(ends) == 1 else f"{', '.join(ends[:-1])} and {ends[-1]}"
    error, trial, epoch = min(
        ((e, t, n) for t in trials for n, e in t.errors.items()), key=lambda found: found[0]
    )
    whose = names(data)[trial.arm].possessive if trial.arm in names(data) else trial.arm
    metric = data.results.metric
    return (
        f"Of {counted(len(trials), 'run')} with a measured {metric.bare}{so_far(data)}, {listed};"
        " the"
        f" {metric.lowest} {metric.bare}, {metric.text(error)}, is {whose}, at epoch {epoch}."
    )


def axis_top(errors: Sequence[float], scale: Scale) -> float:
    """The greatest error on the axis: of all, or of nearly all where a few would fill the half."""
    low, high, most = min(errors), max(errors), float(np.quantile(errors, _RANGE))
    if scale.is_log or most <= low:
        return high
    return most if high - low > 2 * (most - low) else high


def _one(said: str, count: int) -> str:
    if count != 1:
        return said
    words = {"were": "was", "are": "is", "their": "its", "wait": "waits"}
    return " ".join(words.get(word, word) for word in said.split())


def _legend(trials: Sequence[TrialCurve]) -> str:
    present = Counter(trial.state for trial in trials)
    return ", ".join(
        f"{look.mark} {look.name} ({present[state]:,})"
        for state, look in _LOOKS.items()
        if present[state]
    )


def _above(trials: Sequence[TrialCurve], top: float, metric: Metric) -> str:
    above = sum(min(trial.errors.values()) > top for trial in trials)
    if not above and all(max(trial.errors.values()) <= top for trial in trials):
        return ""
    side = "below" if metric.maximised else "above"
    wholly = f", {counted(above, 'curve')} wholly" if above else ""
    return f" The axis ends at {metric.text(top)}; some {metric.plural} lie {side}{wholly}."


def _left_out(arms: int) -> str:
    return f" Shown: {MOST} of {arms} arms, the main ones first." if arms > MOST else ""


def _add_curves(
    figure: go.Figure,
    trials: Sequence[TrialCurve],
    recommended: Collection[tuple[str, int, int]],
    scale: Scale,
    colour: str,
) -> None:
    """Two traces for each state, and two for what is recommended: lines, and marks at the ends."""
    groups: dict[tuple[bool, str], list[TrialCurve]] = {}
    for trial in trials:
        bold = (trial.arm, trial.repeat, trial.number) in recommended
        groups.setdefault((bold, trial.state), []).append(trial)
    for bold, state in sorted(groups, key=lambda group: (group[0], group[1] == "complete")):
        look, some = _LOOKS.get(state, _LOOKS["failed"]), groups[bold, state]
        strong = colour if look.in_colour else STRONG
        figure.add_scatter(
            **_joined(some, scale),
            mode="lines",
            name="recommended" if bold else look.name,
            line={
                "color": strong if bold else transparent(strong, 0.35),
                "width": 2.5 if bold else 1,
                "dash": look.dash,
            },
            hovertemplate=f"%{{text}}<br>epoch %{{x}}: {scale.metric.hover()}<extra></extra>",
        )
        ends = [(max(trial.errors), trial) for trial in some]
        figure.add_scatter(
            x=[epoch for epoch, _ in ends],
            y=[scale.value(trial.errors[epoch]) for epoch, trial in ends],
            text=[label(trial) for _, trial in ends],
            mode="markers",
            marker={
                "symbol": look.symbol,
                "size": 8 if bold else 6,
                "color": strong,
                "opacity": 1 if bold else 0.75,
                "line": {"width": 1.5, "color": strong},
            },
            hovertemplate=f"%{{text}}<br>epoch %{{x}}: {scale.metric.hover()}<extra></extra>",
        )


def _thinned(
    trials: Sequence[TrialCurve],
    recommended: Collection[tuple[str, int, int]],
    scale: Scale,
    low: float,
    high: float,
) -> list[TrialCurve]:
    """The trials whose curves are drawn: those that are recommended, and what can be told apart.

    Args:
        low, high: the least and the greatest error on the axis.
    """

    def rank(trial: TrialCurve) -> tuple[bool, float]:
        return (trial.arm, trial.repeat, trial.number) not in recommended, min(
            trial.errors.values()
        )

    def place(error: float) -> float:
        value = scale.value(min(error, high))
        return float(np.log(value)) if scale.is_log else value

    by_rank = sorted(trials, key=rank)
    span = (place(high) - place(low)) or 1.0
    kept = thinned_curves(
        [
            [(n, (place(trial.errors[n]) - place(low)) / span) for n in sorted(trial.errors)]
            for trial in by_rank
        ]
    )
    bold = sum(not rank(trial)[0] for trial in by_rank)
    return [by_rank[i] for i in sorted({*range(bold), *kept})]


def _fewer(
    trials: Sequence[TrialCurve],
    recommended: Collection[tuple[str, int, int]],
    points: int | None,
) -> list[TrialCurve]:
    """Every n-th of the trials, so that their curves have about so many points together."""
    there = sum(len(trial.errors) for trial in trials)
    if points is None or there <= points:
        return list(trials)
    bold = [t for t in trials if (t.arm, t.repeat, t.number) in recommended]
    others = [t for t in trials if (t.arm, t.repeat, t.number) not in recommended]
    left = max(1, points - sum(len(trial.errors) for trial in bold))
    step = math.ceil(sum(len(trial.errors) for trial in others) / left)
    return [*bold, *others[::step]]


def _joined(trials: Sequence[TrialCurve], scale: Scale) -> dict[str, list[Any]]:
    """All curves as one trace with gaps: thousands of traces would stall a browser."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        epochs = sorted(trial.errors)
        x += [*epochs, None]
        y += [*(scale.value(trial.errors[epoch]) for epoch in epochs), None]
        text += [label(trial)] * (len(epochs) + 1)
    return {"x": x, "y": y, "text": text}
