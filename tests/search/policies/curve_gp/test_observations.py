"""What the model sees of stored trials: which epochs, on which scale, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from tuneoff.search.policies.curve_gp.curves import FARTHEST, Curve, curves
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.observations import (
    CAP,
    KNEE,
    Observations,
    OutputWarping,
    active,
    observe,
    raw,
)
from tuneoff.search.store.attributes import DIVERGED

DISTRIBUTIONS = {"lr": FloatDistribution(0.0, 1.0), "momentum": FloatDistribution(0.0, 1.0)}
ENCODING = Encoding(DISTRIBUTIONS)
HORIZON = 27

Told = tuple[dict[str, float], dict[int, float], float | None]
Store = Callable[..., FrozenTrial]


@st.composite
def histories(draw: st.DrawFn, odd: bool = True) -> list[Told]:
    """Parameters, errors by epoch and the value told: running, full and diverged runs.

    Args:
        odd: some errors are infinite or no number at all.
    """
    error = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
    if odd:
        error = st.one_of(error, st.sampled_from([math.inf, -math.inf, math.nan]))
    share = st.integers(0, 20).map(lambda twentieths: twentieths / 20)
    told: list[Told] = []
    for _ in range(draw(st.integers(1, 12))):
        depth = draw(st.sampled_from([0, 1, 2, 3, 5, 9, 20, 26, HORIZON]))
        errors = {epoch: draw(error) for epoch in range(1, depth + 1)}
        full = errors.get(HORIZON)
        ended = depth == HORIZON and not math.isnan(full or 0.0)
        diverged = 0 < depth < HORIZON and draw(st.booleans())
        value = full if ended else 0.9 if diverged else None
        told.append(({"lr": draw(share), "momentum": draw(share)}, errors, value))
    return told


def trials_of(stored: Store, told: Sequence[Told]) -> list[FrozenTrial]:
    return [stored(number, DISTRIBUTIONS, *one) for number, one in enumerate(told)]


def seen(stored: Store, told: Sequence[Told], horizon: int = HORIZON) -> list[Curve]:
    return [c for c in curves(trials_of(stored, told), ENCODING, horizon) if c.errors]


def listed(found: Sequence[Curve]) -> list[Any]:
    return [(c.number, c.x.tolist(), c.epoch, c.errors, c.failed) for c in found]


def run(*errors: float, lr: float = 0.5, value: float | None = None) -> Told:
    return {"lr": lr, "momentum": 0.5}, dict(enumerate(errors, start=1)), value


# Curves


@pytest.mark.slow
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_the_trials_changes_nothing(stored: Any, told: Any, random: Any) -> None:
    trials = trials_of(stored, told)
    expected = curves(trials, ENCODING, HORIZON)
    random.shuffle(trials)
    found = curves(trials, ENCODING, HORIZON)
    assert listed(found) == listed(expected)
    assert sorted(curve.number for curve in found) == list(range(len(trials)))
    if any(curve.errors for curve in found):
        one, other = (
            observe([c for c in some if c.errors], ENCODING.parameter, HORIZON)
            for some in (expected, found)
        )
        assert np.array_equal(one.y, other.y)
        assert np.array_equal(one.t, other.t)


@pytest.mark.slow
@given(histories())
def test_every_error_that_is_a_number_is_there_if_finite(stored: Any, told: Any) -> None:
    for curve in curves(trials_of(stored, told), ENCODING, HORIZON):
        params, errors, value = told[curve.number]
        assert curve.x == pytest.approx([params["lr"], params["momentum"]])
        expected = {epoch for epoch, error in errors.items() if error < math.inf}
        assert set(curve.errors) == expected
        assert all(math.isfinite(error) for error in curve.errors.values())
        last = errors[max(errors)] if errors else 0.0
        diverged = value is not None and HORIZON not in errors
        if diverged or not last < math.inf:
            assert curve.failed
        if not curve.failed:
            for epoch in expected:
                assert curve.errors[epoch] == errors[epoch] or errors[epoch] == -math.inf


@pytest.mark.slow
@given(histories())
def test_a_maximised_metric_is_a_minimised_negative_one(stored: Any, told: Any) -> None:
    negated = [
        (params, {e: -v for e, v in errors.items()}, None if value is None else -value)
        for params, errors, value in told
    ]
    expected = curves(trials_of(stored, told), ENCODING, HORIZON)
    found = curves(trials_of(stored, negated), ENCODING, HORIZON, sign=-1.0)
    assert listed(found) == listed(expected)


def test_a_run_that_diverged_failed_and_ends_where_it_did(stored: Any) -> None:
    """What it was told, the error of guessing, was never measured."""
    (curve,) = seen(stored, [run(0.5, 0.9, value=0.9)])
    assert curve.failed
    assert curve.errors == {1: 0.5, 2: 0.9}
    params, errors, value = run(0.5, 0.9, value=0.9)
    marked = stored(0, DISTRIBUTIONS, params, errors, value, DIVERGED.entry(3))
    (curve,) = curves([marked], ENCODING, 2)
    assert curve.failed
    # What a run was told that did come to the horizon is no news.
    (curve,) = seen(stored, [run(0.5, 0.4, value=0.3)], horizon=2)
    assert not curve.failed
    assert curve.errors == {1: 0.5, 2: 0.4}


def test_a_run_that_ends_with_no_number_or_infinity_failed(stored: Any) -> None:
    told = [run(0.3, math.inf, lr=0.1), run(0.8, math.nan, 0.7, lr=0.2), run(0.9, math.nan, lr=0.3)]
    found = seen(stored, told)
    assert [curve.failed for curve in found] == [True, False, True]
    # Those of runs that failed are no worse than the worst of the others.
    assert [curve.errors for curve in found] == [{1: 0.7}, {1: 0.8, 3: 0.7}, {1: 0.8}]
    # An infinite one is as good as the best.
    found = seen(stored, [run(0.3, -math.inf, lr=0.1), run(0.8, lr=0.2)])
    assert [curve.errors for curve in found] == [{1: 0.3, 2: 0.3}, {1: 0.8}]
    # There is none that is finite.
    assert seen(stored, [run(math.inf, math.nan)]) == []


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_error_out_of_all_proportion_is_a_failure_and_does_not_count(
    stored: Any, sign: float
) -> None:
    usual = [run(sign * error, lr=error) for error in (0.1, 0.2, 0.3, 0.4, 0.5)]
    middle, deviation = 0.3, 0.1
    for far in (1e18, middle + 2.1 * FARTHEST * deviation):
        trials = trials_of(stored, [*usual, run(sign * 0.2, sign * far, lr=0.9)])
        found = curves(trials, ENCODING, HORIZON, sign)
        assert [curve.failed for curve in found] == [False] * 5 + [True]
        assert found[-1].errors == {1: 0.2, 2: 0.5}
    trials = trials_of(stored, [*usual, run(sign * 0.9 * FARTHEST * deviation, lr=0.9)])
    found = curves(trials, ENCODING, HORIZON, sign)
    assert not any(curve.failed for curve in found)
    # Nor is one that is far too good to be true the measure of all others.
    trials = trials_of(stored, [*usual, run(-1e18 * sign, lr=0.9)])
    found = curves(trials, ENCODING, HORIZON, sign)
    assert (found[-1].failed, found[-1].errors) == (False, {1: 0.1})


def test_runs_that_are_all_but_equal_make_no_failure_of_the_others(stored: Any) -> None:
    """As where more than half of them are close to the optimum."""
    near = [run(0.1 + 1e-9 * i, lr=0.5 + 1e-6 * i) for i in range(12)]
    found = seen(stored, [*near, *(run(error, lr=error) for error in (0.2, 0.3, 0.4, 0.5, 0.6))])
    assert not any(curve.failed for curve in found)


def test_a_curve_ends_with_its_last_error(stored: Any) -> None:
    told = [run(), run(0.5), run(0.5, 0.4, 0.3), run(0.5, 0.4, math.nan), run(math.nan)]
    found = curves(trials_of(stored, told), ENCODING, HORIZON)
    assert {curve.number: curve.epoch for curve in found} == {0: 0, 1: 1, 2: 3, 3: 2, 4: 0}


def test_epochs_beyond_the_horizon_are_left_out(stored: Any) -> None:
    (curve,) = seen(stored, [run(0.5, 0.4, 0.3, 0.2)], horizon=3)
    assert curve.errors == {1: 0.5, 2: 0.4, 3: 0.3}


def test_a_trial_without_a_parameter_is_an_error_that_names_it(stored: Any) -> None:
    trial = stored(0, {"lr": DISTRIBUTIONS["lr"]}, {"lr": 0.5}, {1: 0.5})
    with pytest.raises(ValueError, match="momentum is missing"):
        curves([trial], ENCODING, HORIZON)


# Observations


@pytest.mark.parametrize(
    ("horizon", "depth", "kept"),
    [
        (50, 50, [1, 3, 9, 27, 50]),
        (50, 20, [1, 3, 9, 20]),
        (50, 27, [1, 3, 9, 27]),
        (50, 1, [1]),
        (27, 27, [1, 3, 9, 27]),
        (2, 2, [1, 2]),
    ],
)
def test_the_epochs_that_are_observed_grow_by_threes(
    stored: Any, horizon: int, depth: int, kept: list[int]
) -> None:
    errors = [1 / epoch for epoch in range(1, depth + 1)]
    told = [run(*errors, value=errors[-1] if depth == horizon else None)]
    data = raw(seen(stored, told, horizon), ENCODING.parameter, horizon)
    assert data.t == pytest.approx([math.log(epoch) / math.log(horizon) for epoch in kept])
    assert data.y == pytest.approx([1 / epoch for epoch in kept])
    if depth == horizon:
        assert data.t[-1] == 1.0


def test_runs_of_a_single_epoch_are_full_runs(stored: Any) -> None:
    data = raw(seen(stored, [run(0.5, value=0.5)], 1), ENCODING.parameter, 1)
    assert data.t.tolist() == [1.0]


def test_an_epoch_without_an_error_is_not_observed_but_those_before_are(stored: Any) -> None:
    data = raw(seen(stored, [run(0.5, 0.4, 0.3, 0.2, math.nan)]), ENCODING.parameter, HORIZON)
    assert data.y.tolist() == [0.5, 0.3, 0.2]


@pytest.mark.slow
@given(histories(odd=False), st.floats(1e-2, 1e3), st.floats(-100, 100))
@example(told=[run(0.5, 0.4)], factor=100.0, shift=0.0)  # the median is the best
@example(told=[run(0.5), run(0.5), run(0.7)], factor=100.0, shift=0.0)
@example(told=[run(0.5), run(0.6), run(0.7)], factor=1e-14, shift=0.0)
def test_neither_the_errors_unit_nor_their_zero_changes_anything(
    stored: Any, told: Any, factor: float, shift: float
) -> None:
    moved = [
        (
            params,
            {epoch: factor * error + shift for epoch, error in errors.items()},
            None if value is None else factor * value + shift,
        )
        for params, errors, value in told
    ]
    if seen(stored, told):
        one, other = (
            observe(seen(stored, some), ENCODING.parameter, HORIZON) for some in (told, moved)
        )
        assert other.y == pytest.approx(one.y, abs=1e-6)


def test_differences_between_good_errors_count_most(stored: Any) -> None:
    told = [run(error, lr=error) for error in (0.1, 0.2, 0.3, 0.4, 0.9)]
    y = observe(seen(stored, told), ENCODING.parameter, HORIZON).y
    assert y[0] == 0.0
    assert y[2] == pytest.approx(math.log1p(1 / KNEE))  # the median
    steps = np.diff(y)
    assert steps[0] > steps[1] > steps[2] > 0
    assert steps[3] < 5 * steps[2]  # it is five times as far


def test_a_few_runs_that_end_very_badly_leave_the_others_apart(stored: Any) -> None:
    """Where most learn nothing, their small differences are all that shows the way."""
    told = [run(error, lr=error) for error in (0.49, 0.498, 0.5, 0.502, 0.504, 0.99, 1.0)]
    y = observe(seen(stored, told), ENCODING.parameter, HORIZON).y
    assert y[5] == y[6] == pytest.approx(math.log1p(CAP / KNEE))  # 0.49 + 3 * 0.012 is 0.526
    assert y[4] - y[0] > 0.4 * (y[6] - y[0])
    assert np.all(np.diff(y[:6]) > 0)


@pytest.mark.slow
@given(histories(odd=False))
def test_the_warping_has_an_inverse_and_keeps_the_order(stored: Any, told: Any) -> None:
    if seen(stored, told):
        data = raw(seen(stored, told), ENCODING.parameter, HORIZON)
        warping = OutputWarping.of(data)
        warped = warping.warp(data.y)
        assert warping.unwarp(warped) == pytest.approx(data.y, abs=1e-9)
        assert np.array_equal(warped[:, None] < warped, data.y[:, None] < data.y)


@given(st.floats(-2.0, 2.0), st.floats(1e-3, 1e3), st.lists(st.floats(-1e3, 1e3), min_size=2))
def test_forecasts_better_than_any_error_are_warped_too(
    best: float, unit: float, errors: list[float]
) -> None:
    warping = OutputWarping(best, unit)
    y = np.sort(errors)
    warped = warping.warp(y)
    assert np.all(np.diff(warped) >= 0)
    assert warping.unwarp(warped) == pytest.approx(y, rel=1e-9, abs=1e-6)
    around = warping.warp(np.array([best - 1e-4 * unit, best, best + 1e-4 * unit]))
    assert around[1] - around[0] == pytest.approx(around[2] - around[1], rel=1e-3)  # no kink


def test_errors_that_are_all_the_same_stay_so(stored: Any) -> None:
    told = [run(0.9, 0.9, lr=lr) for lr in (0.1, 0.2, 0.3)]
    data = observe(seen(stored, told), ENCODING.parameter, HORIZON)
    assert np.array_equal(data.y, np.zeros(len(data.y)))


# The observations that stand for all


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(8, 80))
def test_what_is_kept_stands_for_all(seed: int, count: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    depths = rng.integers(1, 5, count)
    config = np.repeat(np.arange(count), depths)
    t = np.concatenate([np.arange(depth) / 3 for depth in depths])
    y = np.round(rng.random(len(t)), 1)
    data = Observations(rng.random((count, 2)), np.array([0, 1]), config, t, y)

    rows = active(data, most)
    assert len(rows) <= most
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert set(rows.tolist()) <= set(range(len(y)))
    if len(y) <= most:
        assert len(rows) == len(y)
        return
    last = data.last
    best = int(np.argmin(y[last]))
    assert set(np.flatnonzero(config == best)) <= set(rows)
    # A configuration is there with its last error, and perhaps with all the others.
    for one in set(config[rows].tolist()):
        whole, kept = np.flatnonzero(config == one), rows[config[rows] == one]
        assert kept.tolist() in ([last[one]], whole.tolist())
    # The worst is there too, and nothing is left that there is room for.
    assert y[last].max() == y[rows[np.isin(rows, last)]].max()
    assert len(rows) > most // 2
    assert len(rows) == most or len(set(config[rows].tolist())) == count


def test_whole_curves_are_those_of_the_best() -> None:
    config, t = np.arange(10).repeat(3), np.tile([0.0, 0.5, 1.0], 10)
    y = np.linspace(1, 2, 10).repeat(3)
    data = Observations(np.linspace(0, 1, 10)[:, None], np.array([0]), config, t, y)
    kept = config[active(data, 14)]
    counts = np.bincount(kept, minlength=10)
    assert counts.tolist() == [3, 3] + [1] * 8
    # Room for one of them, and for six of the others, from the best to the worst.
    counts = np.bincount(config[active(data, 9)], minlength=10)
    assert counts.tolist() == [3, 1, 1, 0, 1, 1, 0, 1, 0, 1]
