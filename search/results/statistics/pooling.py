"""Differences of several studies pooled into one: random-effects meta-analysis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import chdtri, stdtrit

from tuneoff.search.results.statistics.levels import CONFIDENCE, Floats

_GRID: Final = 200
"""Values of tau^2 among which the highest likelihood is looked for before it is refined."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """The mean of the differences that studies like these have; in the unit of the differences.

    Attributes:
        count: studies k.
        mean: mu, the mean over studies.
        standard_error: of the mean.
        tau: standard deviation between the studies' true differences.
        tau_low, tau_high: 95% interval of tau; ``tau_high`` is infinite where nothing bounds it.
        weights: of each study in the mean; they sum to 1.
    """

    count: int
    mean: float
    standard_error: float
    tau: float
    tau_low: float
    tau_high: float
    weights: tuple[float, ...]

    def interval(self, level: float = CONFIDENCE) -> tuple[float, float]:
        """Interval of the mean: mu -+ t_(k - 1, level) * standard error."""
        return self._around(self.count - 1, self.standard_error, level)

    def prediction(self, level: float = CONFIDENCE) -> tuple[float, float] | None:
        """Interval of the true difference in one more study like these.

        mu -+ t_(k - 2, level) * sqrt(tau^2 + standard error^2): Higgins, Thompson, Spiegelhalter
        (2009), J. R. Stat. Soc. A 172, equation 12. None for two studies.
        """
        if self.count < 3:
            return None
        return self._around(self.count - 2, math.hypot(self.tau, self.standard_error), level)

    def _around(self, degrees: int, error: float, level: float) -> tuple[float, float]:
        half = float(stdtrit(degrees, (1 + level) / 2)) * error
        return self.mean - half, self.mean + half


def pool(differences: Sequence[float], errors: Sequence[float]) -> Pooled:
    """Pool the differences of independent studies.

    The model: study i has the true difference theta_i ~ N(mu, tau^2), and shows y_i ~ N(theta_i,
    v_i), v_i the square of its standard error. Studies weigh w_i = 1 / (v_i + tau^2), and mu is
    estimated by their weighted mean.

    tau^2 maximises the restricted likelihood (REML; Raudenbush 2009, in The Handbook of Research
    Synthesis; recommended by Veroniki et al. 2016, Research Synthesis Methods 7),

        -2 l(tau^2) = sum_i log(v_i + tau^2) + log sum_i w_i + sum_i w_i (y_i - mu)^2.

    Its interval is the Q-profile (Viechtbauer 2007, Statistics in Medicine 26): those tau^2 for
    which sum_i w_i (y_i - mu)^2 lies between the 2.5% and 97.5% quantiles of chi^2 with k - 1
    degrees of freedom.

    The standard error of mu is Hartung and Knapp's (2001, Statistics in Medicine 20), Sidik and
    Jonkman's (2002): sqrt(q / sum_i w_i) with q = sum_i w_i (y_i - mu)^2 / (k - 1), and Student's t
    with k - 1 degrees of freedom. Where q is below 1 it is taken as 1: without that the interval is
    too narrow for few studies of unequal precision (Roever, Knapp, Friede 2015, BMC Medical
    Research Methodology 15:99).

    Args:
        differences: y, one for each study; two at least.
        errors: their standard errors, above 0.

    Raises:
        ValueError: there are fewer than two studies, or a standard error is not above 0.
    """
    y, v = np.asarray(differences, dtype=float), np.asarray(errors, dtype=float) ** 2
    if y.size < 2:
        raise ValueError("fewer than two studies")
    if y.shape != v.shape or not (v > 0).all():
        raise ValueError("a study without a standard error above 0")
    # In a unit of their own size, so that the smallest squares do not vanish.
    unit = math.sqrt(float(v.max()) + float(np.ptp(y)) ** 2)
    y, v = y / unit, v / unit**2
    tau2 = _restricted_maximum(y, v)
    low, high = _profile(y, v)
    weights = 1 / (v + tau2)
    mean = float(weights @ y / weights.sum())
    spread = max(1.0, _q(y, v, tau2) / (y.size - 1))
    return Pooled(
        count=y.size,
        mean=mean * unit,
        standard_error=math.sqrt(spread / float(weights.sum())) * unit,
        tau=math.sqrt(tau2) * unit,
        tau_low=math.sqrt(low) * unit,
        tau_high=math.sqrt(high) * unit,
        weights=tuple((weights / weights.sum()).tolist()),
    )


def _restricted_maximum(y: Floats, v: Floats) -> float:
    """tau^2 of the highest restricted likelihood; of all maxima, there may be several."""

    def cost(tau2: float) -> float:
        weights = 1 / (v + tau2)
        return float(-np.log(weights).sum() + math.log(weights.sum()) + _q(y, v, tau2))

    # Beyond the sum of squares every term grows with tau^2.
    most = float(((y - y.mean()) ** 2).sum()) + float(v.max())
    grid = np.concatenate([[0.0], np.geomspace(1e-9 * most, most, _GRID)])
    best = int(np.argmin([cost(float(tau2)) for tau2 in grid]))
    around = float(grid[max(0, best - 1)]), float(grid[min(_GRID, best + 1)])
    found = minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-12})
    return 0.0 if cost(0.0) <= found.fun else float(found.x)


def _profile(y: Floats, v: Floats) -> tuple[float, float]:
    """The Q-profile interval of tau^2 at 95%."""
    tail = (1 - CONFIDENCE) / 2
    high, low = (float(chdtri(y.size - 1, p)) for p in (tail, 1 - tail))

    def where(quantile: float) -> float:
        return _root(lambda tau2: _q(y, v, tau2) - quantile)

    return where(high), where(low)


def _root(falling: Callable[[float], float]) -> float:
    """Where a function that falls from 0 on crosses zero; 0 if it begins below."""
    if falling(0.0) <= 0:
        return 0.0
    most = 1.0
    while falling(most) > 0:
        most *= 2
    return float(brentq(falling, 0.0, most, xtol=1e-14))


def _q(y: Floats, v: Floats, tau2: float) -> float:
    weights = 1 / (v + tau2)
    return float(weights @ (y - weights @ y / weights.sum()) ** 2)
