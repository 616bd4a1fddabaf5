"""The decision: start a new configuration, or go on with one that was paused."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Decision, History, Job, NewTrial, Policy, ResumeTrial
from tuneoff.search.policies.curve_gp.acquisition import log_expected_improvement
from tuneoff.search.policies.curve_gp.curves import curves
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model import FullRuns, NotPositiveDefinite
from tuneoff.search.policies.curve_gp.model_state import (
    MIN_DISTANCE,
    ModelState,
    best_new,
    nearest,
    only_full,
)
from tuneoff.search.policies.curve_gp.threads import one_thread
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import Floats, SearchSpace
from tuneoff.search.store.attributes import (
    CHOSEN_BY,
    FULL_RUNS_ONLY,
    MODEL,
    QUASI_RANDOM,
    START,
)

log = logging.getLogger(__name__)

STARTUP = 8  # configurations before the model is asked, where the study file does not say
PRIOR_WEIGHT = 10.0  # piBO's beta
PRIOR_WIDTH = 0.15  # standard deviation of the density around a configuration, in sides of the cube
PRIOR_FLOOR = 0.01  # density far from all of them; at a configuration it is 1 more


def build(arm: Arm) -> Policy:
    """The sampler "curve-gp" of the study file."""
    return CurveGP(
        arm.space,
        arm.seed,
        startup=arm.settings.startup or STARTUP,
        first_rung=arm.settings.min_epochs,
        reduction=arm.settings.reduction,
        start=arm.start,
        optimum_prior=arm.prior,
    )


@dataclass(frozen=True)
class CurveGP:
    """A Gaussian process over (configuration, epoch) that pauses weak runs and resumes them.

    The first ``startup`` configurations come from a Sobol sequence, and each is trained to the
    first rung. From then on every answer is the option with the largest expected improvement of
    the error after a full run, divided by the epochs that the option still has to be trained for:
    the best new configuration, or a paused run. Either is trained to its next rung. So every run
    stops at each rung, and goes on at once if no other option is worth more. Runs of other workers
    are taken to end with the errors that are expected of them. Runs that diverge are modelled too:
    the improvement is multiplied by the probability that a run does not (``Feasibility``).

    Learning curves can mislead the model. Where runs start badly and end well, it predicts bad
    ends, pauses every run that would show the opposite, and never finds out. So once as many
    epochs are spent as ``full_after`` full runs have, a share ``full_share`` of all further ones
    goes to configurations that are chosen with the uncertainty that full runs alone leave, as if
    no short run had been observed; these are trained to the end without a pause.

    Attributes:
        startup: configurations before the model is asked.
        first_rung: epochs of the first rung; None for a seventeenth of a full run (3 of 52).
        reduction: ratio of one rung to the one before.
        start: configurations to begin with, the first of the ``startup`` ones.
        optimum_prior: configurations around which the optimum is expected. The expected improvement
            is multiplied by a power of a density around them, a lower one with each full run
            (Hvarfner et al. 2022, piBO, eq. 6).
        full_share, full_after: see above.
        quasi_random_every: one new configuration in so many comes from the Sobol sequence; 0 for
            none.
        pausing: False to train every run to the end.
        resuming: False to prune where runs are otherwise paused.
        partial_runs: False for a model of full runs only.
        priors: of the model's hyperparameters.
    """

    space: SearchSpace
    seed: tuple[int, ...]
    startup: int = STARTUP
    first_rung: int | None = None
    reduction: float = 3.0
    start: Sequence[Mapping[str, Any]] = ()
    optimum_prior: Sequence[Mapping[str, Any]] = ()
    full_share: float = 0.5
    full_after: float = 5.0
    quasi_random_every: int = 5
    pausing: bool = True
    resuming: bool = True
    partial_runs: bool = True
    priors: Priors = field(default_factory=Priors)

    def next(self, history: History) -> Job | None:
        """The new or paused run with the largest expected improvement for each epoch to train."""
        new = history.remaining >= history.horizon
        number = len(history.trials)
        if self.is_opening(history):
            if number < len(self.start):
                return self._new(self.start[number], history, START)
            return self._quasi_random(history, START)
        try:
            with one_thread():
                state = self._state(history)
                if state is None:
                    return self._quasi_random(history, START) if new else None
                return self._choose(state, history)
        except NotPositiveDefinite as error:
            log.warning("%s: %s; it gets a quasi-random configuration instead",
                        history.study.study_name, error)  # fmt: skip
            return self._quasi_random(history, QUASI_RANDOM) if new else None

    def is_opening(self, history: History) -> bool:
        """True while a new configuration is one to begin with, and the model is not asked."""
        # If the budget pays for no new one, the model decides which paused run goes on.
        pays = history.remaining >= history.horizon
        return pays and len(history.trials) < max(self.startup, len(self.start))

    @property
    def stops(self) -> bool:
        """False, as runs are paused where their job ends; True if none is ever resumed."""
        return not self.resuming

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """CONTINUE, as a run is paused where its job ends.

        If none is ever resumed: PRUNE at a rung, unless the run is the best option there is.
        """
        horizon, epoch = history.horizon, max(trial.intermediate_values)
        if self.resuming or epoch not in self.rungs(horizon):
            return Decision.CONTINUE
        asked = replace(
            history,
            paused=frozenset([trial.number]),
            remaining=history.remaining + horizon - epoch,
        )
        resumed = ResumeTrial(trial.number, horizon)
        return Decision.CONTINUE if self.next(asked) == resumed else Decision.PRUNE

    def rungs(self, horizon: int) -> list[int]:
        """The epochs at which a run is paused, ascending, and the horizon."""
        if not self.pausing:
            return [horizon]
        rungs, rung = [], float(self.first_rung or max(1, round(horizon / 17)))
        # A rung shortly before the end would save few epochs and cost a pause.
        while rung * 1.5 < horizon:
            rungs.append(round(rung))
            rung = max(rung * self.reduction, rungs[-1] + 1)
        return [*rungs, horizon]

    def state(self, history: History) -> ModelState | None:
        """The state of the model, fitted; None before any run has an error.

        Raises:
            NotPositiveDefinite: the model cannot be fitted.
        """
        state = self._state(history)
        if state is not None:
            _ = state.model  # fitted here, so that a failure shows here
        return state

    def _state(self, history: History) -> ModelState | None:
        encoding = Encoding(self.space.distributions)
        sign = -1.0 if history.study.direction == StudyDirection.MAXIMIZE else 1.0
        horizon = history.horizon
        everything = curves(_in_the_space(history, encoding), encoding, horizon, sign)
        if not self.partial_runs:
            everything = [only_full(curve, horizon) for curve in everything]
        if not any(curve.errors for curve in everything):
            return None
        running = {
            trial.number
            for trial in history.trials
            if trial.state == TrialState.RUNNING and trial.number not in history.paused
        }
        return ModelState(encoding, everything, running, horizon, self.priors)

    def _choose(self, state: ModelState, history: History) -> Job | None:
        new = history.remaining >= history.horizon
        if new and self._full_run_is_due(state, history):
            runs = state.expected(state.model.given_full_runs_only)
            params, _ = self._best_new(runs, state.best(runs), state, history)
            return NewTrial(params, history.horizon, CHOSEN_BY.entry(FULL_RUNS_ONLY))
        runs = state.expected(state.model.full_runs)
        best = state.best(state.model.full_runs)
        options: list[tuple[float, Job]] = []
        for curve in state.paused(history):
            # Not ``curve.epoch``: the last epoch trained has no error there if that was NaN.
            epoch = max(history.trials[curve.number].intermediate_values, default=0)
            epochs = state.horizon - epoch
            if epochs <= history.remaining:
                value = self._log_acquisition(runs, best, state, curve.x[None, :])[0]
                resumed = self._resumed(curve.number, epoch, history)
                options.append((value - math.log(epochs), resumed))
        if new:
            params, value = self._best_new(runs, best, state, history)
            options.append((value - math.log(state.horizon), self._new(params, history, MODEL)))
        if not options:
            return None
        job = max(options, key=lambda option: option[0])[1]
        every = self.quasi_random_every
        if isinstance(job, NewTrial) and every and (len(history.trials) + 1) % every == 0:
            return self._quasi_random(history, QUASI_RANDOM)
        return job

    def _full_run_is_due(self, state: ModelState, history: History) -> bool:
        chosen = sum(CHOSEN_BY.get(trial) == FULL_RUNS_ONLY for trial in history.trials)
        spent = state.count[1] / state.horizon
        due = self.full_share * (spent - self.full_after)
        return self.pausing and len(state.full) >= 2 and chosen < due

    def _best_new(
        self, runs: FullRuns, best: float, state: ModelState, history: History
    ) -> tuple[dict[str, Any], float]:
        rng = np.random.default_rng(np.random.SeedSequence([*self.seed, *state.count]))
        # The minimum distance shrinks to 0 with the budget: the last runs refine the best ones.
        left = history.remaining / (history.remaining + state.count[1])
        log_acquisition = partial(self._log_acquisition, runs, best, state)
        return best_new(state, runs, log_acquisition, rng, MIN_DISTANCE * left)

    def _log_acquisition(self, runs: FullRuns, best: float, state: ModelState, x: Floats) -> Floats:
        """(m,) of configurations x (m, D): log expected improvement, weighted with the prior.

        And with the probability that a run does not fail, once one has.
        """
        values = log_expected_improvement(*runs.predict(x), best)
        if state.feasibility is not None:
            values = values + state.feasibility.log_weight(x)
        if self.optimum_prior:
            centres = np.array([state.encoding.columns(params) for params in self.optimum_prior])
            density = PRIOR_FLOOR + np.exp(-0.5 * (nearest(x, centres) / PRIOR_WIDTH) ** 2)
            values = values + PRIOR_WEIGHT / (1 + len(state.full)) * np.log(density)
        return values

    def _new(self, params: Mapping[str, Any], history: History, why: str) -> NewTrial:
        until = self.rungs(history.horizon)[0] if self.resuming else history.horizon
        return NewTrial(params, until, CHOSEN_BY.entry(why))

    def _resumed(self, number: int, epoch: int, history: History) -> ResumeTrial:
        if not self.resuming:
            return ResumeTrial(number, history.horizon)
        return ResumeTrial(number, next(r for r in self.rungs(history.horizon) if r > epoch))

    def _quasi_random(self, history: History, why: str) -> NewTrial:
        dimensions = len(self.space.distributions)
        point = sobol_point(self.seed, dimensions, len(history.trials))
        return self._new(self.space.at(point), history, why)


def _in_the_space(history: History, encoding: Encoding) -> list[FrozenTrial]:
    """The trials of the search, without those that someone else has added to its study."""
    trials = []
    for trial in history.trials:
        if encoding.holds(trial.params):
            trials.append(trial)
        elif trial.state != TrialState.WAITING:
            _warn_left_out(history.study.study_name, trial.number)
    return trials


@cache
def _warn_left_out(study: str, number: int) -> None:
    """Said once, as every decision begins with all trials."""
    why = "it has a parameter outside the search space, or lacks one"
    log.warning("%s: trial %d is left out: %s", study, number, why)
