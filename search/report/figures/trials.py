"""The table of all trials, to look something up in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.tables import Table
from tuneoff.search.results.numbers import NONE
from tuneoff.search.results.records import TrialCurve

_BEFORE: Final = ("Trial", "Arm", "Repeat", "State", "Last error, %", "Lowest error, %")
"""To be read in the words of the metric."""
_AFTER: Final = ("Epochs", "Seconds", "Attempts", "Worker", "Device", "Note")
_NOTE: Final = 200  # characters; a failure's reason may have thousands


def trials_panels(data: ReportData) -> tuple[Panels, ...]:
    """Every search run of every arm, with its parameters."""
    if not data.trials:
        return ()
    table = trials_table(data.trials, data.results.metric)
    states: dict[str, int] = {}
    for one in data.trials:
        states[one.state] = states.get(one.state, 0) + 1
    said = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    return (
        Panels(
            name="trials",
            title="All trials",
            caption="Click a heading to sort by it. `tuneoff show NAME TRIAL` tells one trial's"
            " whole story.",
            figures=(),
            table=table,
            finding=f"{counted(len(data.trials), 'trial')}: {said}.",
        ),
    )


def trials_table(trials: Sequence[TrialCurve], metric: Metric) -> Table:
    """One row for each trial, in the order of arms, repeats and numbers."""
    names = list(dict.fromkeys(name for one in trials for name in one.params))
    header = (*map(metric.in_words, _BEFORE), *names, *_AFTER)
    after = len(_BEFORE) + len(names)
    return Table(
        heading="All trials",
        header=header,
        rows=tuple(_row(one, names, metric) for one in trials),
        text_columns=(1, 3, after + 3, after + 4, after + 5),
        kind="browse",
        filters=(1, 3),
    )


def _row(one: TrialCurve, names: Sequence[str], metric: Metric) -> tuple[str, ...]:
    errors = [error for error in one.errors.values() if math.isfinite(error)]
    last = one.errors[max(one.errors)] if one.errors else math.nan
    return (
        f"{one.arm}/{one.repeat}#{one.number}",
        one.arm,
        str(one.repeat),
        one.state,
        metric.cell(last) if math.isfinite(last) else NONE,
        metric.cell(min(errors, default=None)),
        *(_value(one.params.get(name)) for name in names),
        f"{one.epochs:,}",
        f"{one.seconds:.1f}",
        str(one.attempts),
        one.worker or NONE,
        one.device or NONE,
        one.note if len(one.note) <= _NOTE else f"{one.note[:_NOTE]}…",
    )


def _value(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return json.dumps(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
