"""Where the best full runs lie, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import measured
from tuneoff.search.report.figures.readings import so_far
from tuneoff.search.results.records import TrialCurve

BEST: Final = 3


def parameter_finding(data: ReportData, order: Sequence[str]) -> str:
    """What the full runs with the lowest errors have in common.

    Args:
        order: the hyperparameters, the most telling first; of the first two is spoken.
    """
    full = [trial for trial in measured(data.trials) if trial.state == "complete"]
    if len(full) <= BEST or not order:
        return ""
    best = best_runs(full)
    first, last = _last(best[0]), _last(best[-1])
    metric = data.results.metric
    ends = metric.text(first), metric.text(last)
    errors = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    values = [
        said for name in order[:2] if (said := _common([t.params.get(name) for t in best], name))
    ]
    if not values:
        return ""
    return (
        f"The three best of {counted(len(full), 'full run')}{so_far(data)} ({errors}"
        f" {metric.on('validation')}) have {' and '.join(values)}."
    )


def best_runs(full: Sequence[TrialCurve]) -> list[TrialCurve]:
    """The ``BEST`` full runs with the lowest last errors, best first; of equals the first."""
    return sorted(full, key=lambda t: (_last(t), t.arm, t.repeat, t.number))[:BEST]


def _common(values: Sequence[Any], name: str) -> str:
    if any(value is None for value in values):
        return ""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = min(values), max(values)
        ends = f"{low:.3g}", f"{high:.3g}"
        return f"{name} {ends[0]}" if ends[0] == ends[1] else f"{name} from {ends[0]} to {ends[1]}"
    texts = [str(v).lower() if isinstance(v, bool) else str(v) for v in dict.fromkeys(values)]
    return f"{name} {' or '.join(texts)}"


def _last(trial: TrialCurve) -> float:
    return trial.errors[max(trial.errors)]
