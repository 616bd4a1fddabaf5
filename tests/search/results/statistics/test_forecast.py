"""How a comparison ends: against SciPy's power where there is one look, and in the extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from tuneoff.search.results.statistics.forecast import Shared, ends, expected_course, forecast
from tuneoff.search.results.statistics.sequential import looks


class TestExpectedCourse:
    def test_of_one_look_has_the_power_of_the_paired_t_test(self) -> None:
        plan, shift = looks(8, 8), 1.2 * math.sqrt(8)
        power = scipy.stats.nct.sf(scipy.stats.t.ppf(0.975, 7), 7, shift)
        end = expected_course(1.2, 1.0, plan, paths=20_000)
        assert end.better == pytest.approx(power, abs=0.01)
        assert (end.mean_repeats, end.low_repeats, end.high_repeats) == (8, 8, 8)

    def test_of_an_arm_with_itself_is_seldom_decided_wrongly(self) -> None:
        end = expected_course(0.0, 1.0, looks(6, 20), paths=20_000)
        assert end.better + end.worse == pytest.approx(0.05, abs=0.007)
        assert end.equivalent == 0

    def test_of_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(self) -> None:
        end = expected_course(0.8, 1.0, looks(6, 20), margin=0.8, paths=20_000)
        assert 0 < end.equivalent <= 0.03

    @pytest.mark.parametrize(("difference", "outcome"), [(5.0, "better"), (-5.0, "worse")])
    def test_of_a_large_difference_ends_early(self, difference: float, outcome: str) -> None:
        end = expected_course(difference, 1.0, looks(6, 20), margin=0.5)
        assert getattr(end, outcome) == 1
        assert end.high_repeats <= 7

    def test_of_a_wide_margin_ends_as_equivalent(self) -> None:
        end = expected_course(0.0, 1.0, looks(6, 20), margin=5.0)
        assert end.equivalent == pytest.approx(1, abs=0.01)

    def test_shares_sum_to_one(self) -> None:
        end = expected_course(0.3, 1.0, looks(6, 12), margin=0.7)
        assert end.better + end.worse + end.equivalent + end.undecided == pytest.approx(1)

    @pytest.mark.slow
    def test_noise_that_all_repeats_share_costs_repeats_and_alarms_no_more(self) -> None:
        plan, shared = looks(6, 20), Shared(0.4, 12)
        alone = expected_course(1.0, 1.0, plan)
        assert expected_course(1.0, 1.0, plan, shared=shared).mean_repeats > alone.mean_repeats
        false = expected_course(0.0, 1.0, plan, shared=shared, paths=20_000)
        assert false.better + false.worse <= 0.06


class TestForecast:
    differences = (0.2, 0.5, -0.1, 0.4, 0.3, 0.1)

    def test_is_the_posterior_predictive_at_the_next_look(self) -> None:
        """With one look left and one repeat to come: its difference is t distributed."""
        plan = looks(7, 7)
        n, mean, sd = 6, float(np.mean(self.differences)), float(np.std(self.differences, ddof=1))
        grid = np.linspace(-8, 8, 4001) * sd + mean
        drawn = np.column_stack([np.tile(self.differences, (len(grid), 1)), grid])
        t = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * math.sqrt(7)
        density = scipy.stats.t.pdf(grid, n - 1, mean, sd * math.sqrt(1 + 1 / n))
        better = float(np.sum(density * (t > scipy.stats.t.ppf(0.975, 6))) * (grid[1] - grid[0]))
        end = forecast(self.differences, plan, paths=20_000)
        assert end is not None
        assert end.better == pytest.approx(better, abs=0.012)

    def test_looks_that_are_over_count_no_more(self) -> None:
        end = forecast((3.0, 3.1, 2.9, 3.0, 3.1, 3.0), looks(2, 20))
        assert end is not None
        assert end.low_repeats == 7
        assert end.better == 1

    def test_nothing_to_go_on_or_nothing_to_come(self) -> None:
        assert forecast((0.1,), looks(2, 20)) is None
        assert forecast(self.differences, looks(2, 6)) is None

    def test_ends_are_those_of_its_courses(self) -> None:
        plan = looks(6, 12)
        end, ended = forecast(self.differences, plan, 0.4), ends(self.differences, plan, 0.4)
        assert end is not None
        assert ended is not None
        assert np.mean(ended == 13) == end.undecided > 0
        assert np.minimum(ended, 12).mean() == pytest.approx(end.mean_repeats)
        assert ended.min() >= 7
