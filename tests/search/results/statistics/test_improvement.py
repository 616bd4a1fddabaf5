"""Probability of improvement, against SciPy's interval of a proportion."""

from __future__ import annotations

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.statistics.improvement import probability_of_improvement


class TestImprovement:
    @given(st.integers(0, 12), st.integers(0, 12))
    def test_agrees_with_scipy(self, wins: int, losses: int) -> None:
        found = probability_of_improvement([0.1] * wins + [-0.2] * losses)
        if wins + losses == 0:
            assert found is None
            return
        assert found is not None
        test = scipy.stats.binomtest(wins, wins + losses)
        expected = test.proportion_ci(method="wilson")
        assert found.probability == pytest.approx(wins / (wins + losses))
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))

    def test_a_tie_is_half_a_win(self) -> None:
        found = probability_of_improvement([0.1, 0.0, -0.1, 0.0])
        assert found is not None
        assert found.probability == 0.5

    def test_winning_every_one_of_few_repeats_is_not_certain(self) -> None:
        found = probability_of_improvement([0.1] * 4)
        assert found is not None
        assert 0.5 < found.low < 0.6
        assert found.high == 1
