"""Expected errors of noisy runs: what must hold for any, and whether they choose better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.study.shrinkage import noise_variance, shrunk_means

errors = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(st.lists(errors, max_size=8), st.integers(1, 10_000))
def test_they_lie_among_the_means_and_keep_the_order_of_equally_many_runs(
    runs: list[list[float]], images: int
) -> None:
    shrunk = shrunk_means(runs, images)
    assert len(shrunk) == len(runs)
    means = [float(np.mean(one)) for one in runs]
    for one in shrunk:
        assert min(means) - 1e-9 <= one <= max(means) + 1e-9
    for i, mine in enumerate(runs):
        for j, other in enumerate(runs):
            if len(mine) == len(other) and means[i] < means[j]:
                assert shrunk[i] <= shrunk[j] + 1e-9


def test_nothing_and_one() -> None:
    assert shrunk_means([], 100) == []
    assert shrunk_means([[0.3]], 100) == [pytest.approx(0.3)]


class TestNoise:
    def test_it_is_that_of_counting_where_nothing_was_run_twice(self) -> None:
        assert noise_variance([[0.2], [0.5]], 10_000) == pytest.approx(0.2 * 0.8 / 10_000, rel=1e-3)

    def test_it_is_above_zero_where_all_runs_agree(self) -> None:
        assert noise_variance([[0.0, 0.0]], 100) > 0

    def test_it_is_that_of_the_runs_where_there_are_enough(self) -> None:
        rng = np.random.default_rng(0)
        runs = [list(rng.normal(0.2, 0.03, 200))]
        assert noise_variance(runs, 10**9) == pytest.approx(0.03**2, rel=0.2)

    def test_bad_configurations_do_not_make_good_ones_look_noisy(self) -> None:
        good = [[0.20, 0.21], [0.25, 0.26]]
        bad = [[0.5, 0.9], [0.6, 0.8]]
        assert noise_variance(good + bad, 10**6) == pytest.approx(
            noise_variance(good, 10**6), rel=0.7
        )
        assert noise_variance(good + bad, 10**6) < 0.01**2


@pytest.mark.slow
def test_a_lucky_draw_seldom_beats_an_average_over_repeats() -> None:
    """Thirty configurations that are a little worse were run once each, and one is lucky."""
    rng = np.random.default_rng(0)
    by_mean = by_expected = 0
    for _ in range(60):
        proven = [list(rng.normal(0.245, 0.02, 8)), list(rng.normal(0.28, 0.02, 8))]
        singles = [[float(e)] for e in rng.normal(0.26, 0.02, 30)]
        bad = [[float(e)] for e in rng.uniform(0.4, 0.9, 30)]
        runs = [*proven, *singles, *bad]
        by_mean += int(np.argmin([np.mean(one) for one in runs])) == 0
        by_expected += int(np.argmin(shrunk_means(runs, 1000))) == 0
    assert by_mean <= 2
    assert by_expected >= 35


@pytest.mark.slow
def test_what_is_chosen_is_better_than_by_means() -> None:
    """Over many searches; the population has a plateau of good ones and a tail of bad ones."""
    rng = np.random.default_rng(0)
    gain = []
    for _ in range(60):
        true = np.concatenate(
            [[0.245, 0.27], 0.25 + np.abs(rng.normal(0, 0.01, 20)), rng.uniform(0.3, 0.9, 20)]
        )
        counts = [8, 8] + [1] * 40
        runs = [list(rng.normal(t, 0.02, n)) for t, n in zip(true, counts, strict=True)]
        by_mean = int(np.argmin([np.mean(one) for one in runs]))
        gain.append(true[by_mean] - true[int(np.argmin(shrunk_means(runs, 1000)))])
    assert np.mean(gain) > 0.002


def test_a_clearly_better_single_run_is_chosen() -> None:
    shrunk = shrunk_means([[0.30, 0.31, 0.29], [0.30], [0.31], [0.10]], 1000)
    assert int(np.argmin(shrunk)) == 3


def test_thousands_of_configurations() -> None:
    rng = np.random.default_rng(0)
    runs = [[round(float(e), 3)] for e in rng.uniform(0.1, 0.9, 20_000)] + [[0.1, 0.11, 0.12]]
    shrunk = shrunk_means(runs, 1000)
    assert len(shrunk) == 20_001
    assert np.isfinite(shrunk).all()


@given(
    runs=st.lists(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=3), min_size=1, max_size=12),
    factor=st.floats(0.1, 1000.0),
    shift=st.floats(-100.0, 100.0),
)
def test_of_values_that_are_no_shares_neither_unit_nor_zero_counts(
    runs: list[list[float]], factor: float, shift: float
) -> None:
    means = [sum(some) / len(some) for some in runs]
    plain = shrunk_means(runs, None)
    moved = shrunk_means([[factor * value + shift for value in some] for some in runs], None)
    for mean, one, other in zip(means, plain, moved, strict=True):
        assert min(means) - 1e-9 <= one <= max(max(means), mean) + 1e-9
        assert other == pytest.approx(factor * one + shift, abs=0.02 * factor + 1e-6)
