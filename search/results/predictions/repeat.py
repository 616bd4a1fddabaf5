"""One repeat of a curve-gp arm: its model now, and what it predicted whenever a run was paused."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

import numpy as np
from optuna.trial import TrialState
from scipy.special import ndtri

from tuneoff.metric import Metric
from tuneoff.search.policies.base import History
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.curve_gp.model import NotPositiveDefinite
from tuneoff.search.policies.curve_gp.model_state import ModelState
from tuneoff.search.results.predictions.hindsight import as_of
from tuneoff.search.spec.space import Floats
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.state import SearchState, history
from tuneoff.search.study.study import Search, Study

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """The predicted learning curve of one run after it was paused, noise of a single run included.

    Attributes:
        state: the model that predicted it, and what that knew.
        known: number of trials that there were.
        epochs: the epochs to come, up to that of a full run.
        mean, sd: of the warped error (see ``errors_of``), one for each of ``epochs``.
        metric: what the errors are.
    """

    state: ModelState
    known: int
    epochs: tuple[int, ...]
    mean: Floats
    sd: Floats
    metric: Metric

    @property
    def median(self) -> Floats:
        """Predicted error after each of ``epochs``."""
        return errors_of(self.state, self.mean, self.metric)

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """Ends of the central interval of this probability, as errors, one for each epoch."""
        reach = deviations(level) * self.sd
        return (
            errors_of(self.state, self.mean - reach, self.metric),
            errors_of(self.state, self.mean + reach, self.metric),
        )


@dataclass(frozen=True)
class Repeat:
    """One repeat of a curve-gp arm, with what its model predicted."""

    study: Study
    search: Search
    now: SearchState

    @property
    def policy(self) -> CurveGP:
        """The arm's policy."""
        assert isinstance(self.search.sampler, CurveGP)
        return self.search.sampler

    @property
    def horizon(self) -> int:
        """Epochs of a full run."""
        return int(self.study.spec.trial.epochs)

    @cached_property
    def state(self) -> ModelState | None:
        """The present model; None before the first error, or if the model cannot be fitted."""
        return _model_state(self.policy, history(self.study, self.search, self.now))

    @cached_property
    def pauses(self) -> list[Attempt]:
        """Attempts that ended with a pause before the horizon, in order of time."""
        rows = [row for rows in self.now.attempts.values() for row in rows]
        paused = [row for row in rows if row.end == "paused" and 0 < row.reached < self.horizon]
        return sorted(paused, key=lambda row: (row.ended or 0.0, row.trial))

    @cached_property
    def predicted_pauses(self) -> list[Attempt]:
        """The pauses after which the policy asked its model.

        Before them are the pauses of the opening, in which the policy starts the configurations
        that it begins with and has no use for a model.
        """
        opening = takewhile(lambda pause: self.policy.is_opening(self._then(pause)), self.pauses)
        return self.pauses[sum(1 for _ in opening) :]

    @cached_property
    def outcomes(self) -> dict[int, float]:
        """The error after a full run, 0 to 1, by trial; that of guessing for one that diverged."""
        complete = (trial for trial in self.now.trials if trial.state == TrialState.COMPLETE)
        return {trial.number: trial.value for trial in complete if trial.value is not None}

    def prediction(self, pause: Attempt) -> Prediction | None:
        """What was predicted for a run at this pause; None if the model could not be fitted."""
        key = pause.trial, pause.number
        if key not in self._predictions:
            self._predictions[key] = self._predict(pause)
        return self._predictions[key]

    @cached_property
    def _predictions(self) -> dict[tuple[int, int], Prediction | None]:
        return {}

    def _then(self, pause: Attempt) -> History:
        """What the policy knew when a run was paused."""
        return history(self.study, self.search, as_of(self.now, pause))

    def _predict(self, pause: Attempt) -> Prediction | None:
        then = self._then(pause)
        state = _model_state(self.policy, then)
        if state is None:
            return None
        own = next(curve for curve in state.curves if curve.number == pause.trial)
        epochs = tuple(range(pause.reached + 1, self.horizon + 1))
        t = np.log(np.array(epochs)) / math.log(self.horizon)
        mean, sd = state.model.curve(own.x, t)
        noise = state.model.h.noise * state.model.unit**2
        deviation = np.sqrt(sd**2 + noise)
        return Prediction(state, len(then.trials), epochs, mean, deviation, self.study.metric)


def deviations(level: float) -> float:
    """Standard deviations to either side of a normal mean that hold this probability."""
    return float(ndtri(0.5 + 0.5 * level))


def errors_of(state: ModelState, warped: Floats, metric: Metric) -> Floats:
    """Errors, such as the metric can have, of values on the scale that the model predicts on.

    Args:
        state: the model, with the output warping that it was fitted under.
        warped: values on that scale, any shape.
        metric: what the errors are.
    """
    seen = (error for curve in state.curves for error in curve.errors.values())
    low, high = metric.range_of(seen)
    # The inverse takes the exponential: at 99 it is worse than any anyway, and 999 overflows.
    return np.clip(state.warping.unwarp(np.minimum(warped, 99.0)), low, high)


def _model_state(policy: CurveGP, seen: History) -> ModelState | None:
    try:
        return policy.state(seen)
    except NotPositiveDefinite as error:
        log.warning("%s: %s; its predictions are left out", seen.study.study_name, error)
        return None
