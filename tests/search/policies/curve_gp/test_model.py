"""The Gaussian process: against the docstring's kernel, solved densely, and against scikit-learn.

Every reference here is written from the formula in the module's docstring and shares no code with
the model but the constants.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from tuneoff.search.policies.curve_gp.kernel import (
    MEAN_VARIANCE,
    Hyperparameters,
    Kernel,
    LogNormal,
    Priors,
)
from tuneoff.search.policies.curve_gp.model import (
    JITTERS,
    CurveModel,
    NotPositiveDefinite,
    fit,
)
from tuneoff.search.policies.curve_gp.observations import Observations

PARAMETER = np.array([0, 1, 2, 2, 2])  # two ranges and three choices
TIMES = np.log([1, 2, 3, 9, 20, 27]) / math.log(27)
KNOWN = Hyperparameters(
    np.array([0.4, 0.9, 1.3]), np.array([0.5, 1.1, 0.8]), 0.7, 1.4, 0.6, 0.9, 0.01
)


def m52(distance: Any) -> Any:
    root = math.sqrt(5) * distance
    return (1 + root + 5 * distance**2 / 3) * np.exp(-root)


def covariance(h: Hyperparameters, x: Any, t: Any, x2: Any, t2: Any) -> Any:
    """Of y - e at two sets of (configuration, t), with the unknown mean."""
    length, curve_length = h.length[PARAMETER], h.curve_length[PARAMETER]
    f = h.scale * m52(cdist(x / length, x2 / length))
    g = h.local * m52(cdist(x / curve_length, x2 / curve_length)) + h.shared
    ends = np.outer(1 - t, 1 - t2)
    times = m52(cdist(t[:, None] / h.time, t2[:, None] / h.time))
    return MEAN_VARIANCE + f + ends * times * g


def posterior(h: Hyperparameters, x: Any, t: Any, y: Any, x2: Any, t2: Any) -> tuple[Any, Any]:
    """Means and variances at (x2, t2) after these observations, solved densely."""
    k = covariance(h, x, t, x, t) + (h.noise + JITTERS[0]) * np.eye(len(y))
    cross = covariance(h, x2, t2, x, t)
    prior = covariance(h, x2, t2, x2, t2)
    return (
        cross @ np.linalg.solve(k, y),
        np.diag(prior - cross @ np.linalg.solve(k, cross.T)),
    )


def configurations(rng: np.random.Generator, count: int) -> Any:
    choice = np.eye(3)[rng.integers(0, 3, count)] * math.sqrt(0.5)
    return np.hstack([rng.random((count, 2)), choice])


def observations(seed: int, count: int = 12, full: bool = False) -> Observations:
    """Curves of different depths, as random as can be."""
    rng = np.random.default_rng(seed)
    depths = rng.integers(1, len(TIMES) + 1, count)
    config = np.repeat(np.arange(count), 1 if full else depths)
    t = np.ones(count) if full else np.concatenate([TIMES[:depth] for depth in depths])
    return Observations(configurations(rng, count), PARAMETER, config, t, rng.normal(size=len(t)))


def conditioned(data: Observations, h: Hyperparameters) -> CurveModel:
    """The model with known hyperparameters, of errors that are standardised already."""
    k = Kernel(data).evaluate(h) + JITTERS[0] * np.eye(len(data.y))
    inverse = np.linalg.inv(k).astype(np.float64)
    return CurveModel(data, h, 0.0, 1.0, inverse, inverse @ data.y)


def standardised(model: CurveModel) -> Any:
    return (model.data.y - model.centre) / model.unit


seeds = st.integers(0, 2**32 - 1)


@st.composite
def hyperparameters(draw: st.DrawFn) -> Hyperparameters:
    mean, sigma = Priors().arrays(3)
    z = [draw(st.floats(-2.0, 2.0)) for _ in mean]
    return Hyperparameters.of(mean + sigma * np.array(z), 3)


# The kernel


@pytest.mark.slow
@given(seeds, hyperparameters())
@settings(max_examples=25)
def test_the_covariance_is_that_of_the_formula(seed: int, h: Hyperparameters) -> None:
    data = observations(seed)
    x = data.x[data.config]
    expected = covariance(h, x, data.t, x, data.t) + h.noise * np.eye(len(data.y))
    assert Kernel(data).evaluate(h) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    both, _ = Kernel(data).with_gradient(h)
    assert both == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(seeds, hyperparameters())
@settings(max_examples=25)
def test_the_gradient_is_that_of_differences(seed: int, h: Hyperparameters) -> None:
    data = observations(seed, 6)
    kernel = Kernel(data)
    half = np.random.default_rng(seed).normal(size=(len(data.y), len(data.y)))
    weights = half + half.T
    log_h = np.log([*h.length, *h.curve_length, h.time, h.scale, h.local, h.shared, h.noise])

    def contracted(at: Any) -> float:
        return float((weights * kernel.evaluate(Hyperparameters.of(at, 3))).sum())

    steps = 1e-5 * np.eye(len(log_h))
    expected = [(contracted(log_h + s) - contracted(log_h - s)) / 2e-5 for s in steps]
    _, gradient = kernel.with_gradient(h)
    assert gradient(weights) == pytest.approx(expected, rel=1e-5, abs=1e-6)


# What is known after observations


@given(seeds, hyperparameters())
@settings(max_examples=25)
def test_means_and_variances_of_full_runs_are_those_of_a_dense_solution(
    seed: int, h: Hyperparameters
) -> None:
    data = observations(seed)
    q = np.vstack([data.x[:3], configurations(np.random.default_rng(seed + 1), 8)])
    mean, sd = conditioned(data, h).full_runs.predict(q)
    expected = posterior(h, data.x[data.config], data.t, data.y, q, np.ones(len(q)))
    assert mean == pytest.approx(expected[0], abs=1e-6)
    assert sd**2 == pytest.approx(expected[1], abs=1e-6)


@given(seeds, hyperparameters(), st.floats(-100, 100), st.floats(0.01, 100))
def test_a_whole_curve_is_that_of_a_dense_solution(
    seed: int, h: Hyperparameters, centre: float, unit: float
) -> None:
    data = observations(seed)
    model = conditioned(data, h)
    model = CurveModel(data, h, centre, unit, model.inverse, model.alpha)
    t = np.linspace(0, 1, 9)
    for q in (data.x[0], configurations(np.random.default_rng(seed + 1), 1)[0]):
        mean, sd = model.curve(q, t)
        x = data.x[data.config]
        expected = posterior(h, x, data.t, data.y, np.tile(q, (len(t), 1)), t)
        assert (mean - centre) / unit == pytest.approx(expected[0], abs=1e-6)
        assert (sd / unit) ** 2 == pytest.approx(expected[1], abs=1e-6)


@given(seeds, hyperparameters())
@settings(max_examples=25)
def test_the_variances_given_full_runs_only_are_theirs(seed: int, h: Hyperparameters) -> None:
    data = observations(seed)
    q = configurations(np.random.default_rng(seed), 7)
    model = conditioned(data, h)
    means, sd = model.given_full_runs_only.predict(q)
    known, informed = model.full_runs.predict(q)
    assert (means == known).all()
    assert (sd > informed - 1e-6).all()
    full = np.flatnonzero(data.t == 1.0)
    x, t = data.x[data.config[full]], data.t[full]
    _, variance = posterior(h, x, t, data.y[full], q, np.ones(7))
    assert sd == pytest.approx(np.sqrt(np.maximum(variance, 1e-10)), rel=1e-4, abs=1e-5)


def test_without_a_full_run_the_prior_variance_is_left() -> None:
    model = conditioned(observations(0).take(np.flatnonzero(observations(0).t < 1.0)), KNOWN)
    _, sd = model.given_full_runs_only.predict(configurations(np.random.default_rng(1), 3))
    assert sd == pytest.approx(math.sqrt(KNOWN.scale + MEAN_VARIANCE))


def test_where_full_runs_and_curves_meet_they_agree() -> None:
    model = fit(observations(3), Priors())
    for q in model.data.x:
        mean, sd = model.full_runs.predict(q[None, :])
        end_mean, end_sd = model.curve(q, np.ones(1))
        assert model.centre + model.unit * mean == pytest.approx(end_mean)
        assert model.unit * sd == pytest.approx(end_sd)


@given(seeds, hyperparameters(), st.integers(1, 5))
def test_runs_that_end_as_expected_leave_the_means_and_lower_the_variances(
    seed: int, h: Hyperparameters, pending: int
) -> None:
    data = observations(seed)
    rng = np.random.default_rng(seed + 1)
    runs = conditioned(data, h).full_runs
    there = np.vstack([data.x[:1], configurations(rng, pending)])
    after = runs.given_runs_at(there)

    x, ends = np.vstack([data.x[data.config], there]), np.ones(len(there))
    t = np.concatenate([data.t, ends])
    predicted, _ = posterior(h, data.x[data.config], data.t, data.y, there, ends)
    y = np.concatenate([data.y, predicted])
    q = np.vstack([there, configurations(rng, 6)])
    expected = posterior(h, x, t, y, q, np.ones(len(q)))
    mean, sd = after.predict(q)
    assert mean == pytest.approx(expected[0], abs=1e-5)
    assert sd**2 == pytest.approx(expected[1], abs=1e-5)
    mean_before, sd_before = runs.predict(q)
    assert mean == pytest.approx(mean_before, abs=1e-9)
    assert np.all(sd <= sd_before + 1e-6)
    assert np.all(sd[: len(there)] ** 2 < h.noise + 1e-4)


def test_one_by_one_or_all_at_once_pending_runs_are_the_same() -> None:
    runs = conditioned(observations(1), KNOWN).full_runs
    there = configurations(np.random.default_rng(2), 4)
    q = configurations(np.random.default_rng(3), 20)
    step_by_step = runs
    for x in there:
        step_by_step = step_by_step.given_runs_at(x[None, :])
    for one, other in zip(
        runs.given_runs_at(there).predict(q), step_by_step.predict(q), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-7)
    assert runs.given_runs_at(np.empty((0, 5))).predict(q)[1] == pytest.approx(runs.predict(q)[1])


def test_the_same_pending_run_again_and_again_is_no_trouble() -> None:
    runs = conditioned(observations(1), KNOWN).full_runs
    there = np.repeat(configurations(np.random.default_rng(2), 1), 8, axis=0)
    mean, sd = runs.given_runs_at(there).predict(there)
    assert mean == pytest.approx(runs.predict(there)[0], abs=1e-7)
    assert np.all((sd > 0) & (sd**2 < KNOWN.noise))


# scikit-learn's Gaussian process is the same one where every run is a full one


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_agrees_about_full_runs(seed: int) -> None:
    model = fit(observations(seed, 20, full=True), Priors())
    h = model.h
    kernel = ConstantKernel(h.scale) * Matern(h.length[PARAMETER], nu=2.5)
    kernel += ConstantKernel(MEAN_VARIANCE)
    theirs = GaussianProcessRegressor(kernel, alpha=h.noise + JITTERS[0], optimizer=None)
    theirs.fit(model.data.x, standardised(model))
    q = configurations(np.random.default_rng(100 + seed), 50)
    mean, sd = model.full_runs.predict(q)
    their_mean, their_sd = theirs.predict(q, return_std=True)
    assert mean == pytest.approx(their_mean, abs=1e-6)
    assert sd == pytest.approx(their_sd, abs=1e-6)


# Fitting


def likelihood(model: CurveModel, log_h: Any) -> float:
    """Log likelihood and log prior, as equations 5.8 and the priors have it, but for constants."""
    data, h = model.data, Hyperparameters.of(log_h, 3)
    x, y = data.x[data.config], standardised(model)
    k = covariance(h, x, data.t, x, data.t) + (h.noise + JITTERS[0]) * np.eye(len(y))
    mean, sigma = Priors().arrays(3)
    fits = -0.5 * y @ np.linalg.solve(k, y) - 0.5 * np.linalg.slogdet(k)[1]
    return float(fits + norm.logpdf(log_h, mean, sigma).sum())


def log_of(h: Hyperparameters) -> Any:
    return np.log([*h.length, *h.curve_length, h.time, h.scale, h.local, h.shared, h.noise])


def drawn(seed: int) -> Observations:
    """Observations of a function of the prior."""
    rng, data = np.random.default_rng(seed), observations(seed)
    x = data.x[data.config]
    k = covariance(KNOWN, x, data.t, x, data.t) + KNOWN.noise * np.eye(len(data.y))
    y = np.linalg.cholesky(k) @ rng.normal(size=len(data.y))
    return Observations(data.x, PARAMETER, data.config, data.t, y)


@pytest.mark.parametrize("seed", range(3))
def test_a_fit_is_more_probable_than_the_priors_median_and_all_around_it(seed: int) -> None:
    model = fit(drawn(seed), Priors(), iterations=200)
    mean, _ = Priors().arrays(3)
    found, log_h = likelihood(model, log_of(model.h)), log_of(model.h)
    assert found > likelihood(model, mean)
    for step in 0.05 * np.eye(len(log_h)):
        assert found > likelihood(model, log_h + step)
        assert found > likelihood(model, log_h - step)


@pytest.mark.parametrize("seed", range(3))
def test_a_fit_that_is_cut_short_is_no_worse_than_the_priors_median(seed: int) -> None:
    """Errors that are nothing but noise, too."""
    for data in (drawn(seed), observations(seed)):
        for iterations in (1, 5, 40):
            model = fit(data, Priors(), iterations=iterations)
            mean, _ = Priors().arrays(3)
            assert likelihood(model, log_of(model.h)) > likelihood(model, mean)


def test_a_parameter_without_effect_gets_the_longest_scale() -> None:
    data = observations(0, 40, full=True)
    data = Observations(data.x, PARAMETER, data.config, data.t, np.sin(5 * data.x[:, 1]))
    length = fit(data, Priors()).h.length
    assert length[1] < 0.5 * min(length[0], length[2])


def test_equal_data_give_an_equal_model() -> None:
    one, other = fit(observations(4), Priors()), fit(observations(4), Priors())
    assert np.array_equal(one.inverse, other.inverse)
    assert np.array_equal(log_of(one.h), log_of(other.h))


def test_the_errors_unit_and_zero_change_no_hyperparameter() -> None:
    data = observations(5)
    moved = Observations(data.x, PARAMETER, data.config, data.t, 1e4 * data.y - 3e5)
    one, other = fit(data, Priors()), fit(moved, Priors())
    assert log_of(other.h) == pytest.approx(log_of(one.h), abs=1e-4)
    mean, sd = one.curve(data.x[0], TIMES)
    moved_mean, moved_sd = other.curve(data.x[0], TIMES)
    assert (moved_mean + 3e5) / 1e4 == pytest.approx(mean, abs=1e-3)
    assert moved_sd / 1e4 == pytest.approx(sd, rel=1e-3)


def test_hyperparameters_are_fitted_on_the_rows_that_are_named_and_all_are_modelled() -> None:
    data = observations(6)
    rows = np.arange(1, len(data.y))  # 0 is the start of a curve: no unit depends on it
    assert 0 not in data.last
    changed = data.y.copy()
    changed[0] += 5.0
    other = Observations(data.x, PARAMETER, data.config, data.t, changed)
    one, two = fit(data, Priors(), rows), fit(other, Priors(), rows)
    assert np.array_equal(log_of(one.h), log_of(two.h))
    assert not np.array_equal(one.alpha, two.alpha)
    assert not np.array_equal(log_of(fit(other, Priors()).h), log_of(one.h))
    assert len(one.alpha) == len(data.y)


# What it says it knows, it knows


def covered(level: float, z: Any) -> float:
    return float((np.abs(z) < norm.ppf(0.5 + level / 2)).mean())


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_as_often_as_they_say(level: float) -> None:
    """Functions of the model's own prior; some curves seen in part, some in full, some not."""
    z, widths = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        count, times = 14, TIMES[[0, 2, 3, 5]]
        config, t = np.repeat(np.arange(count), len(times)), np.tile(times, count)
        x = configurations(rng, count)
        k = covariance(KNOWN, x[config], t, x[config], t) + 1e-9 * np.eye(len(t))
        truth = np.linalg.cholesky(k) @ rng.normal(size=len(t))
        y = truth + math.sqrt(KNOWN.noise) * rng.normal(size=len(t))
        depth = np.concatenate([[len(times)] * 2, rng.integers(1, len(times), 8)])
        seen = np.flatnonzero((config < 10) & (np.tile(np.arange(4), count) < depth[config % 10]))
        model = conditioned(Observations(x[:10], PARAMETER, config[seen], t[seen], y[seen]), KNOWN)
        mean, sd = model.full_runs.predict(x)
        z.append((truth[t == 1.0] - mean) / sd)
        widths.append((sd[:2].mean(), sd[2:10].mean(), sd[10:].mean()))
    # The intervals are worth something: they are narrower, the more is known.
    full, part, nothing = np.mean(widths, axis=0)
    assert full < 0.2 < part < 0.75 * nothing
    assert covered(level, np.array(z)) == pytest.approx(level, abs=0.03)
    # As many values would tell an interval that is wrong by a quarter.
    assert abs(covered(level, 1.25 * np.array(z)) - level) > 0.03
    assert abs(covered(level, 0.75 * np.array(z)) - level) > 0.03


@pytest.mark.parametrize("at", [0.0, 0.4])
def test_intervals_within_a_curve_hold_as_often_as_they_say(at: float) -> None:
    """The error of a configuration that was seen at its end alone, or nowhere."""
    z = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = configurations(rng, 6)
        config, t = np.arange(6).repeat(2), np.tile([at, 1.0], 6)
        k = covariance(KNOWN, x[config], t, x[config], t) + 1e-9 * np.eye(12)
        truth = np.linalg.cholesky(k) @ rng.normal(size=12)
        y = truth + math.sqrt(KNOWN.noise) * rng.normal(size=12)
        seen = np.array([0, 1, 2, 3, 5, 7])  # two curves; then the ends of two more
        model = conditioned(Observations(x[:4], PARAMETER, config[seen], t[seen], y[seen]), KNOWN)
        for i in (2, 3, 4, 5):
            mean, sd = model.curve(x[i], np.array([at]))
            z.append((truth[2 * i] - mean[0]) / sd[0])
    assert covered(0.5, np.array(z)) == pytest.approx(0.5, abs=0.05)
    assert covered(0.9, np.array(z)) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("seed", range(3))
def test_fitted_curves_that_fall_slowly_are_not_taken_to_end_where_they_are(seed: int) -> None:
    """Runs that went on have shown how much there is to gain; a short one is judged by them."""
    rng = np.random.default_rng(seed)
    x = configurations(rng, 12)
    final = 0.3 * (x[:, 0] - 0.5) ** 2 + 0.1 * x[:, 1]
    t = np.tile(TIMES, 12)
    config = np.repeat(np.arange(12), len(TIMES))
    y = final[config] + 0.5 * (1 - t)
    seen = np.flatnonzero((config < 6) | (t < TIMES[2] + 1e-9))
    model = fit(Observations(x, PARAMETER, config[seen], t[seen], y[seen]), Priors())
    for i in range(6, 12):
        mean, sd = model.curve(x[i], np.ones(1))
        assert mean == pytest.approx(final[i : i + 1], abs=max(0.03, 2.5 * sd[0]))
        assert abs(mean[0] - final[i]) < 0.1 < y[(config == i) & (t == TIMES[2])][0] - final[i]


# Awkward data


@pytest.mark.parametrize("constant", [0.0, 0.9, -1e6])
def test_constant_errors_are_expected_to_stay_so(constant: float) -> None:
    data = observations(7)
    data = Observations(data.x, PARAMETER, data.config, data.t, np.full(len(data.t), constant))
    model = fit(data, Priors())
    mean, sd = model.curve(configurations(np.random.default_rng(0), 1)[0], TIMES)
    assert mean == pytest.approx(np.full(len(TIMES), constant))
    assert np.all(np.isfinite(sd) & (sd > 0))


def test_tied_errors_are_fitted() -> None:
    data = observations(8)
    tied = Observations(data.x, PARAMETER, data.config, data.t, np.sign(data.y))
    mean, sd = fit(tied, Priors()).full_runs.predict(configurations(np.random.default_rng(0), 9))
    assert np.all(np.isfinite(mean))
    assert np.all(sd > 0)


def test_one_observation_is_enough() -> None:
    data = observations(9, 5).take(np.array([0]))
    model = fit(data, Priors())
    mean, _ = model.curve(data.x[0], data.t)
    assert mean == pytest.approx(data.y, abs=1e-6)


def without_noise(scale: float) -> Priors:
    """Priors that leave no choice but this variance, and none of noise."""
    return Priors(scale=LogNormal(scale, 1e-6), noise=LogNormal(1e-30, 1e-6))


@pytest.mark.parametrize("scale", [1.0, 1e11])
def test_equal_configurations_without_noise_get_jitter(scale: float) -> None:
    """Two equal rows: no such matrix can be factored; 1e11 swallows the first jitters, too."""
    x = np.repeat(configurations(np.random.default_rng(0), 3), 2, axis=0)
    y = np.repeat([-1.0, 0.0, 1.0], 2)
    data = Observations(x, PARAMETER, np.arange(6), np.ones(6), y)
    priors = without_noise(scale)
    model = fit(data, priors)
    assert np.linalg.matrix_rank(Kernel(data).evaluate(model.h)) == 3
    mean, sd = model.full_runs.predict(x)
    assert np.all(np.isfinite(sd))
    assert mean[0] < mean[2] < mean[4]
    if scale == 1.0:
        assert mean * model.unit == pytest.approx(y, abs=1e-3)


def test_a_matrix_that_cannot_be_factored_is_an_error() -> None:
    data = observations(10)
    broken = Observations(data.x.copy(), PARAMETER, data.config, data.t, data.y)
    broken.x[0, 0] = np.nan
    with pytest.raises(NotPositiveDefinite, match=f"{len(data.y)} observations cannot be factored"):
        fit(broken, Priors())
    with pytest.raises(NotPositiveDefinite):
        fit(observations(10), without_noise(1e25))


# Observations


def test_the_last_observation_of_each_configuration_is_its_deepest() -> None:
    x = configurations(np.random.default_rng(0), 3)
    config, t = np.array([0, 0, 0, 1, 2, 2]), np.array([0.5, 1.0, 0.0, 0.3, 0.2, 0.9])
    data = Observations(x, PARAMETER, config, t, np.arange(6.0))
    assert data.last.tolist() == [1, 3, 5]


@given(seeds, st.data())
def test_to_take_rows_is_to_take_their_configurations_along(seed: int, data: st.DataObject) -> None:
    whole = observations(seed)
    rows = data.draw(
        st.lists(st.integers(0, len(whole.y) - 1), min_size=1, unique=True).map(np.array)
    )
    part = whole.take(rows)
    ordered = np.sort(rows)
    assert np.array_equal(part.y, whole.y[ordered])
    assert np.array_equal(part.t, whole.t[ordered])
    assert np.array_equal(part.x[part.config], whole.x[whole.config[ordered]])
    assert sorted(set(part.config.tolist())) == list(range(len(part.x)))
