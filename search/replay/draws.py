"""One function drawn from the posterior of the model of learning curves.

The mean of the posterior is smoother than any real response, so that a sampler that models it finds
the optimum too easily. A draw has the roughness that the model found in the data, and agrees with
them where they are.

A draw is made by pathwise conditioning (Wilson et al. 2020, Efficiently Sampling Functions from
Gaussian Process Posteriors, eq. 12): a function of the prior, plus the correction with which it
meets the data, p(q) + k(q, X) K^-1 (y - p(X) - e), with e as large as the noise. The function of
the prior is a sum of random Fourier features (Rahimi and Recht 2007); the spectral density of the
Matern kernel of smoothness 5/2 is a multivariate t of 5 degrees of freedom (Rasmussen and Williams
2006, eq. 4.15).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneoff.search.policies.curve_gp.kernel import MEAN_VARIANCE, Hyperparameters, matern52
from tuneoff.search.policies.curve_gp.model import CurveModel
from tuneoff.search.policies.curve_gp.observations import Observations
from tuneoff.search.spec.space import Floats

FEATURES = 1024


@dataclass(frozen=True)
class Features:
    """A draw from a Gaussian process of mean 0 whose kernel is a product of Matern kernels.

    Attributes:
        frequencies: (columns, FEATURES), of the inputs divided by their length scales.
        phases, weights: (FEATURES,).
    """

    frequencies: Floats
    phases: Floats
    weights: Floats

    @classmethod
    def drawn(cls, random: np.random.Generator, *widths: int) -> Features:
        """One of variance 1.

        Args:
            widths: number of columns of each factor of the kernel.
        """
        blocks = [
            random.standard_normal((width, FEATURES)) * np.sqrt(5.0 / random.chisquare(5, FEATURES))
            for width in widths
        ]
        weights = random.standard_normal(FEATURES) * math.sqrt(2.0 / FEATURES)
        return cls(np.vstack(blocks), random.uniform(0.0, 2.0 * math.pi, FEATURES), weights)

    def at(self, inputs: Floats) -> Floats:
        """Values, (n,), at inputs (n, columns), in units of the length scales."""
        values: Floats = np.cos(inputs @ self.frequencies + self.phases) @ self.weights
        return values


@dataclass(frozen=True)
class PriorDraw:
    """A draw of f(x) + g(x, t) from the prior; see ``curve_gp.model`` for the two."""

    h: Hyperparameters
    parameter: np.ndarray
    level: float
    final: Features
    local: Features
    shared: Features

    @classmethod
    def drawn(
        cls, data: Observations, h: Hyperparameters, random: np.random.Generator
    ) -> PriorDraw:
        """With the kernel of a fitted model."""
        columns = data.x.shape[1]
        return cls(
            h,
            data.parameter,
            math.sqrt(MEAN_VARIANCE) * float(random.standard_normal()),
            Features.drawn(random, columns),
            Features.drawn(random, columns, 1),
            Features.drawn(random, 1),
        )

    def at(self, x: Floats, t: Floats) -> Floats:
        """Values, (n,), at configurations (n, D) and times (n,)."""
        h, time = self.h, t[:, None] / self.h.time
        final = math.sqrt(h.scale) * self.final.at(x / h.length[self.parameter])
        both = np.hstack([x / h.curve_length[self.parameter], time])
        rest = math.sqrt(h.local) * self.local.at(both) + math.sqrt(h.shared) * self.shared.at(time)
        values: Floats = self.level + final + (1.0 - t) * rest
        return values


@dataclass(frozen=True)
class PosteriorDraw:
    """A draw of the errors without noise, as a function of configuration and epoch.

    Attributes:
        prior: None for the posterior's mean in place of a draw.
        weights: (n,), of the correction, one for each observation.
    """

    model: CurveModel
    prior: PriorDraw | None
    weights: Floats

    @classmethod
    def drawn(cls, model: CurveModel, random: np.random.Generator) -> PosteriorDraw:
        """One draw; equal states of ``random`` give equal draws."""
        data = model.data
        prior = PriorDraw.drawn(data, model.h, random)
        noise = math.sqrt(model.h.noise) * random.standard_normal(len(data.y))
        missing = (
            (data.y - model.centre) / model.unit - prior.at(data.x[data.config], data.t) - noise
        )
        return cls(model, prior, model.inverse @ missing)

    @classmethod
    def mean(cls, model: CurveModel) -> PosteriorDraw:
        """The mean of all draws."""
        return cls(model, None, model.alpha)

    def curve(self, x: Floats, t: Floats) -> Floats:
        """Values, (T,), of one configuration (D,) at times (T,), in the unit of the data."""
        model, data, h = self.model, self.model.data, self.model.h
        d2 = ((data.x - x) ** 2 / h.curve_length[data.parameter] ** 2).sum(1)
        shape = (h.local * matern52(d2) + h.shared)[data.config]
        ends = (1.0 - t)[:, None] * (1.0 - data.t)[None, :]
        time = ends * matern52((t[:, None] - data.t[None, :]) ** 2 / h.time**2)
        r2 = ((data.x - x) ** 2 / h.length[data.parameter] ** 2).sum(1)
        final = (h.scale * matern52(r2) + MEAN_VARIANCE)[data.config]
        values = (final + time * shape) @ self.weights
        if self.prior is not None:
            values += self.prior.at(np.repeat(x[None, :], len(t), axis=0), t)
        scaled: Floats = model.centre + model.unit * values
        return scaled
