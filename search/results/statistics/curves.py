"""Anytime curves of several repeats: bands of their means, and when one arm matches another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from tuneoff.search.results.statistics.levels import CONFIDENCE, SEED, Floats

RESAMPLES: Final = 4000
TRIMMED: Final = 0.25  # of the repeats at either end, in an interquartile mean


@dataclass(frozen=True, slots=True)
class Band:
    """A curve with an interval at each of its points.

    Attributes:
        centre: the mean or interquartile mean. Shape (points,).
        low, high: edges of the interval; empty if no stratum has two repeats.
    """

    centre: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def interquartile_mean(values: Floats) -> Floats:
    """Mean over the first axis of what is left without the lowest and the highest quarter.

    As ``scipy.stats.trim_mean(values, 0.25)``, which Agarwal et al. (2021) use: floor(n / 4) values
    are left out at either end.

    Args:
        values: shape (n, ...).
    """
    cut = int(len(values) * TRIMMED)
    kept = np.sort(values, axis=0)[cut : len(values) - cut]
    return np.asarray(kept.mean(axis=0))


def stratified_band(
    tables: Sequence[Floats], trimmed: bool = True, level: float = CONFIDENCE
) -> Band:
    """Interquartile mean (or mean) of anytime curves, with a stratified bootstrap interval.

    Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice (NeurIPS
    2021), section 4: repeats are drawn with replacement within each task, as many as it has, and
    the statistic is taken over the repeats of all tasks together; percentiles of the resamples are
    the interval. All points of a curve see the same resamples. Fixed seed.

    Args:
        tables: for each stratum, such as a data set, curves of shape (repeats, points); all have
            the same points.
        trimmed: interquartile means; else means.
        level: of the interval at each point.

    Raises:
        ValueError: there is no curve.
    """
    if not sum(map(len, tables)):
        raise ValueError("no curve")
    statistic = interquartile_mean if trimmed else _mean
    every = np.concatenate([np.asarray(table, dtype=float) for table in tables])
    centre = tuple(statistic(every).tolist())
    if max(map(len, tables)) < 2:
        return Band(centre, (), ())
    rows = _resampled_rows([len(table) for table in tables])  # (repeats, resamples)
    tails = [(1 - level) / 2, (1 + level) / 2]
    edges = np.array([np.quantile(statistic(column[rows]), tails) for column in every.T])
    return Band(centre, tuple(edges[:, 0].tolist()), tuple(edges[:, 1].tolist()))


def _mean(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=0))


def _resampled_rows(sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Rows of the concatenated tables, resampled within each. Shape (rows, resamples)."""
    generator = np.random.default_rng(SEED)
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate(
        [
            start + generator.integers(0, size, size=(size, RESAMPLES))
            for start, size in zip(starts, sizes, strict=True)
            if size
        ]
    )


@dataclass(frozen=True, slots=True)
class BudgetShare:
    """What share of the baseline's budget an arm needs to be as good as all of it.

    Infinity stands for "not within the arm's own budget": such resamples are kept, so that the
    upper end is infinite where too many of them never get there. A speed-up is 1 / share.

    Attributes:
        share: of the means over all repeats.
        low, high: interval; both None with fewer than two repeats.
    """

    share: float
    low: float | None
    high: float | None


def budget_share(
    arm: Floats,
    baseline_final: Floats,
    spent: Floats,
    budgets: Floats,
    level: float = CONFIDENCE,
) -> BudgetShare:
    """The share of the baseline's budget after which the arm's mean curve has reached its end.

    The target is the mean over repeats of the baseline's final error; the arm has it at the first
    point whose mean error is as low or lower. The interval is a percentile bootstrap over paired
    repeats (Efron, 1979), whose tails are those that make the interval of a mean as wide as
    Student's: Phi(-sqrt(n / (n - 1)) t_(n-1)) instead of (1 - level) / 2, the expanded percentile
    interval (Hesterberg, What teachers should know about the bootstrap, 2015). Its ends are
    resamples themselves, never between two, since between a number and "never" there is nothing.
    Fixed seed.

    Args:
        arm: error of the arm's recommendation, NaN before it has one. Shape (repeats, points).
        baseline_final: final error of the baseline in the same repeats. Shape (repeats,).
        spent: epochs at each point, increasing. Shape (points,).
        budgets: epochs that the baseline spent in each repeat. Shape (repeats,).
        level: of the interval.

    Raises:
        ValueError: there is no repeat or no point.
    """
    repeats, points = arm.shape
    if not repeats or not points:
        raise ValueError("no curve")
    share = float(_shares_of(np.ones((1, repeats)), arm, baseline_final, spent, budgets)[0])
    if repeats < 2:
        return BudgetShare(share, None, None)
    generator = np.random.default_rng(SEED)
    counts = generator.multinomial(repeats, [1 / repeats] * repeats, size=RESAMPLES)
    drawn = _shares_of(counts.astype(float), arm, baseline_final, spent, budgets)
    student = stdtrit(repeats - 1.0, (1 + level) / 2)
    tail = float(ndtr(-math.sqrt(repeats / (repeats - 1)) * student))
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return BudgetShare(share, float(low), float(high))


def _shares_of(
    counts: Floats, arm: Floats, baseline_final: Floats, spent: Floats, budgets: Floats
) -> Floats:
    """One share for each row of ``counts``: how often each repeat is in a resample."""
    unknown = np.isnan(arm)
    sums = counts @ np.where(unknown, 0.0, arm)
    target = counts @ baseline_final
    # The tolerance is for means of equal numbers that were summed in another order.
    reached = (sums <= target[:, None] + 1e-9) & (counts @ unknown == 0)
    first = np.where(reached.any(axis=1), spent[reached.argmax(axis=1)], np.inf)
    return np.asarray(first / (counts @ budgets / counts.sum(axis=1)))
