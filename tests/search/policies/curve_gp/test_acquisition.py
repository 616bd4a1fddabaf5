"""Expected improvement, exact even where it is nothing, and the search for its maximum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from tuneoff.search.policies.curve_gp.acquisition import log_expected_improvement, maximise

means, sds, bests = st.floats(-10, 10), st.floats(1e-3, 10), st.floats(-10, 10)


def log_ei(mean: float, sd: float, best: float) -> float:
    return float(log_expected_improvement(np.array([mean]), np.array([sd]), best)[0])


def integrated(z: float) -> float:
    """Log of E[max(z - u, 0)], u ~ N(0, 1), as log phi(z) + log of integral v exp(z v - v^2/2)."""
    scale = max(1.0, -z)  # the integrand decays as exp(-|z| v) far out
    inner, _ = quad(
        lambda w: w * math.exp(z * w / scale - 0.5 * (w / scale) ** 2),
        0.0,
        50.0,
        epsabs=0.0,
        epsrel=1e-11,
        limit=200,
    )
    return float(norm.logpdf(z)) + math.log(inner) - 2.0 * math.log(scale)


@given(means, st.floats(0.1, 10), bests)
def test_it_is_the_log_of_the_closed_form_where_that_is_no_difference_of_equals(
    mean: float, sd: float, best: float
) -> None:
    z = (best - mean) / sd
    if z > -4:
        closed = sd * (norm.pdf(z) + z * norm.cdf(z))
        assert log_ei(mean, sd, best) == pytest.approx(math.log(closed), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "z", [5.0, 2.0, 0.0, -0.99, -1.0, -1.01, -3.0, -10.0, -40.0, -300.0, -1e3, -9.9e3, -1.1e4, -1e6]
)
@pytest.mark.parametrize("sd", [1e-4, 1.0, 7.0])
def test_it_is_the_log_of_the_integral(z: float, sd: float) -> None:
    # A difference of 1e-7 in a logarithm is one of 1e-7 in the improvement.
    expected = math.log(sd) + integrated(z)
    assert log_ei(3.0, sd, 3.0 + z * sd) == pytest.approx(expected, rel=1e-11, abs=1e-6)


@pytest.mark.parametrize("z", [-40.0, -1e3, -1e6])
def test_far_out_it_is_finite_and_still_tells_one_from_another(z: float) -> None:
    here, further = log_ei(-z, 1.0, 0.0), log_ei(-z * 1.001, 1.0, 0.0)
    assert math.isfinite(further)
    assert further < here < -0.5 * z * z


@given(sds, bests, st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20, unique=True))
def test_a_worse_mean_is_never_a_better_prospect(sd: float, best: float, many: list[float]) -> None:
    ordered = np.sort(np.array(many))
    values = log_expected_improvement(ordered, np.full(len(ordered), sd), best)
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) <= 1e-7)


@given(st.floats(-100, 10), bests, st.lists(sds, min_size=2, max_size=20, unique=True))
def test_a_larger_variance_is_never_a_worse_prospect(
    mean: float, best: float, many: list[float]
) -> None:
    ordered = np.sort(np.array(many))
    values = log_expected_improvement(np.full(len(ordered), mean), ordered, best)
    assert np.all(np.diff(values) >= -1e-7)


def test_it_takes_any_shape() -> None:
    mean, sd = np.linspace(-9, 9, 24).reshape(2, 3, 4), np.full((2, 3, 4), 0.5)
    values = log_expected_improvement(mean, sd, 0.0)
    assert values.shape == mean.shape
    raveled = log_expected_improvement(mean.ravel(), sd.ravel(), 0.0)
    assert np.array_equal(values.ravel(), raveled)


# The search for the maximum


def hill(centre: Any) -> Any:
    return lambda points: -((points - centre) ** 2).sum(1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("centre", [[0.3, 0.7], [0.0, 1.0, 0.5], [0.81, 0.13, 0.42, 0.66]])
def test_the_top_of_a_hill_is_found(centre: list[float], seed: int) -> None:
    good = np.full((5, len(centre)), 0.5)
    score = hill(np.array(centre))
    point, best = maximise(score, good, len(centre), np.random.default_rng(seed))
    assert np.abs(point - centre).max() < 0.05
    assert best == pytest.approx(float(score(point[None, :])[0]))


@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_top_is_found_near_a_good_point(seed: int) -> None:
    """In eight dimensions hardly one of the points in the whole cube lies on this slope."""
    centre = np.linspace(0.2, 0.8, 8)

    def score(points: Any) -> Any:
        return np.exp(-((points - centre) ** 2).sum(1) / (2 * 0.03**2))

    near = np.vstack([np.full(8, 0.95), centre + 0.02])
    point, _ = maximise(score, near, 8, np.random.default_rng(seed))
    assert np.abs(point - centre).max() < 0.05
    far, _ = maximise(score, near[:1], 8, np.random.default_rng(seed))
    assert np.abs(far - centre).max() > 0.05


def test_equal_generators_find_equal_points() -> None:
    score, good = hill(np.array([0.2, 0.9])), np.array([[0.5, 0.5]])
    found = [maximise(score, good, 2, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert not np.array_equal(found[0][0], found[2][0])


def test_every_point_that_is_asked_for_lies_in_the_cube() -> None:
    seen = []

    def score(points: Any) -> Any:
        seen.append(points)
        return points.sum(1)

    maximise(score, np.array([[1.0, 0.0, 1.0]]), 3, np.random.default_rng(0))
    asked = np.vstack(seen)
    assert asked.min() >= 0.0
    assert asked.max() <= 1.0


def test_where_nothing_is_any_good_some_point_is_found_all_the_same() -> None:
    def score(points: Any) -> Any:
        return np.full(len(points), -np.inf)

    point, best = maximise(score, np.array([[0.5, 0.5]]), 2, np.random.default_rng(0))
    assert best == -np.inf
    assert np.all((point >= 0.0) & (point <= 1.0))
