"""The Gaussian process over (configuration, epoch): fit and posterior.

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
from scipy.linalg import lapack
from scipy.optimize import minimize

from tuneoff.search.policies.curve_gp.encoding import Ints
from tuneoff.search.policies.curve_gp.kernel import (
    MEAN_VARIANCE,
    Hyperparameters,
    Kernel,
    Priors,
    block_sums,
    matern52,
)
from tuneoff.search.policies.curve_gp.observations import Observations
from tuneoff.search.spec.space import Floats

JITTERS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # variances; standardised errors have variance 1
AT_ONCE = 1024  # configurations that a prediction holds in memory
BOUND = 4.0  # a hyperparameter is sought within so many standard deviations of its prior's median


class NotPositiveDefinite(Exception):
    """A kernel matrix that no jitter makes positive definite."""


@dataclass(frozen=True)
class FullRuns:
    """The posterior of f, the error after a full run, at any configuration.

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
        """The posterior if full runs at q (Q, D) ended with the errors that are expected of them.

        The means stay the same and the variances shrink. Pending runs are treated like this, so
        that the next suggestion keeps away from them (Ginsbourger, Le Riche and Carraro 2010, the
        "kriging believer").
        """
        return self.given(q, None)

    def given(self, q: Floats, errors: Floats | None) -> FullRuns:
        """The posterior if full runs at q (Q, D) ended with these errors (Q,), standardised ones.

        Args:
            errors: None for those that are expected.
        """
        if len(q) == 0:
            return self
        k = self.covariance(q, self.x)
        residual = self.covariance(q, q) - k @ self.precision @ k.T
        residual.flat[:: len(q) + 1] += self.h.noise + JITTERS[0]
        inverse = np.linalg.inv(residual)
        cross = -self.precision @ k.T @ inverse
        grown = self.precision + cross @ residual @ cross.T
        precision = np.block([[grown, cross], [cross.T, inverse]])
        weights = np.concatenate([self.weights, np.zeros(len(q))])
        if errors is not None:
            weights += np.vstack([cross, inverse]) @ (errors - k @ self.weights)
        return FullRuns(np.vstack([self.x, q]), self.parameter, self.h, weights, precision)


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
        """The posterior of f given all observations.

        g is 0 at t = 1, so that the covariance of an observation with a full run is that of its
        configuration's f. Thus the sums over each configuration's observations suffice.
        """
        starts = np.flatnonzero(np.diff(self.data.config, prepend=-1))
        precision = block_sums(self.inverse, starts)
        weights = np.add.reduceat(self.alpha, starts)
        return FullRuns(self.data.x, self.data.parameter, self.h, weights, precision)

    @cached_property
    def given_full_runs_only(self) -> FullRuns:
        """The means of ``full_runs`` with the variances of the posterior given full runs only.

        As uncertain as if no shorter run had been observed.
        """
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
    """The model with the most probable hyperparameters (maximum a posteriori).

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
