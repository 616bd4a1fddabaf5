"""What a decision is made from: curves, the model of them, and the best new configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tuneoff.search.policies.base import History
from tuneoff.search.policies.curve_gp.acquisition import maximise
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.model import CurveModel, Floats, FullRuns, Priors, fit
from tuneoff.search.policies.curve_gp.observations import (
    FITTED,
    MODELLED,
    Curve,
    Flattening,
    active,
    observe,
    raw,
)

APART = 0.3  # see ``best_new``


@dataclass(frozen=True)
class ModelState:
    """What a decision is made from.

    Attributes:
        curves: of every trial, one of them with an error at least.
        running: numbers of trials that others are at work on.
        priors: of the model.
    """

    encoding: Encoding
    curves: Sequence[Curve]
    running: Set[int]
    horizon: int
    priors: Priors

    @cached_property
    def model(self) -> CurveModel:
        """Of the curves that have an error; fitted when it is asked for.

        Raises:
            NotPositiveDefinite: it cannot be fitted.
        """
        data = observe(self._seen, self.encoding.parameter, self.horizon)
        data = data.take(active(data, MODELLED))
        return fit(data, self.priors, active(data, FITTED))

    @cached_property
    def flattening(self) -> Flattening:
        """From errors to those that the model sees, and back."""
        return Flattening.of(raw(self._seen, self.encoding.parameter, self.horizon))

    @property
    def full(self) -> list[Curve]:
        """Curves that came to the horizon."""
        return [curve for curve in self.curves if curve.epoch >= self.horizon]

    @property
    def count(self) -> tuple[int, int]:
        """Trials, and epochs of all of them: no two decisions of a study see the same."""
        return len(self.curves), sum(curve.epoch for curve in self.curves)

    @property
    def _seen(self) -> list[Curve]:
        return [curve for curve in self.curves if curve.errors]

    def paused(self, history: History) -> list[Curve]:
        """Curves of paused trials."""
        return [curve for curve in self.curves if curve.number in history.paused]

    def expected(self, runs: FullRuns) -> FullRuns:
        """As it will be when the runs of others have ended as expected."""
        pending = [curve.x for curve in self.curves if curve.number in self.running]
        return runs.given_runs_at(np.array(pending)) if pending else runs

    def best(self, runs: FullRuns) -> float:
        """The least error expected of a full run that there was; of any run before the first."""
        there = self.full or self._seen
        return float(runs.means(np.array([curve.x for curve in there])).min())


def best_new(
    state: ModelState,
    runs: FullRuns,
    log_gain: Callable[[Floats], Floats],
    rng: np.random.Generator,
    apart: float = APART,
) -> tuple[dict[str, Any], float]:
    """The configuration with the largest gain that is apart from any other, and that gain.

    Where the model is too sure of a place, one more run there looks better than it is, again and
    again.

    Args:
        runs: what is known of full runs; the search looks closely near the best of them.
        log_gain: of configurations (m, D): (m,).
        apart: of the spacing of a grid in the cube with as many points as there are trials.
    """
    encoding = state.encoding
    known = np.array([curve.x for curve in state.curves])
    least = apart * len(known) ** (-1 / len(encoding.distributions))

    def score(points: Floats) -> Floats:
        x = encoding.snap(points)
        return np.where(nearest(x, known) < least, -np.inf, log_gain(x))

    best = np.argsort(runs.means(runs.x), kind="stable")[:5]
    good = np.array([encoding.point(x) for x in runs.x[best]])
    point, gain = maximise(score, good, len(encoding.distributions), rng)
    return encoding.params(point), gain


def only_full(curve: Curve, horizon: int) -> Curve:
    """A curve without what it was before its last epoch; empty if it did not come there."""
    errors = {horizon: curve.errors[horizon]} if horizon in curve.errors else {}
    return Curve(curve.number, curve.x, errors)


def nearest(x: Floats, known: Floats) -> Floats:
    """(m,), the distance of each x (m, D) from the nearest of the known ones (k, D)."""
    squares = (-2.0 * x) @ known.T  # (m, k), with thousands of trials the largest array of all
    squares += (known * known).sum(1)
    distances: Floats = np.sqrt(np.maximum(squares.min(1) + (x * x).sum(1), 0.0))
    return distances
