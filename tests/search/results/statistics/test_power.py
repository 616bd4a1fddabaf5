"""Planned repeats: SciPy's noncentral t, simulated decisions, a published number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from tuneoff.search.results.statistics.forecast import Shared
from tuneoff.search.results.statistics.power import decision_power, repeats_to_decide


class TestDecisionPower:
    @pytest.mark.parametrize("repeats", [2, 6, 30])
    @pytest.mark.parametrize("difference", [0.0, 0.5, -1.5])
    def test_without_margin_is_the_power_of_the_t_test(
        self, repeats: int, difference: float
    ) -> None:
        limit, shift = scipy.stats.t.ppf(0.975, repeats - 1), difference * math.sqrt(repeats)
        t = scipy.stats.nct(repeats - 1, shift) if shift else scipy.stats.t(repeats - 1)
        expected = t.sf(limit) + t.cdf(-limit)
        assert decision_power(repeats, difference, 1.0) == pytest.approx(expected, abs=2e-3)

    @pytest.mark.parametrize("difference", [0.0, 0.4, 1.0])
    @pytest.mark.parametrize("shared", [None, Shared(0.2, 1000)])
    def test_with_margin_is_how_often_simulated_intervals_decide(
        self, difference: float, shared: Shared | None
    ) -> None:
        rng = np.random.default_rng(0)
        error = shared.error if shared else 0.0
        drawn = difference + rng.normal(size=(20_000, 9)) + error * rng.normal(size=(20_000, 1))
        mean, own = drawn.mean(axis=1), drawn.var(axis=1, ddof=1) / 9
        degrees = (own + error**2) ** 2 / (own**2 / 8 + error**4 / 1000)
        half = scipy.stats.t.ppf(0.975, degrees) * np.sqrt(own + error**2)
        decided = (np.abs(mean) > half) | (np.abs(mean) + half <= 0.9)
        found = decision_power(9, difference, 1.0, 0.9, shared=shared)
        assert found == pytest.approx(decided.mean(), abs=0.012)


class TestRepeatsToDecide:
    @pytest.mark.parametrize(("difference", "margin"), [(0.8, None), (0.0, 0.7), (0.2, 0.7)])
    def test_are_the_fewest_with_the_power(self, difference: float, margin: float | None) -> None:
        repeats = repeats_to_decide(difference, 1.0, margin)
        assert repeats is not None
        assert decision_power(repeats, difference, 1.0, margin) >= 0.8
        assert decision_power(repeats - 1, difference, 1.0, margin) < 0.8

    def test_published_number_for_a_paired_t_test(self) -> None:
        """Effect 0.5, two-sided 5%, power 80%: 34 pairs (G*Power 3 manual; Faul et al., 2007)."""
        assert repeats_to_decide(0.5, 1.0) == 34

    @pytest.mark.parametrize(
        ("difference", "shared"),
        [(0.0, None), (0.5, Shared(0.4, 20))],
        ids=["no difference and no margin", "hidden by shared noise"],
    )
    def test_out_of_reach(self, difference: float, shared: Shared | None) -> None:
        assert repeats_to_decide(difference, 1.0, shared=shared) is None

    def test_without_noise_two_repeats_do(self) -> None:
        assert repeats_to_decide(0.5, 0.0) == 2
        assert repeats_to_decide(0.1, 0.0, margin=0.5) == 2
