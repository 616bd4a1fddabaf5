"""Each hyperparameter's values against the error of the trials that had them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import chain
from statistics import fmean
from typing import Any, Final

import numpy as np
from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.axes import Scale, choose_scale, set_axis
from tuneoff.search.report.figures.base import (
    Panels,
    arm_colours,
    arm_symbols,
    blank,
    label,
    measured,
    rounded,
    shown,
)
from tuneoff.search.report.figures.parameter_finding import parameter_finding
from tuneoff.search.report.figures.thinning import said_of, shares, thinned_marks
from tuneoff.search.results.records import StudyResults, TrialCurve

MOST: Final = 9
"""Hyperparameters that have a figure."""
_MARKS: Final = 12_000
"""Marks of all figures together; of more, those are left out that lie close to others. With their
texts these have a tenth of the page's megabytes."""
_PIXELS: Final = (3, 4, 5, 6, 8, 12, 16)  # sides of the square in which one mark is drawn
_CHOICES: Final = 20  # different values of one that is not a number; of more nothing can be read
_GROUPS: Final = 5  # of a number's values, to see how far the error goes along with them


def parameter_panels(data: ReportData) -> tuple[Panels, ...]:
    """One figure for each hyperparameter that varies: its value against the trial's last error."""
    with_errors = measured(data.trials)
    names = [name for name in _names(with_errors) if _varies(with_errors, name)]
    order = sorted(names, key=lambda name: -explained(with_errors, name))
    if not order:
        return ()
    metric = data.results.metric
    scale = choose_scale([_last(trial) for trial in with_errors], metric=metric)
    having_each = [[t for t in with_errors if name in t.params] for name in order[:MOST]]
    placed = [_places(having, name) for name, having in zip(order, having_each, strict=False)]
    kept_each = _thinned_to_fit(having_each, placed, scale)
    figures: list[go.Figure] = []
    for name, having, (x, log), kept in zip(order, having_each, placed, kept_each, strict=False):
        figure = _parameter_figure(
            data.results, name, [having[i] for i in kept], [x[i] for i in kept], scale
        )
        _set_x(figure, having, name, log)
        set_axis(figure, scale, [_last(trial) for trial in with_errors])
        figures.append(figure)
    drawn, there = sum(map(len, kept_each)), sum(map(len, having_each))
    left = ""
    if len(order) > MOST:
        left = (
            f" Shown: {MOST} of {len(order)} hyperparameters, those first with which the"
            f" {metric.bare}"
        )
        left += " of full runs goes along most."
    panels = Panels(
        name="parameters",
        title=f"Hyperparameters against {metric.on('validation')}",
        caption="One mark for each trial. Filled: a full search run. Hollow: a run that was stopped"
        f" early or diverged, with its last {metric.bare}.{left}" + said_of(drawn, there, "marks"),
        figures=tuple(figures),
        key=True,
        finding=parameter_finding(data, order),
    )
    return (panels,)


def explained(trials: Sequence[TrialCurve], name: str) -> float:
    """The share of the variance of full runs' ranks that lies between groups of equal values.

    Numbers are put into ``_GROUPS`` groups by size. 0 to 1; corrected for the number of groups, so
    that many of them explain nothing by themselves (Kelley's epsilon squared).
    """
    full = [t for t in trials if t.state == "complete" and name in t.params]
    errors = [_last(trial) for trial in full]
    _, which, counts = np.unique(errors, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which].tolist()  # of equals, their mean
    values: list[Hashable] = [_text(trial.params[name]) for trial in full]
    if full and all(is_number(trial.params[name]) for trial in full):
        numbers = [float(trial.params[name]) for trial in full]
        levels = sorted(set(numbers))
        if len(levels) > _GROUPS:
            by_size = sorted(numbers)
            place = {value: i * _GROUPS // len(by_size) for i, value in enumerate(by_size)}
            values = [place[number] for number in numbers]
        else:
            values = [*numbers]
    groups = defaultdict(list)
    for value, rank in zip(values, ranks, strict=True):
        groups[value].append(rank)
    count = len(ranks)
    if count <= len(groups) or len(groups) < 2:
        return 0.0
    middle = fmean(ranks)
    total = math.fsum((rank - middle) ** 2 for rank in ranks)
    within = math.fsum((r - fmean(group)) ** 2 for group in groups.values() for r in group)
    if total <= 0:
        return 0.0
    return max(0.0, 1 - (within / (count - len(groups))) / (total / (count - 1)))


def _log(error: float) -> float:
    return math.log(max(error, 1e-6))


def _names(trials: Sequence[TrialCurve]) -> list[str]:
    return [*dict.fromkeys(chain.from_iterable(trial.params for trial in trials))]


def _varies(trials: Sequence[TrialCurve], name: str) -> bool:
    values = [trial.params[name] for trial in trials if name in trial.params]
    if values and all(map(is_number, values)):
        return len(set(values)) > 1
    return 1 < len({_text(value) for value in values}) <= _CHOICES


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(trials: Sequence[TrialCurve], name: str) -> list[str]:
    """The values of a parameter that is not a number, as text; empty for a number."""
    values = [trial.params[name] for trial in trials]
    return [] if all(map(is_number, values)) else sorted({_text(value) for value in values})


def _places(trials: Sequence[TrialCurve], name: str) -> tuple[list[float], bool]:
    """Where each trial lies on the axis, and whether that is logarithmic.

    Trials with the same choice lie side by side.
    """
    choices = _choices(trials, name)
    if choices:
        index = {choice: i for i, choice in enumerate(choices)}
        return [
            index[_text(trial.params[name])] + 0.6 * ((i * 0.618 + 0.5) % 1.0 - 0.5)
            for i, trial in enumerate(trials)
        ], False
    values = [float(trial.params[name]) for trial in trials]
    return values, min(values) > 0 and max(values) / min(values) >= 100


def _thinned_to_fit(
    having: Sequence[Sequence[TrialCurve]],
    placed: Sequence[tuple[Sequence[float], bool]],
    scale: Scale,
) -> list[list[int]]:
    """For each figure, which of its trials have marks: at most ``_MARKS`` in all, if possible."""
    for pixels in _PIXELS:
        kept = [
            _thinned(trials, x, log, scale, pixels)
            for trials, (x, log) in zip(having, placed, strict=True)
        ]
        if sum(map(len, kept)) <= _MARKS:
            break
    return kept


def _thinned(
    trials: Sequence[TrialCurve], places: Sequence[float], log: bool, scale: Scale, pixels: int
) -> list[int]:
    """The trials whose marks are drawn: one of each kind in a square of so many pixels."""
    x = shares([math.log(value) for value in places] if log else places)
    y = shares([_log(_last(t)) if scale.is_log else _last(t) for t in trials])
    kinds: dict[tuple[str, bool], list[int]] = {}
    for i, trial in enumerate(trials):
        kinds.setdefault((trial.arm, trial.state == "complete"), []).append(i)
    return [
        mine[i]
        for mine in kinds.values()
        for i in thinned_marks(
            [x[i] for i in mine], [y[i] for i in mine], [y[i] for i in mine], pixels
        )
    ]


def _parameter_figure(
    results: StudyResults,
    name: str,
    trials: Sequence[TrialCurve],
    places: Sequence[float],
    scale: Scale,
) -> go.Figure:
    figure = blank(shown(name, 40), scale.title("last validation error"), height=320)
    colours, symbols = arm_colours(results.arms), arm_symbols(results.arms)
    for arm in results.arms:
        colour, symbol = colours[arm], symbols[arm]
        for full in (False, True):
            mine = [
                (x, t)
                for x, t in zip(places, trials, strict=True)
                if t.arm == arm and (t.state == "complete") is full
            ]
            if not mine:
                continue
            figure.add_scatter(
                x=rounded(x for x, _ in mine),
                y=[scale.value(_last(trial)) for _, trial in mine],
                mode="markers",
                name=shown(arm),
                text=[f"{label(t)}<br>{_value(t.params[name])}" for _, t in mine],
                marker={
                    "color": colour,
                    "size": 7 if full else 6,
                    "opacity": 0.8 if full else 0.45,
                    "symbol": symbol if full else f"{symbol}-open",
                },
                hovertemplate=f"%{{text}}: {scale.metric.hover()}",
            )
    figure.update_layout(showlegend=False, margin={"t": 12})
    return figure


def _value(value: Any) -> str:
    return f"{float(value):.4g}" if is_number(value) else shown(_text(value), 40)


def _set_x(figure: go.Figure, trials: Sequence[TrialCurve], name: str, log: bool) -> None:
    choices = _choices(trials, name)
    if choices:
        most = 18 if len(choices) <= 3 else 10
        figure.update_xaxes(
            tickvals=[*range(len(choices))],
            ticktext=[shown(choice, most) for choice in choices],
            range=[-0.5, len(choices) - 0.5],
            showgrid=False,
        )
    elif log:
        figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    elif all(isinstance(trial.params[name], int) for trial in trials):
        values = {trial.params[name] for trial in trials}
        if len(values) <= 8:
            figure.update_xaxes(tickvals=sorted(values))


def _last(trial: TrialCurve) -> float:
    return trial.errors[max(trial.errors)]


def is_number(value: Any) -> bool:
    """True for a finite number; a boolean is a choice."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
