"""What selection does: brute force over all draws, and traces whose answer is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.statistics.selection import (
    Overtuning,
    expected_validation,
    overtuning,
    selection_gap,
)


class TestExpectedValidation:
    @given(st.lists(st.integers(0, 20).map(lambda i: i / 20), min_size=1, max_size=5))
    def test_is_the_mean_over_all_draws(self, errors: list[float]) -> None:
        found = expected_validation(errors)
        assert len(found) == len(errors)
        for k, (mean, sd) in enumerate(found, start=1):
            least = [min(draw) for draw in itertools.product(errors, repeat=k)]
            assert mean == pytest.approx(np.mean(least), abs=1e-12)
            assert sd == pytest.approx(np.std(least), abs=1e-7)

    @pytest.mark.slow
    def test_comes_close_to_the_truth_for_few_of_many_uniform_errors(self) -> None:
        errors = np.random.default_rng(0).random(2000).tolist()
        found = expected_validation(errors)
        assert [found[k - 1][0] for k in (1, 3, 9)] == pytest.approx(
            [1 / 2, 1 / 4, 1 / 10], abs=0.02
        )

    def test_of_nothing_is_nothing(self) -> None:
        assert expected_validation([]) == ()


class TestOvertuning:
    @pytest.mark.parametrize(
        ("trace", "absolute", "relative"),
        [
            ([0.5, 0.4, 0.3], 0, 0),
            ([0.5, 0.3, 0.4], 0.1, 0.5),
            ([0.5, 0.3, 0.6], 0.3, 1.5),
            ([0.5, 0.6], 0.1, math.inf),
            ([0.5], 0, 0),
        ],
    )
    def test_of_a_trace(self, trace: list[float], absolute: float, relative: float) -> None:
        found = overtuning(trace)
        assert found is not None
        assert (found.absolute, found.relative) == pytest.approx((absolute, relative))

    def test_of_no_trace(self) -> None:
        assert overtuning([]) is None
        assert overtuning([0.2, 0.2]) == Overtuning(0, 0)


class TestSelectionGap:
    def test_is_students_interval_of_the_gaps(self) -> None:
        selected, retrained = [0.2, 0.25, 0.22], [0.24, 0.26, 0.28]
        found = selection_gap(selected, retrained)
        expected = scipy.stats.ttest_rel(retrained, selected).confidence_interval()
        assert found is not None
        assert found.mean == pytest.approx(0.11 / 3)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))

    def test_the_least_of_many_noisy_errors_was_too_hopeful(self) -> None:
        noise = np.random.default_rng(1).normal(0.3, 0.05, size=(12, 30))
        found = selection_gap(noise.min(axis=1).tolist(), [0.3] * 12)
        assert found is not None
        assert found.low is not None
        assert found.low > 0.05

    def test_few_picks(self) -> None:
        assert selection_gap([], []) is None
        found = selection_gap([0.2], [0.3])
        assert found is not None
        assert found.low is None
