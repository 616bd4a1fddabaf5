"""The forecast of a search's gain: a distribution, and what it does not depend on."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.policies.gain import LEAST_RUNS, FullRuns, Gain, Kind, forecast

errors = st.lists(st.floats(0.0, 1.0), min_size=LEAST_RUNS, max_size=40)
ahead = st.integers(1, 10**4)
kinds = st.builds(Kind, learns=st.booleans(), selects=st.booleans())
RANDOM = Kind.of("random")


def runs(found: list[float], diverged: int = 0) -> FullRuns:
    return FullRuns(found, diverged, 10 * (len(found) + diverged))


@given(errors, st.integers(0, 9), ahead, kinds)
def test_a_forecast_is_a_distribution_of_what_can_be_gained(
    found: list[float], diverged: int, epochs: int, kind: Kind
) -> None:
    gain = forecast(runs(found, diverged), epochs, kind)
    assert 0 <= gain.none <= 1
    assert 0 <= gain.mean <= gain.size <= 1
    shares = [0.0, 0.1, 0.5, 0.9, 0.99]
    quantiles = [gain.quantile(share) for share in shares]
    assert quantiles == sorted(quantiles)
    for share, fall in zip(shares, quantiles, strict=True):
        assert gain.below(fall) >= share - 1e-9
        if fall > 0:
            assert gain.below(fall) == pytest.approx(share)


@given(errors, ahead, kinds, st.randoms())
def test_the_order_of_runs_does_not_matter(
    found: list[float], epochs: int, kind: Kind, shuffled: random.Random
) -> None:
    others = list(found)
    shuffled.shuffle(others)
    assert forecast(runs(found), epochs, kind) == forecast(runs(others), epochs, kind)


@given(errors, ahead, ahead, kinds)
def test_more_epochs_never_bring_less(found: list[float], one: int, other: int, kind: Kind) -> None:
    few, many = sorted((one, other))
    assert forecast(runs(found), few, kind).mean <= forecast(runs(found), many, kind).mean * (
        1 + 1e-9
    )


@given(errors, ahead)
def test_who_learns_improves_more_often(found: list[float], epochs: int) -> None:
    assert (
        forecast(runs(found), epochs, Kind.of("tpe")).none
        <= forecast(runs(found), epochs, RANDOM).none
    )


@given(errors, ahead, st.floats(0.1, 1.0))
def test_a_gain_is_in_the_unit_of_the_errors(
    found: list[float], epochs: int, factor: float
) -> None:
    plain = forecast(runs(found), epochs, RANDOM)
    scaled = forecast(runs([factor * error for error in found]), epochs, RANDOM)
    assert scaled.mean == pytest.approx(factor * plain.mean, rel=1e-6, abs=1e-9)


def test_the_mean_and_the_quantiles_are_those_of_one_distribution() -> None:
    gain = Gain(none=0.3, size=0.02)
    shares = (np.arange(200_000) + 0.5) / 200_000
    drawn = [gain.quantile(float(share)) for share in shares]
    assert np.mean(drawn) == pytest.approx(gain.mean, rel=0.02)
    assert np.mean(np.array(drawn) == 0) == pytest.approx(gain.none, abs=1e-4)


@pytest.mark.parametrize("found", [[0.2] * 9, [0.0, 0.1, 0.2, 0.3, 0.4]])
def test_where_nothing_can_be_gained(found: list[float]) -> None:
    """No run differs from another, or the best makes no error."""
    gain = forecast(runs(found), 1000, RANDOM)
    assert gain.mean == gain.quantile(0.99) == 0
    assert gain.below(0.0) == 1


def test_runs_that_diverged_are_draws_but_not_errors() -> None:
    found = [0.1, 0.2, 0.3, 0.4, 0.5]
    with_them = forecast(runs(found, 20), 100, RANDOM)
    # As many runs come, and there were five times as many already.
    assert with_them.none > forecast(runs(found), 100, RANDOM).none
    assert not runs(found[:4], 20).enough
    with pytest.raises(ValueError, match="4 full runs are too few"):
        forecast(runs(found[:4], 20), 100, RANDOM)


@pytest.mark.parametrize(
    ("sampler", "pruner", "kind"),
    [
        ("random", "none", Kind(learns=False, selects=False)),
        ("random", "hyperband", Kind(learns=False, selects=True)),
        ("tpe", "median", Kind(learns=True, selects=True)),
        ("curve-gp", "none", Kind(learns=True, selects=True)),
    ],
)
def test_the_kind_of_an_arm(sampler: str, pruner: str, kind: Kind) -> None:
    assert Kind.of(sampler, pruner) == kind


@given(
    found=st.lists(st.floats(-1.0, 1.0), min_size=LEAST_RUNS, max_size=20),
    epochs=st.integers(1, 500),
    factor=st.floats(0.1, 1000.0),
    shift=st.floats(-100.0, 100.0),
)
def test_of_values_that_are_no_shares_neither_unit_nor_zero_counts(
    found: list[float], epochs: int, factor: float, shift: float
) -> None:
    plain = forecast(FullRuns(found, 0, 100, share=False), epochs, RANDOM)
    moved = [factor * value + shift for value in found]
    other = forecast(FullRuns(moved, 0, 100, share=False), epochs, RANDOM)
    assert other.none == plain.none
    assert other.size == pytest.approx(factor * plain.size, rel=1e-6, abs=1e-9 * (factor + 100))


def test_of_values_that_are_no_shares_only_those_better_than_the_worst_count() -> None:
    found = FullRuns.of([-3.0, 2.0, 20.0, 25.0], 1, 100, 20.0, share=False)
    assert found.errors == [-3.0, 2.0]
    assert found.failed == 3
