"""How a comparison that goes on until it is decided will probably end, and how soon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from tuneoff.search.results.statistics.levels import SEED, Floats
from tuneoff.search.results.statistics.sequential import Looks

PATHS: Final = 4000  # simulated courses; a probability has a standard error of 0.008 at most

UNDECIDED, BETTER, WORSE, EQUIVALENT = range(4)  # how a simulated course ends


@dataclass(frozen=True, slots=True)
class Shared:
    """Noise of seeds in configurations that repeats share: more repeats do not average it out.

    Attributes:
        error: its standard error in the mean difference, sigma sqrt(K) of ``paired_estimate``.
        degrees: degrees of freedom of sigma.
    """

    error: float = 0.0
    degrees: int = 1


@dataclass(frozen=True, slots=True)
class Forecast:
    """How simulated courses of a comparison end.

    Attributes:
        better, worse, equivalent, undecided: shares of the courses; they sum to 1.
        mean_repeats: paired repeats at the end, mean.
        low_repeats, high_repeats: 10% and 90% quantile of the same.
    """

    better: float
    worse: float
    equivalent: float
    undecided: float
    mean_repeats: float
    low_repeats: int
    high_repeats: int


def expected_course(
    difference: float,
    sd: float,
    plan: Looks,
    margin: float | None = None,
    shared: Shared | None = None,
    paths: int = PATHS,
) -> Forecast:
    """How a comparison ends whose true difference is known: power and expected sample size.

    Simulates normal differences of this mean and standard deviation, and ends each course at the
    first look of ``plan`` whose interval lies within -+ margin (equivalent), else above 0 (better)
    or below 0 (worse); fixed seed.

    Args:
        difference: true difference, positive if the arm is better, in any unit.
        sd: standard deviation of one repeat's difference, in that unit.
        plan: the looks.
        margin: smallest interesting difference, in that unit; None: nothing is called equivalent.
        shared: noise common to all repeats.
        paths: simulated courses.
    """
    generator = np.random.default_rng(SEED)
    drawn = difference + sd * generator.standard_normal((paths, plan.repeats[-1]))
    if shared:
        drawn += shared.error * generator.standard_normal((paths, 1))
    return _end(drawn, plan, margin, shared)


def forecast(
    differences: Sequence[float],
    plan: Looks,
    margin: float | None = None,
    shared: Shared | None = None,
    paths: int = PATHS,
) -> Forecast | None:
    """How a comparison will end, given the differences so far: posterior predictive simulation.

    With the reference prior of a normal sample (Gelman et al., Bayesian Data Analysis, 3rd edition,
    section 3.2), sigma^2 given the data is (n - 1) s^2 / chi^2_(n-1), the mean given sigma is
    normal about theirs with variance sigma^2 / n, and the differences to come are normal. Looks at
    as many repeats as there are, or fewer, are over. Fixed seed.

    Args:
        differences: of the paired repeats so far, positive where the arm is better.
        plan, margin, shared, paths: as for :func:`expected_course`.

    Returns:
        None with fewer than two differences, or if there is no look left.
    """
    drawn = _predicted(differences, plan.repeats[-1], paths)
    return None if drawn is None else _end(drawn, plan, margin, shared, len(differences))


def ends(
    differences: Sequence[float],
    plan: Looks,
    margin: float | None = None,
    shared: Shared | None = None,
    paths: int = PATHS,
) -> npt.NDArray[np.int64] | None:
    """Repeats at which each course of :func:`forecast` is decided; last + 1 if it never is.

    For a study of several pairs, which ends with the last of them.
    """
    drawn = _predicted(differences, plan.repeats[-1], paths)
    return None if drawn is None else _courses(drawn, plan, margin, shared, len(differences))[0]


def _predicted(differences: Sequence[float], last: int, paths: int) -> Floats | None:
    """The differences so far and simulated ones up to the last. Shape (paths, last)."""
    seen = np.asarray(differences, dtype=float)
    count = len(seen)
    if count < 2 or count >= last:
        return None
    generator = np.random.default_rng(SEED)
    scale = np.sqrt((count - 1) * seen.var(ddof=1) / generator.chisquare(count - 1, paths))
    mean = seen.mean() + scale / np.sqrt(count) * generator.standard_normal(paths)
    coming = generator.standard_normal((paths, last - count))
    return np.hstack([np.tile(seen, (paths, 1)), mean[:, None] + scale[:, None] * coming])


def _end(
    drawn: Floats, plan: Looks, margin: float | None, shared: Shared | None, after: int = 0
) -> Forecast:
    ended, outcomes = _courses(drawn, plan, margin, shared, after)
    repeats = np.minimum(ended, plan.repeats[-1])
    low, high = np.quantile(repeats, [0.1, 0.9], method="inverted_cdf")
    return Forecast(
        better=float(np.mean(outcomes == BETTER)),
        worse=float(np.mean(outcomes == WORSE)),
        equivalent=float(np.mean(outcomes == EQUIVALENT)),
        undecided=float(np.mean(outcomes == UNDECIDED)),
        mean_repeats=float(repeats.mean()),
        low_repeats=int(low),
        high_repeats=int(high),
    )


def _courses(
    drawn: Floats, plan: Looks, margin: float | None, shared: Shared | None, after: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each row's number of repeats at its first deciding look after ``after``, and what it says."""
    paths, last = drawn.shape
    ended = np.full(paths, last + 1)
    outcomes = np.full(paths, UNDECIDED)
    for at, tail in zip(plan.repeats, plan.tails, strict=True):
        going = np.flatnonzero(outcomes == UNDECIDED)
        if at <= after or not going.size:
            continue
        part = drawn[going, :at]
        mean, half = part.mean(axis=1), _half(part, tail, shared or Shared())
        found = np.where(mean > half, BETTER, np.where(-mean > half, WORSE, UNDECIDED))
        if margin is not None:
            found[np.abs(mean) + half <= margin] = EQUIVALENT
        outcomes[going] = found
        ended[going[found != UNDECIDED]] = at
    return ended, outcomes


def _half(part: Floats, tail: float, shared: Shared) -> Floats:
    """Half the t interval of each row's mean, its degrees of freedom by Satterthwaite (1946)."""
    count = part.shape[1]
    own, common = part.var(axis=1, ddof=1) / count, shared.error**2
    if common == 0:
        return np.asarray(stdtrit(count - 1.0, 1 - tail / 2) * np.sqrt(own))
    degrees = (own + common) ** 2 / (own**2 / (count - 1) + common**2 / shared.degrees)
    return np.asarray(stdtrit(degrees, 1 - tail / 2) * np.sqrt(own + common))
