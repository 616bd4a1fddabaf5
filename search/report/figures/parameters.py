"""Each hyperparameter's values against the error of the trials that had them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import chain
from typing import Any

from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import (
    Panels,
    arm_colours,
    arm_symbols,
    blank,
    label,
    measured,
    percents,
)
from tuneoff.search.results.records import StudyResults, TrialCurve


def parameter_panels(data: ReportData) -> tuple[Panels, ...]:
    """One figure for each numeric hyperparameter: its value against the trial's last error."""
    with_errors = measured(data.trials)
    names = dict.fromkeys(chain.from_iterable(trial.params for trial in with_errors))
    figures = []
    for name in names:
        having = [trial for trial in with_errors if _is_number(trial.params.get(name))]
        values = {trial.params[name] for trial in having}
        if len(values) > 1:
            figures.append(_parameter_figure(data.results, name, having))
            if min(values) > 0 and max(values) / min(values) >= 100:
                figures[-1].update_xaxes(type="log", dtick=1, exponentformat="power")
    panels = Panels(
        name="parameters",
        title="Hyperparameters against validation error",
        caption="One mark for each trial. Filled: a full search run. Hollow: a run that was stopped"
        " early or diverged, with its last error.",
        figures=tuple(figures),
        key=True,
    )
    return (panels,)


def _parameter_figure(results: StudyResults, name: str, trials: Sequence[TrialCurve]) -> go.Figure:
    figure = blank(escape(name), "last validation error, %", height=320)
    colours, symbols = arm_colours(results.arms), arm_symbols(results.arms)
    for arm in results.arms:
        colour, symbol = colours[arm], symbols[arm]
        for full in (False, True):
            mine = [t for t in trials if t.arm == arm and (t.state == "complete") is full]
            if not mine:
                continue
            figure.add_scatter(
                x=[trial.params[name] for trial in mine],
                y=percents([_last(trial) for trial in mine]),
                mode="markers",
                name=escape(arm),
                text=[label(trial) for trial in mine],
                marker={
                    "color": colour,
                    "size": 7 if full else 6,
                    "opacity": 0.8 if full else 0.45,
                    "symbol": symbol if full else f"{symbol}-open",
                },
                hovertemplate="%{text}<br>%{x:.4g}: %{y:.2f}%<extra></extra>",
            )
    figure.update_layout(showlegend=False, margin={"t": 12})
    return figure


def _last(trial: TrialCurve) -> float:
    return trial.errors[max(trial.errors)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
