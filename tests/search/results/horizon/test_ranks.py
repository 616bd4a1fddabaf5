"""Weighted rank statistics against SciPy, against sums over pairs, and against repeated rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from tuneoff.search.results.horizon.ranks import (
    interval,
    kendall,
    mean_of_best,
    plain_spearman,
    regret,
    resamples,
    shared_best,
    spearman,
)
from tuneoff.search.results.horizon.records import Interval

errors = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 4)), min_size=3, max_size=12
)
ONE = np.ones


def arrays(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, w = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return x / 10, y / 10, w


@given(errors)
def test_with_equal_weights_they_are_scipys(rows: list[tuple[int, int, int]]) -> None:
    x, y, _ = arrays(rows)
    ones = ONE((1, len(x)))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(spearman(x, y, ones)[0])
        assert math.isnan(kendall(x, y, ones)[0])
        return
    assert spearman(x, y, ones)[0] == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert kendall(x, y, ones)[0] == pytest.approx(scipy.stats.kendalltau(x, y).statistic)


@given(errors)
def test_a_weight_is_that_many_configurations(rows: list[tuple[int, int, int]]) -> None:
    """Of whole weights: as if each row stood there as often."""
    x, y, w = arrays(rows)
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    times = w.astype(int)
    repeated = np.repeat(x, times), np.repeat(y, times)
    assert spearman(x, y, w[None])[0] == pytest.approx(scipy.stats.spearmanr(*repeated).statistic)
    assert kendall(x, y, w[None])[0] == pytest.approx(scipy.stats.kendalltau(*repeated).statistic)


@given(errors, st.floats(0.1, 100))
def test_only_ranks_and_the_shares_of_weights_count(
    rows: list[tuple[int, int, int]], factor: float
) -> None:
    x, y, w = arrays(rows)
    for statistic in (spearman, kendall):
        plain = statistic(x, y, w[None])[0]
        assert statistic(np.exp(x), y**3, factor * w[None])[0] == pytest.approx(plain, nan_ok=True)
        assert statistic(y, x, w[None])[0] == pytest.approx(plain, nan_ok=True)
        assert statistic(-x, y, w[None])[0] == pytest.approx(-plain, nan_ok=True)
        assert math.isnan(plain) or -1 <= plain <= 1


def test_all_resamples_at_once_are_each_by_itself() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.random(9), generator.random(9)
    counts = resamples([0] * 4 + [1] * 5, 50)
    for statistic in (spearman, kendall):
        together = statistic(x, y, counts)
        alone = [statistic(x, y, row[None])[0] for row in counts]
        assert together == pytest.approx(alone)


def test_resamples_keep_the_size_of_every_stratum() -> None:
    strata = [2, 0, 0, 1, 2, 2]
    counts = resamples(strata, 300)
    assert counts.shape == (300, 6)
    for name in set(strata):
        inside = [i for i, s in enumerate(strata) if s == name]
        assert set(counts[:, inside].sum(axis=1)) == {float(len(inside))}
    assert counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.2)
    assert np.array_equal(counts, resamples(strata, 300))  # the same report every time


@pytest.mark.slow
def test_the_interval_of_a_correlation_covers_it() -> None:
    """Of 200 samples of 20 from a normal pair, Spearman's rho = 6/pi arcsin(r/2) (Pearson 1907)."""
    generator = np.random.default_rng(0)
    r = 0.8
    truth, inside = 6 / math.pi * math.asin(r / 2), 0
    for _ in range(200):
        x = generator.standard_normal(20)
        y = r * x + math.sqrt(1 - r * r) * generator.standard_normal(20)
        order = np.argsort(np.argsort(x)) * 3 // 20
        found = interval(spearman(x, y, resamples(order.tolist(), 400)))
        assert found is not None
        inside += found.low <= truth <= found.high
    assert 0.88 <= inside / 200 <= 1.0


def test_the_interval_of_many_runs_is_the_formulas() -> None:
    """Of four values: artanh r -+ 1.96 sqrt(1 + r^2 / 2)."""
    x, y = np.array([1, 2, 3, 4.0]), np.array([1, 4, 2, 3.0])
    rho, around = plain_spearman(x, y)
    assert rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert rho is not None
    assert around is not None
    half = 1.959964 * math.sqrt(1 + rho**2 / 2)
    assert around.low == pytest.approx(math.tanh(math.atanh(rho) - half))
    assert around.high == pytest.approx(math.tanh(math.atanh(rho) + half))
    assert plain_spearman(x, np.ones(4)) == (None, None)
    rho, around = plain_spearman(x, x)
    assert rho == pytest.approx(1)
    assert around is not None
    assert around.low < 1


def test_an_interval_leaves_out_what_is_not_defined() -> None:
    assert interval(np.array([math.nan] * 3 + [1.0] * 2)) is None
    assert interval(np.array([math.nan] * 2 + [1.0, 1.0])) == Interval(1.0, 1.0)
    assert interval(np.array([])) is None


@given(errors)
def test_regret_is_what_brute_force_says(rows: list[tuple[int, int, int]]) -> None:
    x, y, w = arrays(rows)
    counts = np.vstack([np.ones(len(x)), np.where(w > 2, w, 0)])
    assume((counts[1] > 0).any())
    found = regret(x, y, y, counts)
    for value, row in zip(found, counts, strict=True):
        here = [i for i in range(len(x)) if row[i]]
        by_short, by_long = min(here, key=lambda i: x[i]), min(here, key=lambda i: y[i])
        assert value == y[by_short] - y[by_long]
        assert value >= 0


def test_regret_may_be_measured_by_other_errors_than_those_that_choose() -> None:
    short, long = np.array([0.1, 0.2]), np.array([0.3, 0.2])
    assert regret(short, long, np.array([0.25, 0.5]), ONE((1, 2)))[0] == -0.25


def test_shared_best() -> None:
    x, y = np.array([1, 2, 3, 4, 5.0]), np.array([2, 5, 1, 4, 3.0])
    assert [shared_best(x, y, k) for k in (1, 2, 3, 5)] == [0, 1, 2, 5]


@given(errors, st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_the_mean_of_the_best_is_what_brute_force_says(
    rows: list[tuple[int, int, int]], share: float
) -> None:
    x, y, w = arrays(rows)
    counts = np.vstack([np.ones(len(x)), w])
    found = mean_of_best(x, y, w, counts, share)
    for value, row in zip(found, counts, strict=True):
        order = sorted(range(len(x)), key=lambda i: y[i])
        drawn = [i for i in order for _ in range(int(row[i]))]
        best = drawn[: max(1, round(share * len(drawn)))]
        assert value == pytest.approx(np.average(x[best], weights=w[best]))
