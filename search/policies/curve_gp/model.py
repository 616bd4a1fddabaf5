"""The Gaussian process over (configuration, epoch): kernel, priors, fit and posterior.

Let ``x`` be a configuration in the unit cube and ``t = log(epoch) / log(horizon)``, 0 at the first
epoch and 1 at the last one of a full run. An error is modelled as ``y(x, t) = f(x) + g(x, t) + e``:

- ``f``, the error after a full run: constant mean, kernel ``s M52(x, x'; l)``;
- ``g``, how far a run still is from it: kernel
  ``(1 - t)(1 - t') M52(t, t'; q) [a M52(x, x'; m) + b]``, which vanishes at t = 1. Its part ``b``
  is one shape for all curves, its part ``a`` lets the shape change from place to place;
- ``e``, independent noise of variance ``v``.

So all doubt about the outcome of a run is doubt about ``f`` at its configuration, and what a
short run says about ``f`` is worth as much as the runs around it that went on have shown.

M52 is the Matern kernel of smoothness 5/2 with a length scale for each parameter (Rasmussen and
Williams 2006, eq. 4.17). A joint Gaussian process over configurations and epochs comes from
Swersky, Snoek and Adams 2014 (Freeze-Thaw Bayesian Optimization), its use in asynchronous search
from Klein et al. 2020 (Model-based Asynchronous Hyperparameter and NAS, MOBSTER).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JITTERS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # variances, in units of the standardised errors' one
MEAN_VARIANCE = 3.0  # of the unknown constant mean, in the same units
AT_ONCE = 1024  # configurations that a prediction holds in memory
BOUND = 4.0  # standard deviations of the prior within which a hyperparameter is sought


class NotPositiveDefinite(Exception):
    """A kernel matrix that no jitter makes positive definite."""


@dataclass(frozen=True)
class Observations:
    """Errors of C configurations at n (configuration, epoch) pairs.

    Attributes:
        x: (C, D), the configurations in the unit cube, each with one observation at least.
        parameter: (D,), which parameter a column belongs to; columns of one share a length scale.
        config: (n,), rows of ``x``, ascending.
        t: (n,), log(epoch) / log(horizon), 0 to 1.
        y: (n,), errors; lower is better. Any unit: the model standardises them.
    """

    x: Floats
    parameter: Ints
    config: Ints
    t: Floats
    y: Floats

    @property
    def last(self) -> Ints:
        """(C,), the row of each configuration's deepest observation."""
        order = np.lexsort((self.t, self.config))
        ends = np.flatnonzero(np.diff(self.config[order], append=-1))
        return order[ends]

    def take(self, rows: Ints) -> Observations:
        """These observations alone, and their configurations."""
        rows = np.sort(rows)
        configs, config = np.unique(self.config[rows], return_inverse=True)
        return Observations(self.x[configs], self.parameter, config, self.t[rows], self.y[rows])


@dataclass(frozen=True)
class LogNormal:
    """A prior: the logarithm is normal around that of ``median``."""

    median: float
    sigma: float


@dataclass(frozen=True)
class Priors:
    """Weak priors over the kernel's hyperparameters, for standardised errors in a unit cube.

    The medians of the length scales over configurations hold for three parameters; they grow with
    the root of their number, as distances in the cube do (Hvarfner, Hellsten and Nardi 2024).

    The variances are far more than the one of the errors that are standardised: those are of runs
    at any epoch and cluster where runs start, while full runs end far below, by how much nobody
    knows before the first. Smaller ones fit as well, and make a model that is too sure.

    Attributes:
        length: of f; curve_length: of g over configurations; time: of g over t.
        scale, local, shared, noise: the variances s, a, b and v.
    """

    length: LogNormal = LogNormal(0.8, 0.7)
    curve_length: LogNormal = LogNormal(0.5, 0.5)
    time: LogNormal = LogNormal(0.6, 0.5)
    scale: LogNormal = LogNormal(8.0, 0.7)
    local: LogNormal = LogNormal(8.0, 0.5)
    shared: LogNormal = LogNormal(30.0, 1.0)
    noise: LogNormal = LogNormal(3e-3, 1.5)

    def arrays(self, parameters: int) -> tuple[Floats, Floats]:
        """Means and standard deviations of the log hyperparameters, in ``Kernel``'s order."""
        root = math.sqrt(parameters / 3)
        many = [LogNormal(p.median * root, p.sigma) for p in (self.length, self.curve_length)]
        all_ = [p for p in many for _ in range(parameters)]
        all_ += [self.time, self.scale, self.local, self.shared, self.noise]
        return (
            np.array([math.log(p.median) for p in all_]),
            np.array([p.sigma for p in all_]),
        )


@dataclass(frozen=True)
class Hyperparameters:
    """Of the kernel: ``length`` and ``curve_length`` (P,) in units of the cube's side."""

    length: Floats
    curve_length: Floats
    time: float
    scale: float
    local: float
    shared: float
    noise: float

    @classmethod
    def of(cls, log: Floats, parameters: int) -> Hyperparameters:
        """From their logarithms, (2 P + 5,)."""
        values = np.exp(log)
        p = parameters
        return cls(values[:p], values[p : 2 * p], *(float(v) for v in values[2 * p :]))


def matern52(r2: Floats) -> Floats:
    """M52 of squared scaled distances, any shape."""
    r = np.sqrt(5.0 * r2)
    value: Floats = (1.0 + r + r * r / 3.0) * np.exp(-r)
    return value


def _matern52_and_slope(r2: Floats) -> tuple[Floats, Floats]:
    """M52 and its derivative by the squared distance."""
    r = np.sqrt(5.0 * r2)
    e = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * e, (-5.0 / 6.0) * (1.0 + r) * e


class Kernel:
    """The covariance of a set of observations, and the gradient of anything by its logs.

    Only C x C and T x T matrices (T different epochs) are ever computed from hyperparameters; the
    n x n one is put together from their entries.
    """

    def __init__(self, data: Observations) -> None:
        c, self._parameters = len(data.x), int(data.parameter.max()) + 1
        squares = (data.x[:, None, :] - data.x[None, :, :]) ** 2
        self._d2 = np.zeros((self._parameters, c, c))
        for column, parameter in enumerate(data.parameter):
            self._d2[parameter] += squares[:, :, column]
        times, at = np.unique(data.t, return_inverse=True)
        self._dt2 = (times[:, None] - times[None, :]) ** 2
        self._ends = (1.0 - times)[:, None] * (1.0 - times)[None, :]
        self._config = data.config[:, None] * c + data.config[None, :]
        self._time = at[:, None] * len(times) + at[None, :]
        self._starts = np.flatnonzero(np.diff(data.config, prepend=-1))
        self._at = np.eye(len(times))[at]
        self._n = len(data.y)

    def evaluate(self, h: Hyperparameters) -> Floats:
        """(n, n), with the noise and the unknown mean."""
        f, _ = _matern52_and_slope(np.tensordot(h.length**-2.0, self._d2, 1))
        g, _ = _matern52_and_slope(np.tensordot(h.curve_length**-2.0, self._d2, 1))
        time = self._ends * matern52(self._dt2 / h.time**2)
        return self._assemble(h, f, h.local * g + h.shared, time)

    def with_gradient(self, h: Hyperparameters) -> tuple[Floats, _Contraction]:
        """As ``evaluate``, and what turns dL/dK into dL/dlog h."""
        f, f_slope = _matern52_and_slope(np.tensordot(h.length**-2.0, self._d2, 1))
        g, g_slope = _matern52_and_slope(np.tensordot(h.curve_length**-2.0, self._d2, 1))
        r2 = self._dt2 / h.time**2
        m, m_slope = _matern52_and_slope(r2)
        shape, time = h.local * g + h.shared, self._ends * m
        time_slope = self._ends * m_slope * -2.0 * r2
        slopes = _Contraction(self, h, f, f_slope, g, g_slope, shape, time, time_slope)
        return self._assemble(h, f, shape, time), slopes

    def _assemble(self, h: Hyperparameters, f: Floats, shape: Floats, time: Floats) -> Floats:
        k = np.take(time, self._time)
        k *= np.take(shape, self._config)
        k += np.take(h.scale * f + MEAN_VARIANCE, self._config)
        k.flat[:: self._n + 1] += h.noise
        return k

    def by_config(self, m: Floats) -> Floats:
        """(n, n) to (C, C): the sums over the observations of each pair of configurations."""
        return _block_sums(m, self._starts)


@dataclass(frozen=True)
class _Contraction:
    kernel: Kernel
    h: Hyperparameters
    f: Floats
    f_slope: Floats
    g: Floats
    g_slope: Floats
    shape: Floats
    time: Floats
    time_slope: Floats

    def __call__(self, dk: Floats) -> Floats:
        k, h = self.kernel, self.h
        per_config = k.by_config(dk)
        timed = k.by_config(dk * np.take(self.time, k._time))
        per_time = k._at.T @ (dk * np.take(self.shape, k._config)) @ k._at
        length = np.tensordot(k._d2, per_config * self.f_slope, 2) * (-2.0 * h.scale)
        curve_length = np.tensordot(k._d2, timed * self.g_slope, 2) * (-2.0 * h.local)
        return np.concatenate(
            [
                length / h.length**2,
                curve_length / h.curve_length**2,
                [
                    np.vdot(per_time, self.time_slope),
                    h.scale * np.vdot(per_config, self.f),
                    h.local * np.vdot(timed, self.g),
                    h.shared * timed.sum(),
                    h.noise * np.trace(dk),
                ],
            ]
        )


@dataclass(frozen=True)
class FullRuns:
    """What is known of f, the error after a full run, of any configuration.

    Means and standard deviations are those of standardised errors.

    Attributes:
        x: (M, D) and parameter: (D,), as in Observations.
        h: the kernel's hyperparameters.
        weights: (M,), so that the mean at q is k(q, x) @ weights.
        precision: (M, M), so that the variance at q is k(q, q) - k(q, x) @ precision @ k(x, q).
    """

    x: Floats
    parameter: Ints
    h: Hyperparameters
    weights: Floats
    precision: Floats

    def covariance(self, q: Floats, x: Floats) -> Floats:
        """(Q, M), the prior covariance of f at two sets of configurations."""
        per_column = 1.0 / self.h.length[self.parameter]
        a, b = q * per_column, x * per_column
        r2 = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * a @ b.T
        return self.h.scale * matern52(np.maximum(r2, 0.0)) + MEAN_VARIANCE

    def means(self, q: Floats) -> Floats:
        """Means alone, (Q,), at q (Q, D)."""
        parts = np.split(q, range(AT_ONCE, len(q), AT_ONCE))
        return np.concatenate([self.covariance(part, self.x) @ self.weights for part in parts])

    def predict(self, q: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations, (Q,) each, at q (Q, D)."""
        parts = np.split(q, range(AT_ONCE, len(q), AT_ONCE))
        means, sds = zip(*map(self._predict, parts), strict=True)
        return np.concatenate(means), np.concatenate(sds)

    def _predict(self, q: Floats) -> tuple[Floats, Floats]:
        k = self.covariance(q, self.x)
        variance = self.h.scale + MEAN_VARIANCE - ((k @ self.precision) * k).sum(1)
        return k @ self.weights, np.sqrt(np.maximum(variance, 1e-10))

    def given_runs_at(self, q: Floats) -> FullRuns:
        """The same once full runs at q (Q, D) have ended as expected: same means, less doubt.

        That is how pending runs are seen (Ginsbourger, Le Riche and Carraro 2010, the "kriging
        believer").
        """
        if len(q) == 0:
            return self
        k = self.covariance(q, self.x)
        rest = self.covariance(q, q) - k @ self.precision @ k.T
        rest.flat[:: len(q) + 1] += self.h.noise + JITTERS[0]
        inverse = np.linalg.inv(rest)
        cross = -self.precision @ k.T @ inverse
        precision = np.block([[self.precision + cross @ rest @ cross.T, cross], [cross.T, inverse]])
        return FullRuns(
            np.vstack([self.x, q]),
            self.parameter,
            self.h,
            np.concatenate([self.weights, np.zeros(len(q))]),
            precision,
        )


@dataclass(frozen=True)
class CurveModel:
    """A fitted model.

    Attributes:
        data: the observations that it is conditioned on.
        h: the kernel's hyperparameters.
        centre, unit: errors are standardised as (y - centre) / unit.
        inverse: (n, n), of the kernel matrix.
        alpha: (n,), inverse @ standardised y.
    """

    data: Observations
    h: Hyperparameters
    centre: float
    unit: float
    inverse: Floats
    alpha: Floats

    @cached_property
    def full_runs(self) -> FullRuns:
        """At t = 1 the covariance with an observation is that with its configuration's f."""
        starts = np.flatnonzero(np.diff(self.data.config, prepend=-1))
        precision = _block_sums(self.inverse, starts)
        weights = np.add.reduceat(self.alpha, starts)
        return FullRuns(self.data.x, self.data.parameter, self.h, weights, precision)

    @cached_property
    def given_full_runs_only(self) -> FullRuns:
        """The same means, with the doubt that there would be if short runs took away none."""
        runs = self.full_runs
        ended = self.data.config[self.data.t == 1.0]
        x = runs.x[ended]
        k = runs.covariance(x, x)
        k.flat[:: len(x) + 1] += self.h.noise
        precision = np.zeros_like(runs.precision)
        if len(ended):
            precision[np.ix_(ended, ended)] = _invert(k)[0]
        return replace(runs, precision=precision)

    def curve(self, q: Floats, t: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations, (T,) each, of the error of one q (D,) at t (T,).

        In the errors' own unit, without the noise of one observation.
        """
        h, data = self.h, self.data
        d2 = ((data.x - q) ** 2 / h.curve_length[data.parameter] ** 2).sum(1)
        shape = (h.local * matern52(d2) + h.shared)[data.config]
        ends = (1.0 - t)[:, None] * (1.0 - data.t)[None, :]
        time = ends * matern52((t[:, None] - data.t[None, :]) ** 2 / h.time**2)
        runs = self.full_runs
        k = runs.covariance(q[None, :], data.x)[0][data.config] + time * shape
        prior = h.scale + MEAN_VARIANCE + (1.0 - t) ** 2 * (h.local + h.shared)
        variance = np.maximum(prior - ((k @ self.inverse) * k).sum(1), 1e-10)
        return self.centre + self.unit * (k @ self.alpha), self.unit * np.sqrt(variance)


def fit(
    data: Observations, priors: Priors, fitted_on: Ints | None = None, iterations: int = 40
) -> CurveModel:
    """The model with the most probable hyperparameters.

    They maximise the log marginal likelihood (Rasmussen and Williams 2006, eq. 5.8 and 5.9) plus
    the log prior, by L-BFGS-B from the prior's median, so that equal data give an equal model.

    Args:
        fitted_on: rows of the observations that the hyperparameters are fitted on; default all.

    Raises:
        NotPositiveDefinite: the kernel matrix cannot be factored, even with jitter.
    """
    last = data.y[data.last]
    centre = float(last.mean())
    unit = float(last.std())
    unit = unit if unit > 1e-9 * max(1.0, abs(centre)) else 1.0
    parameters = int(data.parameter.max()) + 1
    sample = data if fitted_on is None else data.take(fitted_on)
    log_h = _most_probable(sample, (sample.y - centre) / unit, priors, parameters, iterations)
    h = Hyperparameters.of(log_h, parameters)
    inverse, _ = _invert(Kernel(data).evaluate(h))
    return CurveModel(data, h, centre, unit, inverse, inverse @ ((data.y - centre) / unit))


def _most_probable(
    data: Observations, y: Floats, priors: Priors, parameters: int, iterations: int
) -> Floats:
    kernel = Kernel(data)
    mean, sigma = priors.arrays(parameters)

    def loss(log_h: Floats) -> tuple[float, Floats]:
        k, contract = kernel.with_gradient(Hyperparameters.of(log_h, parameters))
        inverse, half_log_det = _invert(k)
        alpha = inverse @ y
        z = (log_h - mean) / sigma
        value = 0.5 * float(y @ alpha) + half_log_det + 0.5 * float(z @ z)
        return value, contract(0.5 * (inverse - np.outer(alpha, alpha))) + z / sigma

    found = minimize(
        loss,
        mean,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(mean - BOUND * sigma, mean + BOUND * sigma, strict=True)),
        options={"maxiter": iterations},
    )
    return np.asarray(found.x, dtype=np.float64)


def _block_sums(m: Floats, starts: Ints) -> Floats:
    """(n, n) to (C, C): the sums of the blocks whose first rows and columns are ``starts``."""
    sums: Floats = np.add.reduceat(_row_sums(m, starts), starts, axis=1)
    return sums


def _row_sums(m: Floats, starts: Ints) -> Floats:
    """``np.add.reduceat(m, starts, axis=0)``, bit for bit for up to 8 rows each, but faster."""
    lengths = np.diff(starts, append=len(m))
    sums = m[starts]
    longer = np.flatnonzero(lengths > 1)
    if len(longer):
        rest = m[starts[longer] + 1]
        for i in range(2, int(lengths.max())):
            more = np.flatnonzero(lengths[longer] > i)
            rest[more] += m[starts[longer[more]] + i]
        sums[longer] += rest
    return sums


def _invert(k: Floats) -> tuple[Floats, float]:
    """The inverse of a kernel matrix and half its log determinant, jittered as needed."""
    diagonal = slice(None, None, len(k) + 1)
    for jitter in JITTERS:
        a = np.array(k, order="F")  # as LAPACK wants it, and overwritten by it
        a.flat[diagonal] += jitter
        a, failed = lapack.dpotrf(a, lower=1, clean=1, overwrite_a=1)
        half_log_det = float(np.log(a.diagonal()).sum()) if not failed else math.nan
        if not failed:
            a, failed = lapack.dpotri(a, lower=1, overwrite_c=1)
        if not failed and np.isfinite(a).all():
            inverse = np.add(a, a.T, out=np.empty(k.shape))  # above the diagonal, a is 0
            inverse.flat[diagonal] = a.diagonal()
            return inverse, half_log_det
    raise NotPositiveDefinite(f"a kernel matrix of {len(k)} observations cannot be factored")
