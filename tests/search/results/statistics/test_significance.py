"""P-values: laws that hold for any numbers, brute force, and cross-checks with SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.results.statistics.significance import (
    equivalence_p,
    holm,
    sign_flip_p,
    wilcoxon_p,
)

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


class TestSignFlip:
    @patient
    @given(st.lists(st.integers(-8, 8).map(lambda i: i / 10), min_size=1, max_size=9))
    def test_is_the_share_of_all_signs(self, differences: list[float]) -> None:
        signs = itertools.product((-1, 1), repeat=len(differences))
        found = abs(sum(differences))
        shares = [abs(np.dot(sign, differences)) >= found - 1e-9 for sign in signs]
        assert sign_flip_p(differences) == pytest.approx(np.mean(shares))

    def test_agrees_with_scipy(self) -> None:
        differences = np.random.default_rng(3).normal(0.4, size=10)
        expected = scipy.stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert sign_flip_p(differences.tolist()) == pytest.approx(expected.pvalue)

    def test_random_signs_come_close_to_all_signs(self) -> None:
        """30 differences: the sum is a multiple of 1/4, so that all signs can be counted."""
        differences = (np.random.default_rng(4).integers(-4, 7, size=30) / 4).tolist()
        counts = {0.0: 1}
        for d in differences:
            more: dict[float, int] = {}
            for total, ways in counts.items():
                for moved in (total + d, total - d):
                    more[moved] = more.get(moved, 0) + ways
            counts = more
        far = sum(ways for total, ways in counts.items() if abs(total) >= abs(sum(differences)))
        assert sign_flip_p(differences) == pytest.approx(far / 2**30, rel=0.1)

    def test_no_difference_is_no_evidence(self) -> None:
        assert sign_flip_p([0.0] * 5) == sign_flip_p([]) == 1


class TestEquivalence:
    def test_is_the_larger_of_two_one_sided_tests(self) -> None:
        values = np.random.default_rng(5).normal(0.1, size=12)
        mean, error = float(values.mean()), float(scipy.stats.sem(values))
        below = scipy.stats.ttest_1samp(values, -0.8, alternative="greater").pvalue
        above = scipy.stats.ttest_1samp(values, 0.8, alternative="less").pvalue
        assert equivalence_p(mean, error, 11, 0.8) == pytest.approx(max(below, above))

    @patient
    @given(st.floats(-2, 2), st.floats(0.01, 2), st.floats(1, 30), st.floats(0.01, 3))
    def test_agrees_with_the_interval(
        self, mean: float, error: float, degrees: float, margin: float
    ) -> None:
        half = scipy.stats.t.ppf(0.95, degrees) * error  # level 1 - 2 * 0.05
        distance = margin - abs(mean) - half
        if abs(distance) > 1e-6:
            assert (equivalence_p(mean, error, degrees, margin) < 0.05) == (distance > 0)

    def test_without_noise_it_is_certain(self) -> None:
        assert equivalence_p(0.1, 0.0, 5, 0.2) == 0
        assert equivalence_p(0.3, 0.0, 5, 0.2) == 1
