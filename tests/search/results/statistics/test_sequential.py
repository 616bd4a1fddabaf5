"""Repeated confidence intervals: published bounds, and simulated looks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tuneoff.search.results.statistics.sequential import looks, looks_at, spending_bounds


class TestBounds:
    """Five equally spaced looks, alpha = 0.05: the example of Reboussin et al. (2000), ldbounds."""

    fractions = np.arange(1, 6) / 5

    def test_of_obrien_fleming_like_spending(self) -> None:
        quantile = scipy.stats.norm.ppf(1 - 0.05 / 4)
        spent = 4 * scipy.stats.norm.sf(quantile / np.sqrt(self.fractions))
        expected = [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]
        assert spending_bounds(self.fractions, spent) == pytest.approx(expected, abs=2e-4)

    def test_of_pocock_like_spending(self) -> None:
        spent = 0.05 * np.log(1 + (np.e - 1) * self.fractions)
        expected = [2.4380, 2.4268, 2.4101, 2.3966, 2.3860]
        assert spending_bounds(self.fractions, spent) == pytest.approx(expected, abs=2e-4)

    def test_one_look_is_the_normal_interval(self) -> None:
        assert spending_bounds(np.ones(1), [0.05])[0] == pytest.approx(scipy.stats.norm.ppf(0.975))


def missed(first: int, last: int, alpha: float, seed: int) -> float:
    """Share of simulated series of normal differences whose t interval misses 0 at some look."""
    plan = looks(first, last, alpha)
    steps = np.random.default_rng(seed).standard_normal((20_000, last))
    out = np.zeros(len(steps), dtype=bool)
    for count in plan.repeats:
        level = plan.level(count)
        assert level is not None
        part = steps[:, :count]
        half = scipy.stats.t.ppf((1 + level) / 2, count - 1) * part.std(axis=1, ddof=1)
        out |= np.abs(part.mean(axis=1)) > half / np.sqrt(count)
    return float(out.mean())


class TestLooks:
    @pytest.mark.slow
    @pytest.mark.parametrize(("first", "last"), [(2, 8), (6, 20)])
    @pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
    def test_intervals_of_all_looks_hold_together(
        self, first: int, last: int, alpha: float
    ) -> None:
        share = missed(first, last, alpha, seed=12)
        # Three standard errors of this simulation and of the one behind the factor.
        assert share == pytest.approx(alpha, abs=3 * np.sqrt(alpha / 20_000 + 1e-6))

    def test_a_single_look_is_students_interval(self) -> None:
        assert looks(8, 8).level(8) == pytest.approx(0.95)

    def test_later_looks_are_narrower_until_the_last(self) -> None:
        plan = looks(6, 20)
        assert plan.tails[1:] == tuple(sorted(plan.tails[1:]))
        assert plan.tails[-1] < 0.05

    def test_level_between_looks_is_the_earlier_one(self) -> None:
        plan = looks_at((4, 8))
        assert plan.level(3) is None
        assert plan.level(5) == plan.level(4) == 1 - plan.tails[0]
        with pytest.raises(ValueError, match="last look is at 8"):
            plan.level(9)

    @pytest.mark.parametrize(("first", "last", "alpha"), [(1, 5, 0.05), (6, 5, 0.05), (2, 5, 0.0)])
    def test_refuses_what_makes_no_sense(self, first: int, last: int, alpha: float) -> None:
        with pytest.raises(ValueError, match="no looks at"):
            looks(first, last, alpha)
