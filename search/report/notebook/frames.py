"""A study's records as pandas tables: one row for each thing, one column for each fact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tuneoff.search.errors import UserError
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.notebook.columns import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

_TIMES: Final = ("started", "ended")


def frame(name: str, data: ReportData) -> pd.DataFrame:
    """The table of this name; without rows, but with its columns, where there is nothing yet.

    Args:
        name: a key of ``COLUMNS``.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UserError(
            'tables need pandas: uv pip install -c constraints.txt -e ".[notebook]"'
        ) from None
    rows = list(_ROWS[name](data))
    params = sorted({key for row in rows for key in row if key.startswith("params_")})
    table = pd.DataFrame(rows, columns=[*COLUMNS[name], *params])
    for column in _TIMES:
        if column in table:
            table[column] = pd.to_datetime(table[column], unit="s", utc=True)
    return table


def _params(params: Mapping[str, Any]) -> Row:
    return {f"params_{name}": value for name, value in params.items()}


def _trials(data: ReportData) -> Iterable[Row]:
    for one in data.trials:
        finite = [error for error in one.errors.values() if math.isfinite(error)]
        last = max(one.errors, default=0)
        yield {
            "arm": one.arm,
            "repeat": one.repeat,
            "trial": one.number,
            "state": one.state,
            "error": one.errors.get(last, math.nan),
            "best_error": min(finite, default=math.nan),
            "last_epoch": last,
            "epochs": one.epochs,
            "seconds": one.seconds,
            "attempts": one.attempts,
            "worker": one.worker,
            "device": one.device,
            "note": one.note,
            **_params(one.params),
        }


def _epochs(data: ReportData) -> Iterable[Row]:
    for one in data.trials:
        for epoch, error in sorted(one.errors.items()):
            yield {
                "arm": one.arm,
                "repeat": one.repeat,
                "trial": one.number,
                "epoch": epoch,
                "error": error,
            }


def _attempts(data: ReportData) -> Iterable[Row]:
    for one in data.attempts:
        yield {
            "arm": one.arm,
            "repeat": one.repeat,
            "trial": one.trial,
            "attempt": one.number,
            "worker": one.worker,
            "device": one.device,
            "started": one.started,
            "ended": one.ended,
            "end": one.end,
            "state": one.state,
            "epochs": one.epochs,
            "seconds": one.seconds,
            "reason": one.reason,
        }


def _picks(data: ReportData) -> Iterable[Row]:
    order = {arm: index for index, arm in enumerate(data.results.arms)}
    for run in sorted(data.results.runs, key=lambda run: (order[run.arm], run.repeat)):
        if (found := run.recommendation) is not None:
            yield {
                "arm": run.arm,
                "repeat": run.repeat,
                "trial": found.trial,
                "validation_error": found.validation_error,
                "full_trainings": len(found.full_validation_errors),
                "full_validation_error": _number(found.full_validation_error),
                "test_error": _number(found.test_error),
                "judged": found.judged,
                "finished": found.finished,
                **_params(found.params),
            }


def _differences(data: ReportData) -> Iterable[Row]:
    for pair in data.comparison.pairs:
        for repeat, difference in zip(pair.repeats, pair.differences, strict=True):
            yield {
                "reference": pair.reference,
                "baseline": pair.baseline,
                "repeat": repeat,
                "measure": pair.measure,
                "difference": difference,
            }


def _pairs(data: ReportData) -> Iterable[Row]:
    for pair in data.comparison.pairs:
        cost = pair.cost
        yield {
            "reference": pair.reference,
            "baseline": pair.baseline,
            "quality": pair.quality,
            "difference": pair.mean,
            "low": _number(pair.low),
            "high": _number(pair.high),
            "confidence": pair.confidence,
            "margin": _number(pair.margin),
            "repeats": len(pair.repeats),
            "planned": pair.planned,
            "cost": math.nan if cost is None else cost.share,
            "cost_low": math.nan if cost is None else _number(cost.low),
            "cost_high": math.nan if cost is None else _number(cost.high),
        }


def _per_arm(data: ReportData) -> Iterable[Row]:
    for arm in data.comparison.arms:
        yield {
            "arm": arm.arm,
            "repeats": arm.repeats,
            "trials": sum(arm.states.values()),
            "spent": arm.spent,
            "budget": arm.budget,
            "seconds": arm.seconds,
            "best_validation": _number(arm.best_validation),
            "mean_validation": _number(arm.mean_validation),
            "sd_validation": _number(arm.sd_validation),
            "mean_test": _number(arm.mean_test),
            "sd_test": _number(arm.sd_test),
        }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


_ROWS: Final[Mapping[str, Callable[[ReportData], Iterable[Row]]]] = {
    "trials": _trials,
    "epochs": _epochs,
    "attempts": _attempts,
    "picks": _picks,
    "differences": _differences,
    "pairs": _pairs,
    "per_arm": _per_arm,
}
