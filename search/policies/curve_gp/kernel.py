"""The kernel of the model over (configuration, epoch), its hyperparameters and their priors.

``model`` says what the parts f, g and e are, of which this is the covariance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneoff.search.policies.curve_gp.encoding import Ints
from tuneoff.search.policies.curve_gp.observations import Observations
from tuneoff.search.spec.space import Floats

MEAN_VARIANCE = 3.0  # of the unknown constant mean; standardised errors have variance 1


@dataclass(frozen=True)
class LogNormal:
    """A log-normal prior.

    Attributes:
        median: of the hyperparameter.
        sigma: standard deviation of its logarithm.
    """

    median: float
    sigma: float


@dataclass(frozen=True)
class Priors:
    """Weak priors over the kernel's hyperparameters, for standardised errors in a unit cube.

    The medians of the length scales over configurations hold for three parameters; they grow with
    the root of their number, as distances in the cube do (Hvarfner, Hellsten and Nardi 2024).

    The medians of the variances are far above 1, although errors are standardised. What has
    variance 1 is the last error of each run. Most runs stop early, where errors still lie close
    together; full runs end far below that, and how far is unknown until the first has ended.
    Smaller variances would fit the data as well, and the model would be overconfident.

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
    """M52 of squared distances in units of the length scale, any shape."""
    r = np.sqrt(5.0 * r2)
    value: Floats = (1.0 + r + r * r / 3.0) * np.exp(-r)
    return value


def _matern52_and_slope(r2: Floats) -> tuple[Floats, Floats]:
    """M52 and its derivative by the squared distance."""
    r = np.sqrt(5.0 * r2)
    e = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * e, (-5.0 / 6.0) * (1.0 + r) * e


class Kernel:
    """The covariance matrix of a set of observations, as a function of the hyperparameters.

    Only C x C and T x T matrices (C configurations, T different epochs) are computed from the
    hyperparameters; the n x n matrix of the observations is put together from their entries.
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
        """(n, n), including the noise and the variance of the unknown mean."""
        f, _ = _matern52_and_slope(np.tensordot(h.length**-2.0, self._d2, 1))
        g, _ = _matern52_and_slope(np.tensordot(h.curve_length**-2.0, self._d2, 1))
        time = self._ends * matern52(self._dt2 / h.time**2)
        return self._assemble(h, f, h.local * g + h.shared, time)

    def with_gradient(self, h: Hyperparameters) -> tuple[Floats, _Contraction]:
        """As ``evaluate``, and a function that turns dL/dK, (n, n), of any L into dL/dlog h."""
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
        return block_sums(m, self._starts)


@dataclass(frozen=True)
class _Contraction:
    """The chain rule from dL/dK to dL/dlog h, with the matrices that ``with_gradient`` has made.

    Attributes:
        f, g: (C, C), M52 over configurations with the length scales of f and of g.
        shape: (C, C), the factor of g's covariance that depends on the configurations.
        time: (T, T), the one that depends on the epochs.
        f_slope, g_slope: derivatives of f and g by the squared distance.
        time_slope: derivative of ``time`` by log of its length scale.
    """

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


def block_sums(m: Floats, starts: Ints) -> Floats:
    """(n, n) to (C, C): the sums of the blocks whose first rows and columns are ``starts``."""
    sums: Floats = np.add.reduceat(_row_sums(m, starts), starts, axis=1)
    return sums


def _row_sums(m: Floats, starts: Ints) -> Floats:
    """``np.add.reduceat(m, starts, axis=0)``, bit for bit for up to 8 rows a block, but faster."""
    lengths = np.diff(starts, append=len(m))
    sums = m[starts]
    longer = np.flatnonzero(lengths > 1)
    if len(longer):
        others = m[starts[longer] + 1]
        for i in range(2, int(lengths.max())):
            more = np.flatnonzero(lengths[longer] > i)
            others[more] += m[starts[longer[more]] + i]
        sums[longer] += others
    return sums
