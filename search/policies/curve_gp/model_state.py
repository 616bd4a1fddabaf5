"""The model of a search's learning curves at one moment, and the best new configuration by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tuneoff.search.policies.base import History
from tuneoff.search.policies.curve_gp.acquisition import maximise
from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.feasibility import Feasibility, spaced
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model import CurveModel, FullRuns, fit
from tuneoff.search.policies.curve_gp.observations import (
    FITTED,
    MODELLED,
    OutputWarping,
    active,
    observe,
    raw,
)
from tuneoff.search.spec.space import Floats

MIN_DISTANCE = 0.3  # see ``best_new``
FAILURES = 128  # the most failed runs that are taken to have ended; see ``ModelState.expected``


@dataclass(frozen=True)
class ModelState:
    """All that a decision is made from.

    Attributes:
        curves: of every trial; at least one of them has an error.
        running: numbers of trials that other workers are training.
        priors: of the model's hyperparameters.
    """

    encoding: Encoding
    curves: Sequence[Curve]
    running: Set[int]
    horizon: int
    priors: Priors

    @cached_property
    def model(self) -> CurveModel:
        """The model of the curves that have an error; fitted when it is first asked for.

        Raises:
            NotPositiveDefinite: it cannot be fitted.
        """
        data = observe(self._observed, self.encoding.parameter, self.horizon)
        data = data.take(active(data, MODELLED))
        return fit(data, self.priors, active(data, FITTED))

    @cached_property
    def warping(self) -> OutputWarping:
        """From errors to the warped ones of the model, and back."""
        return OutputWarping.of(raw(self._observed, self.encoding.parameter, self.horizon))

    @cached_property
    def feasibility(self) -> Feasibility | None:
        """The model of failures; fitted when it is first asked for. None if no run failed.

        Raises:
            NotPositiveDefinite: it cannot be fitted.
        """
        return Feasibility.of(self.curves, self.encoding.parameter)

    @property
    def full(self) -> list[Curve]:
        """Curves that have reached the horizon."""
        return [c for c in self.curves if c.epoch >= self.horizon and not c.failed]

    @property
    def count(self) -> tuple[int, int]:
        """The number of trials, and of their epochs: different at every decision of a search."""
        return len(self.curves), sum(curve.epoch for curve in self.curves)

    @property
    def succeeded(self) -> list[Curve]:
        """Curves that have an error and did not fail; while there are none, those that failed."""
        return [c for c in self._observed if not c.failed] or self._observed

    @property
    def _observed(self) -> list[Curve]:
        return [curve for curve in self.curves if curve.errors]

    def paused(self, history: History) -> list[Curve]:
        """Curves of paused trials."""
        return [curve for curve in self.curves if curve.number in history.paused]

    def expected(self, runs: FullRuns) -> FullRuns:
        """This posterior if the runs of other workers ended with the errors expected of them.

        And if runs that failed did, but no better than the best one. They will never end, so that
        their errors would stay unknown, and promising, for ever.
        """
        failed = [curve.x for curve in self.curves if curve.failed]
        if failed:
            x = np.array(failed)[spaced(np.arange(len(failed)), FAILURES)]
            runs = runs.given(x, np.maximum(runs.means(x), self.best(runs)))
        pending = [curve.x for curve in self.curves if curve.number in self.running]
        return runs.given_runs_at(np.array(pending)) if pending else runs

    def best(self, runs: FullRuns) -> float:
        """The smallest posterior mean of f at a full run; at any run, before the first full one.

        Runs that failed count only while there are no others.
        """
        there = self.full or self.succeeded
        return float(runs.means(np.array([curve.x for curve in there])).min())


def best_new(
    state: ModelState,
    runs: FullRuns,
    log_acquisition: Callable[[Floats], Floats],
    rng: np.random.Generator,
    min_distance: float = MIN_DISTANCE,
) -> tuple[dict[str, Any], float]:
    """The new configuration with the largest acquisition, and the log of that.

    A minimum distance is kept from every configuration that there is. Where the model is
    overconfident it would otherwise propose the same place again and again.

    Args:
        runs: the posterior of full runs; the search looks closely near the best of them.
        log_acquisition: maps configurations (m, D) to the log of the acquisition function (m,).
        min_distance: as a fraction of the distance between neighbours in a regular grid that fills
            the unit cube with as many points as there are trials.
    """
    encoding = state.encoding
    known = np.array([curve.x for curve in state.curves])
    least = min_distance * len(known) ** (-1 / len(encoding.distributions))

    def score(points: Floats) -> Floats:
        x = encoding.snap(points)
        return np.where(nearest(x, known) < least, -np.inf, log_acquisition(x))

    good_x = runs.x
    if any(curve.failed for curve in state.curves):  # of which ``runs`` has some
        good_x = np.array([curve.x for curve in state.succeeded])
    best = np.argsort(runs.means(good_x), kind="stable")[:5]
    good = np.array([encoding.point(x) for x in good_x[best]])
    point, value = maximise(score, good, len(encoding.distributions), rng)
    return encoding.params(point), value


def only_full(curve: Curve, horizon: int) -> Curve:
    """A curve with its error at the horizon alone; without any if it did not come so far."""
    errors = {horizon: curve.errors[horizon]} if horizon in curve.errors else {}
    return Curve(curve.number, curve.x, errors)


def nearest(x: Floats, known: Floats) -> Floats:
    """(m,), the distance of each x (m, D) from the nearest of the known ones (k, D)."""
    squares = (-2.0 * x) @ known.T  # (m, k), with thousands of trials the largest array of all
    squares += (known * known).sum(1)
    distances: Floats = np.sqrt(np.maximum(squares.min(1) + (x * x).sum(1), 0.0))
    return distances
