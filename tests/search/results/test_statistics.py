"""The statistics: laws that hold for any numbers, and cross-checks with SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.results.statistics import bootstrap_interval, holm, pairs_needed, wilcoxon_p

patient = settings(deadline=None)  # the machine may be busy with something else


class TestHolm:
    def test_a_worked_example(self) -> None:
        assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))

    @patient
    @given(st.lists(st.floats(0, 1), max_size=6))
    def test_keeps_the_order_and_never_lowers(self, values: list[float]) -> None:
        adjusted = holm(values)
        assert all(p <= a <= 1 for p, a in zip(values, adjusted, strict=True))
        ranked = [a for _, a in sorted(zip(values, adjusted, strict=True))]
        assert ranked == sorted(ranked)
        assert all(a <= min(1, len(values) * p) for p, a in zip(values, adjusted, strict=True))


def exact_wilcoxon(differences: list[float]) -> float:
    """All 2^n signs, one by one: the definition of the test."""
    moved = [d for d in differences if d]
    ranks = scipy.stats.rankdata(np.abs(moved))
    middle = ranks.sum() / 2
    ours = abs(sum(rank for rank, d in zip(ranks, moved, strict=True) if d > 0) - middle)
    signs = itertools.product((0, 1), repeat=len(moved))
    return float(np.mean([abs(np.dot(sign, ranks) - middle) >= ours - 1e-9 for sign in signs]))


class TestWilcoxon:
    @pytest.mark.slow
    @patient
    @given(st.lists(st.integers(-8, 8).map(float), min_size=1, max_size=9))
    def test_is_exact_with_ties_and_zeros(self, differences: list[float]) -> None:
        assert wilcoxon_p(differences) == pytest.approx(exact_wilcoxon(differences))

    @patient
    @given(st.integers(2, 30), st.integers(0, 1000))
    def test_agrees_with_scipy(self, count: int, seed: int) -> None:
        differences = np.random.default_rng(seed).normal(size=count).tolist()
        expected = scipy.stats.wilcoxon(differences, method="exact").pvalue
        assert wilcoxon_p(differences) == pytest.approx(expected)

    def test_all_zero_is_no_evidence(self) -> None:
        assert wilcoxon_p([0.0] * 8) == 1.0

    @pytest.mark.parametrize(("count", "p"), [(5, 0.0625), (6, 0.03125)])
    def test_five_equal_pairs_stay_above_the_line(self, count: int, p: float) -> None:
        assert wilcoxon_p([0.01] * count) == pytest.approx(p)

    @pytest.mark.parametrize("baselines", [1, 2, 3, 4])
    def test_pairs_needed_is_the_fewest_that_can_do(self, baselines: int) -> None:
        needed = pairs_needed(baselines)
        assert holm([wilcoxon_p([0.01] * needed)] * baselines)[0] < 0.05
        assert holm([wilcoxon_p([0.01] * (needed - 1))] * baselines)[0] >= 0.05


class TestInterval:
    @patient
    @given(st.lists(st.integers(-50, 50).map(lambda i: i / 100), min_size=2, max_size=8))
    def test_lies_within_the_data(self, values: list[float]) -> None:
        interval = bootstrap_interval(values)
        assert interval is not None
        low, high = interval
        assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9

    def test_single_value_has_none_and_equal_values_a_point(self) -> None:
        assert bootstrap_interval([0.1]) is None
        assert bootstrap_interval([0.1] * 4) == (0.1, 0.1)
