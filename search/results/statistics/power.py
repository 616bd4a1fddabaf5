"""How many paired repeats a comparison takes: what is planned before, not what is decided after."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.special import gammaincinv, ndtr, stdtrit

from tuneoff.search.results.statistics.forecast import Shared
from tuneoff.search.results.statistics.levels import ALPHA

MOST: Final = 1000  # repeats; what would take more is called out of reach
POWER: Final = 0.8  # probability of a decision that is planned for
SLICES: Final = 200  # of the distribution of S^2; the power is then right to 0.001


def decision_power(
    repeats: int,
    difference: float,
    sd: float,
    margin: float | None = None,
    alpha: float = ALPHA,
    shared: Shared | None = None,
) -> float:
    """Probability that the t interval of ``repeats`` normal differences decides.

    It does if it does not hold 0, or lies within -+ margin. Given the sample variance S^2, the mean
    M is normal and independent of it, and there is no decision if margin - h < |M| <= h, with h
    half the interval's width (Owen, 1965, for two one-sided tests); the probability is averaged
    over quantiles of S^2 = sd^2 chi^2_(n-1) / (n - 1). Without a margin it is the power of the
    two-sided t test.

    Args:
        repeats: paired repeats, 2 at least.
        difference: the true one.
        sd: of one repeat's difference, in the same unit.
        margin: smallest interesting difference; None: nothing is called equivalent.
        alpha: 1 - the level of the interval.
        shared: noise that all repeats have in common.
    """
    common = shared or Shared()
    middles = (np.arange(SLICES) + 0.5) / SLICES
    square = sd**2 * gammaincinv((repeats - 1) / 2, middles) * 2 / (repeats - 1)
    own = square / repeats
    total = own + common.error**2
    spread = own**2 / (repeats - 1) + common.error**4 / common.degrees
    degrees = np.divide(total**2, spread, out=np.full(SLICES, repeats - 1.0), where=spread > 0)
    half = stdtrit(degrees, 1 - alpha / 2) * np.sqrt(total)
    inside = np.minimum(half, np.maximum(0.0, (0.0 if margin is None else margin) - half))
    error = math.sqrt(sd**2 / repeats + common.error**2)
    if error == 0:
        undecided = (abs(difference) > inside) & (abs(difference) <= half)
        return float(1 - undecided.mean())
    within = [
        ndtr((x - difference) / error) - ndtr((-x - difference) / error) for x in (half, inside)
    ]
    return float(1 - (within[0] - within[1]).mean())


def repeats_to_decide(
    difference: float,
    sd: float,
    margin: float | None = None,
    alpha: float = ALPHA,
    shared: Shared | None = None,
    power: float = POWER,
) -> int | None:
    """The fewest repeats, 2 to ``MOST``, at which the pair is decided with the given power.

    None if even ``MOST`` do not: the true difference is too small and there is no margin, or noise
    that all repeats share hides it, which only more seeds lower.

    Args:
        difference, sd, margin, alpha, shared: as for :func:`decision_power`.
        power: probability of a decision.
    """

    def enough(repeats: int) -> bool:
        return decision_power(repeats, difference, sd, margin, alpha, shared) >= power

    if not enough(MOST):
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
