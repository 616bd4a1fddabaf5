"""Learning curves of stored trials, with what failed and what is out of all proportion."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.spec.space import Floats
from tuneoff.search.store.attributes import DIVERGED

# A run whose last error is so many deviations above the median has failed. See ``_limits``.
FARTHEST = 1000.0


@dataclass(frozen=True)
class Run:
    """What is stored of one trial.

    Attributes:
        errors: by epoch (1-based), lower is better; any may be infinite or no number at all.
        failed: True if the run is known to have failed, whatever its errors are.
    """

    number: int
    params: Mapping[str, Any]
    errors: Mapping[int, float]
    failed: bool = False


@dataclass(frozen=True)
class Curve:
    """The learning curve of one trial.

    Attributes:
        number: of the trial.
        x: (D,), its configuration.
        errors: finite errors by epoch (1-based), lower is better; may be empty.
        failed: True if the run came to nothing, because of its configuration as far as one knows.
    """

    number: int
    x: Floats
    errors: dict[int, float]
    failed: bool = False

    @property
    def epoch(self) -> int:
        """The last epoch with an error; 0 before the first."""
        return max(self.errors, default=0)


def curves(
    trials: Iterable[FrozenTrial], encoding: Encoding, horizon: int, sign: float = 1.0
) -> list[Curve]:
    """Every trial's curve, in an order that does not depend on that of the trials.

    A trial that diverged has failed, and its curve ends where it did: the value that it was told,
    that of guessing, was never measured. See ``arranged`` for errors that are not finite.

    Args:
        horizon: epochs of a full run; later ones are left out.
        sign: -1 where the metric is maximised.

    Raises:
        ValueError: a trial has no point in the encoding.
    """
    runs: list[Run] = []
    for trial in trials:
        errors = {e: sign * v for e, v in trial.intermediate_values.items() if 1 <= e <= horizon}
        complete = trial.state == TrialState.COMPLETE
        diverged = DIVERGED.is_set(trial) or (complete and horizon not in errors)
        runs.append(Run(trial.number, trial.params, errors, diverged))
    return arranged(runs, encoding)


def arranged(runs: Sequence[Run], encoding: Encoding) -> list[Curve]:
    """The curves of runs, ordered by configuration.

    A run has failed, too, if its last error is NaN, infinite or out of all proportion to those of
    the others. Errors that are NaN or infinite are left out, but for negative infinite ones, which
    count as the least finite one. Others are moved to between the least and the largest error of
    the runs that did not fail.

    Raises:
        ValueError: a run has no point in the encoding.
    """
    if not runs:
        return []
    low, high = _limits([run for run in runs if not (run.failed or _last(run) == math.inf)])
    failed = [run.failed or _last(run) > min(high, sys.float_info.max) for run in runs]
    fine = [run for run, bad in zip(runs, failed, strict=True) if not bad]
    known = _finite(fine, low, high) or _finite(runs) or [0.0, 1.0]
    least, most = min(known), max(known)
    numbers = [run.number for run in runs]
    x = encoding.rows([run.params for run in runs])
    out = []
    for i in np.lexsort((numbers, *x.T[::-1])):
        errors = {e: v for e, v in runs[i].errors.items() if v < math.inf}
        moved = {e: min(max(v, least), most) for e, v in errors.items()}
        out.append(Curve(numbers[i], x[i], moved, failed[i]))
    return out


def _last(run: Run) -> float:
    """Infinity if it is NaN; the least of all if there is none."""
    last = run.errors[max(run.errors)] if run.errors else -math.inf
    return math.inf if math.isnan(last) else last


def _finite(runs: Sequence[Run], low: float = -math.inf, high: float = math.inf) -> list[float]:
    """The errors that are finite and between these two."""
    errors = [error for run in runs for error in run.errors.values() if math.isfinite(error)]
    return [error for error in errors if low <= error <= high]


def _limits(runs: Sequence[Run]) -> tuple[float, float]:
    """What errors are out of all proportion: those below the first value and above the second.

    ``FARTHEST`` times the median absolute deviation from the median of last errors, or the distance
    from there to the upper quartile if that is more: late in a search more than half of the runs
    may be all but equal.
    """
    last = np.array([_last(run) for run in runs])
    last = last[np.isfinite(last)]
    if len(last) == 0:
        return -math.inf, math.inf
    with np.errstate(over="ignore"):
        middle, upper = np.quantile(last, [0.5, 0.75])
        deviation = max(float(np.median(np.abs(last - middle))), float(upper - middle))
    if deviation <= 1e-12 * abs(float(middle)):  # most of them are equal
        return -math.inf, math.inf
    return float(middle) - FARTHEST * deviation, float(middle) + FARTHEST * deviation
