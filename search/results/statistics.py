"""Statistics of arrays of numbers: tests, intervals and corrections, each with its source."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.stats

CONFIDENCE: Final = 0.95
ALPHA: Final = 0.05  # a p-value below it is called significant
SEED: Final = 0  # of every bootstrap, so that the same results always give the same report

Floats = npt.NDArray[np.float64]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the given order (Holm, 1979): control the family-wise error rate.

    adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)), with p_(1) the smallest of m.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test (Wilcoxon, 1945); zero differences are dropped.

    Exact by enumeration up to 13 pairs, ties or not, because SciPy's normal approximation would
    call five pairs significant, which no exact test can: the smallest p is 2 / 2^n.
    """
    moved = [d for d in differences if d != 0]
    if not moved:
        return 1.0
    return float(scipy.stats.wilcoxon(moved).pvalue)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95% interval of the mean: bias-corrected and accelerated bootstrap (Efron, 1987).

    None for fewer than two values.
    """
    data = np.asarray(values, dtype=float)
    if data.size < 2:
        return None
    if np.ptp(data) == 0:  # BCa divides by the spread of the resampled means
        return float(data[0]), float(data[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        interval = scipy.stats.bootstrap(
            (data,),
            np.mean,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    if not np.isfinite([interval.low, interval.high]).all():
        low, high = interval_of_means(data[:, None])
        return low[0], high[0]
    return float(interval.low), float(interval.high)


def pairs_needed(baselines: int) -> int:
    """The fewest paired repeats with which p < 0.05 is possible after Holm's correction.

    The exact signed-rank test cannot go below 2 / 2^n, and Holm multiplies the smallest p by
    the number of baselines: 6 pairs for one baseline, 7 for two or three.
    """
    pairs = 1
    while 2 * max(1, baselines) / 2**pairs >= ALPHA:
        pairs += 1
    return pairs


def interval_of_means(table: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Percentile bootstrap over the rows (Efron, 1979): lows and highs, one for each column.

    Both are empty for fewer than two rows. Every column sees the same resampled rows, so that a
    band's edges are as smooth as its curve.
    """
    rows = len(table)
    if rows < 2:
        return (), ()
    generator = np.random.default_rng(SEED)
    counts = generator.multinomial(rows, [1 / rows] * rows, size=2000)  # (resamples, rows)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(counts @ table / rows, [tail, 1 - tail], axis=0)
    return tuple(low.tolist()), tuple(high.tolist())


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, None for no value, and standard deviation, None for fewer than two."""
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def repeats_to_show(mean: float, sd: float, baselines: int, power: float = 0.8) -> int | None:
    """Repeats that show a true difference ``mean`` with the given power; None above 1,000.

    n = ((z_(1 - alpha/2m) + z_power) sd / mean)^2 for a paired test of normal differences,
    times pi / 3, the signed-rank test's asymptotic relative efficiency (Hodges, Lehmann, 1956).
    """
    if abs(mean) < 1e-9:
        return None
    normal = statistics.NormalDist()
    quantiles = normal.inv_cdf(1 - ALPHA / (2 * baselines)) + normal.inv_cdf(power)
    repeats = math.ceil((quantiles * sd / mean) ** 2 * math.pi / 3)
    return max(repeats, pairs_needed(baselines)) if repeats <= 1000 else None
