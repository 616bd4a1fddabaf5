"""How wide an interval must be at each look, so that it holds however often one looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, stdtr, stdtrit

from tuneoff.search.results.statistics.levels import ALPHA, SEED, Floats

SPENDING_POWER: Final = 2.0
"""Exponent of the spending function; benchmarks/RESULTS.md compares it with others."""

NODES: Final = 129  # of the integration over the score; more change no level by 1e-5
SIMULATED: Final = 1_500_000  # normal differences, in paths as long as the last look
FARTHEST: Final = 9.0  # standard errors; what is spent beyond is none


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks at a comparison that may end at each of them.

    Attributes:
        alpha: probability that an interval of any look misses the true difference, at most.
        repeats: the numbers of paired repeats at which one may look, increasing.
        tails: for each of them, 1 - the level of its interval.
    """

    alpha: float
    repeats: tuple[int, ...]
    tails: tuple[float, ...]

    def level(self, repeats: int) -> float | None:
        """Level of the interval at this look; None before the first.

        Looks may be left out: those between are then spent for nothing, and the error is smaller.
        A number between two looks takes the earlier one's level, which is the wider interval.

        Raises:
            ValueError: there are more repeats than at the last look.
        """
        if repeats > self.repeats[-1]:
            raise ValueError(f"{repeats} repeats, but the last look is at {self.repeats[-1]}")
        done = [tail for at, tail in zip(self.repeats, self.tails, strict=True) if at <= repeats]
        return 1 - done[-1] if done else None


def looks(first: int, last: int, alpha: float = ALPHA) -> Looks:
    """Repeated confidence intervals at every number of paired repeats from ``first`` to ``last``.

    Jennison, Turnbull (1989): intervals mean -+ c_n * standard error that hold together, at all
    looks, with probability 1 - alpha; whatever rule stops the comparison, the last one holds. The
    c_n spend alpha by f(t) = alpha t^p at the fraction t = n / last of the evidence (Lan, DeMets,
    1983; Kim, DeMets, 1987), ``SPENDING_POWER`` being p. They are computed for normal differences
    by recursive integration (Armitage, McPherson, Rowe, 1969), and turned into the level that a
    normal interval with c_n has; the interval itself is Student's t at that level (Pocock, 1977;
    Jennison, Turnbull, 2000, section 4.4). For few repeats that alone misses too often (5.7
    instead of 5% for looks at 6 to 20 repeats), so that all 1 - level are multiplied by one factor
    with which simulated t intervals of normal differences miss with probability alpha.

    Noise that is common to all repeats, as of seeds of a configuration that all share, makes looks
    more alike than is assumed, and the error smaller.

    Args:
        first: repeats at the first look, 2 at least.
        last: repeats at the last.
        alpha: 0.05 / m for each of m pairs that are judged together (Bonferroni).

    Raises:
        ValueError: first is below 2 or above last, or alpha is not in (0, 1).
    """
    return looks_at(tuple(range(first, last + 1)), alpha)


@lru_cache(maxsize=64)
def looks_at(repeats: tuple[int, ...], alpha: float = ALPHA) -> Looks:
    """As :func:`looks`, at given numbers of repeats only.

    Raises:
        ValueError: the numbers do not increase from 2 or more, or alpha is not in (0, 1).
    """
    if not repeats or repeats[0] < 2 or any(np.diff(repeats) <= 0) or not 0 < alpha < 1:
        raise ValueError(f"no looks at {repeats} repeats with alpha {alpha:g}")
    fractions = np.asarray(repeats) / repeats[-1]
    bounds = spending_bounds(fractions, alpha * fractions**SPENDING_POWER)
    tails = 2 * ndtr(-bounds)
    return Looks(alpha, repeats, tuple((tails * student_factor(repeats, tails, alpha)).tolist()))


def student_factor(repeats: Sequence[int], tails: Floats, alpha: float) -> float:
    """The factor of ``tails`` with which t intervals at these looks miss with probability alpha.

    A path misses if its p-value is below factor * tail at some look: the factor is the alpha
    quantile over simulated paths of min_k p_k / tail_k. Fixed seed; for looks up to 20 repeats its
    standard error is 1.6%, one of 0.0008 in alpha.
    """
    if len(repeats) == 1:
        return 1.0  # Student's interval itself
    last = repeats[-1]
    paths = max(5000, SIMULATED // last)
    at = np.asarray(repeats)
    steps = np.random.default_rng(SEED).standard_normal((paths, last))
    sums, squares = steps.cumsum(axis=1)[:, at - 1], np.square(steps).cumsum(axis=1)[:, at - 1]
    variance = (squares - sums**2 / at) / (at - 1)
    t = np.abs(sums) / np.sqrt(at * variance)
    least = np.ones(paths)
    for look, tail in enumerate(tails):
        near = t[:, look] > -stdtrit(at[look] - 1.0, tail)  # p < 2 tail: no other can matter
        p = 2 * stdtr(at[look] - 1.0, -t[near, look])
        least[near] = np.minimum(least[near], p / tail)
    return float(np.quantile(least, alpha))


def spending_bounds(fractions: Floats, spent: Sequence[float] | Floats) -> Floats:
    """Two-sided bounds c_k on standard normal statistics at given fractions of the evidence.

    P(|Z_1| < c_1, ..., |Z_(k-1)| < c_(k-1), |Z_k| >= c_k) = spent_k - spent_(k-1), where
    corr(Z_j, Z_k) = sqrt(t_j / t_k) (Jennison, Turnbull, 2000, chapters 2 and 19).

    Args:
        fractions: t_k, increasing, at most 1. Shape (looks,).
        spent: error spent up to each look, not decreasing. Shape (looks,).
    """
    points, weights = np.polynomial.legendre.leggauss(NODES)
    bounds = np.empty(len(fractions))
    # The density of the score B_k = Z_k sqrt(t_k) of what has not crossed yet, at nodes.
    nodes, density = np.zeros(1), np.ones(1)
    before_t, before_spent = 0.0, 0.0
    for look, (t, total) in enumerate(zip(fractions, spent, strict=True)):
        step = math.sqrt(t - before_t)
        due = total - before_spent

        args = (nodes, density, t, step, due)
        never = _excess(FARTHEST, *args) >= 0
        bounds[look] = FARTHEST if never else brentq(_excess, 0.0, FARTHEST, args=args)
        edge = bounds[look] * math.sqrt(t)
        new = points * edge
        kernel = np.exp(-0.5 * ((new[:, None] - nodes) / step) ** 2) / (
            step * math.sqrt(2 * math.pi)
        )
        nodes, density = new, (kernel @ density) * weights * edge
        before_t, before_spent = t, total
    return bounds


def _excess(c: float, nodes: Floats, density: Floats, t: float, step: float, due: float) -> float:
    """Probability to cross -+ c at t, less what is due; the score's density is given at nodes."""
    edge = c * math.sqrt(t)
    beyond = ndtr((nodes - edge) / step) + ndtr((-edge - nodes) / step)
    return float(density @ beyond) - due
