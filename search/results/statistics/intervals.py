"""Summaries of a sample and intervals of its mean that assume no distribution."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence

import numpy as np
import scipy.stats

from tuneoff.search.results.statistics.levels import CONFIDENCE, SEED, Floats


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, None for no value, and standard deviation, None for fewer than two."""
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def bootstrap_interval(
    values: Sequence[float], level: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Interval of the mean: bias-corrected and accelerated bootstrap (Efron, 1987).

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
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    if not np.isfinite([interval.low, interval.high]).all():
        low, high = interval_of_means(data[:, None], level)
        return low[0], high[0]
    return float(interval.low), float(interval.high)


def interval_of_means(
    table: Floats, level: float = CONFIDENCE
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Percentile bootstrap over the rows (Efron, 1979): lows and highs, one for each column.

    Both are empty for fewer than two rows. Every column sees the same resampled rows, so that a
    band's edges are as smooth as its curve.
    """
    rows = len(table)
    if rows < 2:
        return (), ()
    generator = np.random.default_rng(SEED)
    counts = generator.multinomial(rows, [1 / rows] * rows, size=2000)  # (resamples, rows)
    tail = (1 - level) / 2
    low, high = np.quantile(counts @ table / rows, [tail, 1 - tail], axis=0)
    return tuple(low.tolist()), tuple(high.tolist())
