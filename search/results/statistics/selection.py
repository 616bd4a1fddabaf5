"""What selecting by noisy validation errors does to the errors that are then reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from tuneoff.search.results.statistics.levels import CONFIDENCE


def expected_validation(errors: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Expected best validation error of k random trials, k = 1 to n, and its standard deviation.

    Dodge et al., Show your work (EMNLP 2019), section 3, for errors: with the n errors in
    increasing order, the least of k draws with replacement is the i-th with probability
    ((n - i + 1) / n)^k - ((n - i) / n)^k. Near k = n it is biased upwards, since no draw can be
    better than the best that was seen (Tang et al., 2020).

    Args:
        errors: of trials that are independent and alike, as of random search; of no other arm.
    """
    values = np.sort(np.asarray(errors, dtype=float))
    count = len(values)
    left = np.arange(count, -1, -1) / count if count else np.zeros(1)  # share not below the i-th
    found = []
    for k in range(1, count + 1):
        weights = left[:-1] ** k - left[1:] ** k
        mean = float(weights @ values)
        found.append((mean, math.sqrt(float(weights @ (values - mean) ** 2))))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Overtuning:
    """How much better the best earlier recommendation was than the last, on the test split.

    Attributes:
        absolute: test error of the last incumbent minus the least of all incumbents'; 0 or more.
        relative: that, divided by what was to be gained over the first incumbent; 0 if there is no
            overtuning; above 1 if the search ended worse than it began; infinite if the first
            incumbent was the best.
    """

    absolute: float
    relative: float


def overtuning(test_errors: Sequence[float]) -> Overtuning | None:
    """Schneider, Bischl, Feurer, Overtuning in hyperparameter optimization (AutoML 2025).

    ot = test(last) - min_t test(t) over the incumbents t by validation error, and relative
    ot / (test(first) - min_t test(t)).

    Args:
        test_errors: of each incumbent in the order in which it became one.

    Returns:
        None if there is no incumbent.
    """
    if not test_errors:
        return None
    least = min(test_errors)
    absolute, gain = test_errors[-1] - least, test_errors[0] - least
    if absolute == 0:
        return Overtuning(0.0, 0.0)
    return Overtuning(absolute, absolute / gain if gain else math.inf)


@dataclass(frozen=True, slots=True)
class SelectionGap:
    """Mean gap between retrained and selected errors.

    Attributes:
        mean: positive where selection was too hopeful.
        low, high: Student's t interval; None with fewer than two picks.
    """

    mean: float
    low: float | None
    high: float | None


def selection_gap(
    selected: Sequence[float], retrained: Sequence[float], level: float = CONFIDENCE
) -> SelectionGap | None:
    """The winner's curse: the error of a pick trained anew, minus the error it was selected by.

    The least of many noisy errors is too low in the mean, even where each is right (Cawley,
    Talbot, On over-fitting in model selection, JMLR 2010).

    Args:
        selected: validation error by which each pick was selected.
        retrained: mean validation error of trainings with other seeds, of the same picks.
        level: of the interval.

    Returns:
        None if there is no pick.
    """
    gaps = np.asarray(retrained, dtype=float) - np.asarray(selected, dtype=float)
    if not gaps.size:
        return None
    mean = float(gaps.mean())
    if gaps.size == 1:
        return SelectionGap(mean, None, None)
    half = float(stdtrit(gaps.size - 1.0, (1 + level) / 2) * gaps.std(ddof=1)) / gaps.size**0.5
    return SelectionGap(mean, mean - half, mean + half)
