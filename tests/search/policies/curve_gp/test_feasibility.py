"""The model of failures: where it expects them, and what it costs nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.feasibility import LABELS, LEAST, NEVER, Feasibility
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model import fit
from tuneoff.search.policies.curve_gp.observations import Observations
from tuneoff.search.spec.space import Floats

PARAMETER = np.arange(2)


def runs(x: Floats, failed: NDArray[np.bool_]) -> list[Curve]:
    return [Curve(i, x[i], {} if failed[i] else {1: 0.5}, bool(failed[i])) for i in range(len(x))]


def points(count: int, seed: int = 0) -> Floats:
    x = np.random.default_rng(seed).random((count, 2))
    return x[np.lexsort(x.T[::-1])]


@pytest.mark.parametrize("count", [40, 3 * LABELS])
def test_where_runs_fail_and_where_they_do_not(count: int) -> None:
    x = points(count)
    model = Feasibility.of(runs(x, x[:, 0] > 0.5), PARAMETER)
    assert model is not None
    new = points(200, seed=1)
    weight = model.log_weight(new)
    assert np.isfinite(weight).all()
    fine, fails = new[:, 0] < 0.4, new[:, 0] > 0.6
    assert (weight[fine] > math.log(LEAST)).mean() > 0.95
    assert (weight[fails] < -0.9 * NEVER).mean() > 0.95
    # The second parameter has nothing to do with it.
    h = model.labels.h
    assert h.length[1] > 2 * h.length[0]


def test_without_a_failure_there_is_no_model() -> None:
    x = points(9)
    assert Feasibility.of(runs(x, np.zeros(9, dtype=bool)), PARAMETER) is None
    assert Feasibility.of([], PARAMETER) is None


def test_where_all_fail_what_is_far_from_them_comes_first() -> None:
    x = 0.3 * points(9)
    model = Feasibility.of(runs(x, np.ones(9, dtype=bool)), PARAMETER)
    assert model is not None
    near, far = model.log_weight(np.array([[0.15, 0.15], [1.0, 1.0]]))
    assert far > near


def test_failures_anywhere_make_no_difference_anywhere() -> None:
    x = points(60)
    failed = np.random.default_rng(2).random(60) < 0.15
    model = Feasibility.of(runs(x, failed), PARAMETER)
    assert model is not None
    weight = model.log_weight(points(200, seed=1))
    assert (weight > math.log(LEAST)).mean() > 0.9


def test_runs_without_an_error_that_did_not_fail_say_nothing() -> None:
    x = points(20)
    known = runs(x, x[:, 0] > 0.5)
    waiting = [Curve(99, np.array([0.9, 0.9]), {})]
    one, other = (Feasibility.of(some, PARAMETER) for some in (known, [*known, *waiting]))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.log_weight(x), other.log_weight(x))


def test_a_posterior_given_more_errors_goes_through_them() -> None:
    x = points(12)
    data = Observations(x, PARAMETER, np.arange(12), np.ones(12), (x[:, 0] - 0.3) ** 2)
    posterior = fit(data, Priors()).full_runs
    q = np.array([[0.5, 0.5], [0.9, 0.1]])
    moved = posterior.means(q) + np.array([0.5, -0.5])
    grown = posterior.given(q, moved)
    assert np.abs(grown.means(q) - moved).max() < 0.2
    assert np.all(grown.predict(q)[1] < posterior.predict(q)[1])
    expected = posterior.given_runs_at(q)
    assert expected.means(x) == pytest.approx(posterior.means(x))
    # The two differ in the means alone.
    assert grown.predict(points(9, seed=3))[1] == pytest.approx(expected.predict(points(9, 3))[1])
