"""Rank correlations, regret and means of the best, weighted, with a stratified bootstrap.

A resample is a row of counts: how often each configuration was drawn. Every statistic takes a table
of such rows, (resamples, configurations), and gives one value for each; the sample itself is a row
of ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.stats

from tuneoff.search.results.horizon.records import Interval
from tuneoff.search.results.statistics.levels import CONFIDENCE, SEED

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 2000
_ALMOST_ONE: Final = 1 - 1e-9  # artanh of 1 is infinite
_NONE: Final = 1e-12  # a variance below it is that of equal values


def resamples(strata: Sequence[int], size: int = RESAMPLES) -> Floats:
    """Counts of a bootstrap that draws within strata (Efron, Tibshirani, 1993, chapter 8).

    Each stratum is drawn from as often as it has configurations, so that no resample lacks the bad
    or the good ones.

    Args:
        strata: of each configuration.

    Returns:
        (size, configurations).
    """
    generator = np.random.default_rng(SEED)
    names = np.asarray(strata)
    counts = np.zeros((size, len(names)))
    for name in np.unique(names):
        inside = np.flatnonzero(names == name)
        share = np.full(len(inside), 1 / len(inside))
        counts[:, inside] = generator.multinomial(len(inside), share, size=size)
    return counts


def interval(values: Floats) -> Interval | None:
    """The percentile interval (Efron, 1979) of resampled statistics; None if hardly any is known.

    Resamples in which the statistic is not defined (NaN) are left out, at most half of them.
    """
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values) or not len(known):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Weighted Spearman correlation: the weighted Pearson correlation of weighted mid-ranks.

    The rank of value i is sum_j w_j ([x_j < x_i] + [x_j = x_i] / 2), as if configuration j stood
    there w_j times. With equal weights it is Spearman's own (1904), ties included.

    Args:
        x, y: (configurations,).
        weights: (resamples, configurations), counts included.

    Returns:
        (resamples,), -1 to 1; NaN where all x or all y are equal.
    """
    return _pearson(_ranks(x, weights), _ranks(y, weights), weights)


def plain_spearman(x: Floats, y: Floats) -> tuple[float | None, Interval | None]:
    """Spearman's correlation of many runs that all count alike, with its interval.

    tanh(artanh r -+ z sqrt((1 + r^2 / 2) / (n - 3))) (Bonett, Wright, 2000, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations"): a bootstrap of
    thousands of runs would take minutes.

    Args:
        x, y: four values or more.

    Returns:
        None twice where all x or all y are equal.
    """
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None, None
    rho = float(np.clip(scipy.stats.spearmanr(x, y).statistic, -1, 1))
    z = scipy.stats.norm.ppf((1 + CONFIDENCE) / 2)
    half = z * math.sqrt((1 + rho * rho / 2) / (len(x) - 3))
    middle = math.atanh(max(-_ALMOST_ONE, min(_ALMOST_ONE, rho)))
    return rho, Interval(math.tanh(middle - half), math.tanh(middle + half))


def _ranks(values: Floats, weights: Floats) -> Floats:
    before = np.where(values[None, :] < values[:, None], 1.0, 0.0)
    before += np.where(values[None, :] == values[:, None], 0.5, 0.0)
    return np.asarray(weights @ before.T)


def _pearson(a: Floats, b: Floats, weights: Floats) -> Floats:
    share = weights / weights.sum(axis=1, keepdims=True)
    a = a - (share * a).sum(axis=1, keepdims=True)
    b = b - (share * b).sum(axis=1, keepdims=True)
    squares = (share * a * a).sum(axis=1) * (share * b * b).sum(axis=1)
    scale = weights.sum(axis=1) ** 4  # of a rank's variance, squared
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (share * a * b).sum(axis=1) / np.sqrt(squares)
    return np.where(squares > _NONE * scale, np.clip(found, -1, 1), np.nan)


def kendall(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Weighted Kendall correlation tau-b (Kendall, 1945), each pair with the product of weights.

    tau = sum_ij w_i w_j s_ij t_ij / sqrt(sum_ij w_i w_j s_ij^2 sum_ij w_i w_j t_ij^2), with the
    signs s_ij of x_i - x_j and t_ij of y_i - y_j.

    Args, Returns: as ``spearman``.
    """
    s = np.sign(x[:, None] - x[None, :])
    t = np.sign(y[:, None] - y[None, :])

    def total(signs: Floats) -> Floats:
        return np.asarray(((weights @ signs) * weights).sum(axis=1))

    products = total(s * s) * total(t * t)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = total(s * t) / np.sqrt(products)
    return np.where(products > 0, np.clip(found, -1, 1), np.nan)


def shared_best(x: Floats, y: Floats, top: int) -> int:
    """How many of the ``top`` lowest of x are among those of y; of equals the first."""
    first, second = (set(np.argsort(v, kind="stable")[:top].tolist()) for v in (x, y))
    return len(first & second)


def regret(short: Floats, long: Floats, measured: Floats, counts: Floats) -> Floats:
    """What choosing by the short horizon costs at the long one.

    measured[argmin short] - measured[argmin long], among the configurations with a count; of equals
    the first.

    Args:
        short, long: the errors by which is chosen, (configurations,).
        measured: the errors at the long horizon by which the choice is judged.
        counts: (resamples, configurations).
    """
    here = counts > 0
    by_short = np.where(here, short, np.inf).argmin(axis=1)
    by_long = np.where(here, long, np.inf).argmin(axis=1)
    return np.asarray(measured[by_short] - measured[by_long])


def mean_of_best(
    values: Floats, errors: Floats, weights: Floats, counts: Floats, share: float
) -> Floats:
    """Weighted mean of the values of the configurations with the lowest errors, (resamples,).

    Args:
        values, errors, weights: (configurations,).
        counts: (resamples, configurations).
        share: how much of each resample counts as the best, 0 to 1, one configuration at least.
    """
    order = np.argsort(errors, kind="stable")
    drawn = counts[:, order]
    top = np.maximum(1.0, np.round(share * drawn.sum(axis=1, keepdims=True)))
    before = np.cumsum(drawn, axis=1) - drawn
    kept = np.clip(top - before, 0, drawn) * weights[order]
    return np.asarray((kept * values[order]).sum(axis=1) / kept.sum(axis=1))
