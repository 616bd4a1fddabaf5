"""Bootstrap intervals: laws that hold for any numbers, and a cross-check with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.results.statistics.intervals import bootstrap_interval, mean_sd

patient = settings(deadline=None)  # the machine may be busy with something else


class TestInterval:
    @pytest.mark.slow
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

    def test_a_higher_level_is_wider(self) -> None:
        values = np.random.default_rng(0).normal(size=12).tolist()
        wide, narrow = bootstrap_interval(values, 0.99), bootstrap_interval(values)
        assert wide is not None
        assert narrow is not None
        assert wide[0] < narrow[0] < narrow[1] < wide[1]

    def test_comes_close_to_students_for_many_normal_values(self) -> None:
        values = np.random.default_rng(1).normal(size=200)
        interval = bootstrap_interval(values.tolist())
        expected = scipy.stats.ttest_1samp(values, 0).confidence_interval()
        assert interval == pytest.approx((expected.low, expected.high), abs=0.02)


class TestMeanSd:
    def test_needs_two_values_for_a_spread(self) -> None:
        assert mean_sd([]) == (None, None)
        assert mean_sd([2.0]) == (2.0, None)
        assert mean_sd([1.0, 3.0]) == pytest.approx((2.0, 2**0.5))
