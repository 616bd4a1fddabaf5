"""The probability that a run does not fail, as a function of its configuration.

Where training fails there is no error to learn from. So failures have a model of their own, by
whose probability the expected improvement is multiplied (Schonlau, Welch and Jones 1998; Gelbart,
Snoek and Adams 2014, Bayesian Optimization with Unknown Constraints, sec. 3). It also spares the
model of the errors the cliff at the border of what fails, which would shorten its length scales
everywhere (Lee, Gramacy, Linkletter and Gray 2011, Optimization Subject to Hidden Constraints via
Statistical Emulation).

The model is a Gaussian process with a length scale for each parameter, fitted by least squares to
the labels 1, of a run that did not fail, and -1. The probability is that of a positive label under
its prediction (Rasmussen and Williams 2006, sec. 6.5). Its noise stands for failures that have
nothing to do with the configuration: where they are as many everywhere, so is the probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.encoding import Ints
from tuneoff.search.policies.curve_gp.kernel import LogNormal, Priors
from tuneoff.search.policies.curve_gp.model import FullRuns, fit
from tuneoff.search.policies.curve_gp.observations import Observations
from tuneoff.search.spec.space import Floats

LABELS, FITTED = 128, 64  # the most labels in the model, and to fit hyperparameters on
ITERATIONS = 15  # of the fit
PRIORS = Priors(length=LogNormal(0.5, 0.7), scale=LogNormal(1.0, 0.5), noise=LogNormal(0.02, 1.0))

# Where failure is more probable than success, no run is started while there is another place. With
# the product alone, failures go on: what there is to gain near the best configurations shrinks with
# every run that succeeds there, and what a run would be worth that cannot succeed never does.
LEAST = 0.5
NEVER = 1e6  # more than any difference between logs of expected improvements


@dataclass(frozen=True)
class Feasibility:
    """The model of failures.

    Attributes:
        labels: the posterior of the standardised label.
        border: the standardised label 0.
    """

    labels: FullRuns
    border: float

    @classmethod
    def of(cls, curves: Sequence[Curve], parameter: Ints) -> Feasibility | None:
        """From the runs that failed and those that have an error; None if none failed.

        Args:
            parameter: (D,), as in Observations.

        Raises:
            NotPositiveDefinite: the model cannot be fitted.
        """
        known = [curve for curve in curves if curve.failed or curve.errors]
        if not any(curve.failed for curve in known):
            return None
        y = np.array([-1.0 if curve.failed else 1.0 for curve in known])
        rows = _of_both(y, LABELS)
        x = np.array([known[row].x for row in rows])
        data = Observations(x, parameter, np.arange(len(rows)), np.ones(len(rows)), y[rows])
        model = fit(data, PRIORS, _of_both(data.y, FITTED), ITERATIONS)
        return cls(model.full_runs, -model.centre / model.unit)

    def log_weight(self, x: Floats) -> Floats:
        """(m,), what is added to the log of the acquisition function at x (m, D).

        The log of the probability that a run does not fail. Where it is below ``LEAST``, so little
        that any other place comes first.
        """
        mean, sd = self.labels.predict(x)
        z = (mean - self.border) / np.sqrt(sd * sd + self.labels.h.noise)
        log_p = np.asarray(log_ndtr(z), dtype=np.float64)
        return np.where(log_p < math.log(LEAST), log_p - NEVER, log_p)


def spaced(rows: Ints, most: int) -> Ints:
    """(at most ``most``,), some of the rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _of_both(y: Floats, most: int) -> Ints:
    """(at most ``most``,), ascending rows: half of either label, more of one if the other has less.

    Curves are ordered by configuration, so that those of evenly spaced rows are spread out.
    """
    failed, fine = np.flatnonzero(y < 0.0), np.flatnonzero(y > 0.0)
    count = min(len(failed), max(most // 2, most - len(fine)))
    return np.sort(np.concatenate([spaced(failed, count), spaced(fine, most - count)]))
