"""Bands of curves and budget shares: SciPy, brute force, and curves whose answer is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.results.statistics.curves import (
    budget_share,
    interquartile_mean,
    stratified_band,
)
from tuneoff.search.results.statistics.levels import Floats

patient = settings(deadline=None)  # the machine may be busy with something else


class TestInterquartileMean:
    @patient
    @given(st.lists(st.floats(-5, 5), min_size=1, max_size=13))
    def test_agrees_with_scipy(self, values: list[float]) -> None:
        expected = scipy.stats.trim_mean(values, 0.25)
        assert interquartile_mean(np.array(values)) == pytest.approx(expected, abs=1e-12)

    def test_one_run_that_went_wrong_does_not_matter(self) -> None:
        good = np.array([0.2, 0.21, 0.19, 0.2])
        assert interquartile_mean(np.append(good, 0.9)) == pytest.approx(0.2033, abs=1e-4)


class TestBand:
    def test_of_one_stratum_is_the_bootstrap_of_all_resamples(self) -> None:
        values = np.array([0.1, 0.4, 0.2, 0.9])
        every = [np.mean(values[list(rows)]) for rows in itertools.product(range(4), repeat=4)]
        band = stratified_band([values[:, None]], trimmed=False)
        low, high = np.quantile(every, [0.025, 0.975])
        assert band.centre[0] == pytest.approx(0.4)
        assert (band.low[0], band.high[0]) == pytest.approx((low, high), abs=0.02)

    def test_strata_are_resampled_within(self) -> None:
        """Two data sets without noise: a plain bootstrap would mix them in other shares."""
        tables = [np.full((5, 2), 0.1), np.full((5, 2), 0.5)]
        band = stratified_band(tables)
        assert band.low == pytest.approx((0.3, 0.3))
        assert band.high == pytest.approx((0.3, 0.3))

    def test_encloses_its_curve(self) -> None:
        table = np.sort(np.random.default_rng(0).random((8, 5)), axis=1)[:, ::-1]
        band = stratified_band([table])
        assert all(a <= b <= c for a, b, c in zip(band.low, band.centre, band.high, strict=True))
        assert band.centre == pytest.approx(tuple(scipy.stats.trim_mean(table, 0.25, axis=0)))

    def test_one_repeat_has_no_interval_and_none_no_curve(self) -> None:
        assert stratified_band([np.array([[0.3, 0.2]])]).low == ()
        with pytest.raises(ValueError, match="no curve"):
            stratified_band([np.empty((0, 3))])


def brute_share(
    arm: Floats, final: Floats, spent: Floats, budgets: Floats, rows: tuple[int, ...]
) -> float:
    chosen = list(rows)
    target = np.mean(final[chosen])
    for point, epochs in enumerate(spent):
        if np.mean(arm[chosen, point]) <= target + 1e-12:
            return float(epochs / np.mean(budgets[chosen]))
    return math.inf


class TestBudgetShare:
    spent = np.array([10.0, 20.0, 30.0, 40.0])
    arm = np.array([[0.5, 0.3, 0.2, 0.2], [np.nan, 0.4, 0.3, 0.25], [0.6, 0.6, 0.6, 0.55]])
    final = np.array([0.35, 0.3, 0.5])
    budgets = np.array([80.0, 80.0, 100.0])

    def test_of_the_means(self) -> None:
        found = budget_share(self.arm, self.final, self.spent, self.budgets)
        assert found.share == pytest.approx(30 / (260 / 3))

    def test_interval_is_of_all_resamples(self) -> None:
        every = sorted(
            brute_share(self.arm, self.final, self.spent, self.budgets, rows)
            for rows in itertools.product(range(3), repeat=3)
        )
        found = budget_share(self.arm, self.final, self.spent, self.budgets)
        # Three repeats leave tails so thin that the ends are the least and the most there is:
        # 1 in 27 of the resamples are the third repeat alone, which never gets there.
        assert found.low == pytest.approx(every[0])
        assert found.high == every[-1] == math.inf

    def test_never_is_infinite_and_not_left_out(self) -> None:
        arm = np.full((8, 4), 0.5)
        arm[0] = 0.1  # one repeat of eight gets there
        found = budget_share(arm, np.full(8, 0.3), self.spent, np.full(8, 40.0))
        assert found.share == math.inf
        assert found.low == pytest.approx(0.25)
        assert found.high == math.inf

    def test_equal_curves_have_no_uncertainty(self) -> None:
        arm = np.tile([0.5, 0.3, 0.2, 0.2], (6, 1))
        found = budget_share(arm, np.full(6, 0.2), self.spent, np.full(6, 60.0))
        assert (found.share, found.low, found.high) == (0.5, 0.5, 0.5)

    def test_one_repeat_has_no_interval(self) -> None:
        found = budget_share(self.arm[:1], self.final[:1], self.spent, self.budgets[:1])
        assert (found.share, found.low, found.high) == (0.25, None, None)

    def test_refuses_no_repeat(self) -> None:
        with pytest.raises(ValueError, match="no curve"):
            budget_share(np.empty((0, 4)), np.empty(0), self.spent, np.empty(0))
