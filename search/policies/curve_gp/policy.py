"""The decision: start a new configuration, or go on with one that was paused."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import Decision, History, Job, NewTrial, ResumeTrial
from tuneoff.search.policies.curve_gp.acquisition import log_expected_improvement
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.model import Floats, FullRuns, NotPositiveDefinite, Priors
from tuneoff.search.policies.curve_gp.model_state import (
    APART,
    ModelState,
    best_new,
    nearest,
    only_full,
)
from tuneoff.search.policies.curve_gp.observations import curves
from tuneoff.search.policies.curve_gp.threads import one_thread
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import DOUBT, MODEL, QUASI_RANDOM, START, WHY

log = logging.getLogger(__name__)

BELIEF, BELIEF_WIDTH, BELIEF_FLOOR = 10.0, 0.15, 0.01  # piBO's beta; sides of the cube; density


@dataclass(frozen=True)
class CurveGP:
    """A Gaussian process over (configuration, epoch) that pauses weak runs and resumes them.

    After ``startup`` configurations from a Sobol sequence, each run to the first rung, every
    answer is the one with the largest expected improvement of the error after a full run, for
    each epoch that is still to be paid for it: the best new configuration, or a paused one, until
    its next rung. So every run stops at each rung, and goes on if nothing is expected to be worth
    more. Runs that others are at work on are seen as ended as expected.

    A model of curves can be wrong for ever about a region that starts badly, as it sends nothing
    there that could prove it wrong. So once ``full_after`` full runs' worth of epochs are spent, a
    share ``full_share`` of the rest goes to configurations that are chosen as if short runs had
    taken away no doubt, and these are not paused.

    Attributes:
        startup: configurations before the model is asked.
        first_rung: epochs of the first rung; None for a seventeenth of a full run (3 of 52).
        reduction: ratio of one rung to the one before.
        start: configurations to begin with, the first of the ``startup`` ones.
        believed: configurations near which the optimum is believed to be; new configurations'
            expected improvement is weighted with a density around them, less with each full run
            (Hvarfner et al. 2022, piBO, eq. 6).
        pausing, resuming, partial_runs: False to do without, as in the benchmark's ablation.
        quasi_random_every: one new configuration in so many comes from the Sobol sequence; 0 for
            none.
    """

    space: SearchSpace
    seed: tuple[int, ...]
    startup: int = 8
    first_rung: int | None = None
    reduction: float = 3.0
    start: Sequence[Mapping[str, Any]] = ()
    believed: Sequence[Mapping[str, Any]] = ()
    full_share: float = 0.5
    full_after: float = 5.0
    quasi_random_every: int = 5
    pausing: bool = True
    resuming: bool = True
    partial_runs: bool = True
    priors: Priors = field(default_factory=Priors)

    def next(self, history: History) -> Job | None:
        """The new or paused configuration that is expected to improve most for its epochs."""
        new = history.remaining >= history.horizon
        number = len(history.trials)
        if self.is_opening(history):
            if number < len(self.start):
                return self._new(self.start[number], history, START)
            return self._quasi_random(history, START)
        try:
            with one_thread():
                state = self._seen(history)
                if state is None:
                    return self._quasi_random(history, START) if new else None
                return self._choose(state, history)
        except NotPositiveDefinite as error:
            log.warning("%s: %s; a quasi-random configuration instead",
                        history.study.study_name, error)  # fmt: skip
            return self._quasi_random(history, QUASI_RANDOM) if new else None

    def is_opening(self, history: History) -> bool:
        """True while the configurations to begin with are started and the model is not asked."""
        # Where the budget pays for no more of them, the model makes do with those that there are.
        pays = history.remaining >= history.horizon
        return pays and len(history.trials) < max(self.startup, len(self.start))

    @property
    def stops(self) -> bool:
        """False where runs are paused instead: they are where their job ends."""
        return not self.resuming

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """CONTINUE: a run is paused where its job ends; PRUNE if weak where none is resumed."""
        horizon, epoch = history.horizon, max(trial.intermediate_values)
        if self.resuming or epoch not in self.rungs(horizon):
            return Decision.CONTINUE
        asked = replace(
            history,
            paused=frozenset([trial.number]),
            remaining=history.remaining + horizon - epoch,
        )
        goes_on = ResumeTrial(trial.number, horizon)
        return Decision.CONTINUE if self.next(asked) == goes_on else Decision.PRUNE

    def rungs(self, horizon: int) -> list[int]:
        """The epochs at which a run is looked at, ascending; the last one is the horizon."""
        if not self.pausing:
            return [horizon]
        rungs, rung = [], float(self.first_rung or max(1, round(horizon / 17)))
        # A rung shortly before the end would spare little and cost a pause.
        while rung * 1.5 < horizon:
            rungs.append(round(rung))
            rung = max(rung * self.reduction, rungs[-1] + 1)
        return [*rungs, horizon]

    def state(self, history: History) -> ModelState | None:
        """The history as the model sees it; None while no run has come to its first epoch.

        Raises:
            NotPositiveDefinite: the model cannot be fitted.
        """
        state = self._seen(history)
        if state is not None:
            _ = state.model  # it fails here, if at all
        return state

    def _seen(self, history: History) -> ModelState | None:
        encoding = Encoding(self.space.distributions)
        sign = -1.0 if history.study.direction == StudyDirection.MAXIMIZE else 1.0
        horizon = history.horizon
        everything = curves(history.trials, encoding, horizon, sign)
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
            return NewTrial(params, history.horizon, {WHY: DOUBT})
        runs = state.expected(state.model.full_runs)
        best = state.best(state.model.full_runs)
        options: list[tuple[float, Job]] = []
        for curve in state.paused(history):
            # The last epoch that was trained may have no error that the model could see.
            epoch = max(history.trials[curve.number].intermediate_values, default=0)
            epochs = state.horizon - epoch
            if epochs <= history.remaining:
                gain = self._log_gain(runs, best, state, curve.x[None, :])[0]
                resumed = self._resumed(curve.number, epoch, history)
                options.append((gain - math.log(epochs), resumed))
        if new:
            params, gain = self._best_new(runs, best, state, history)
            options.append((gain - math.log(state.horizon), self._new(params, history, MODEL)))
        if not options:
            return None
        job = max(options, key=lambda option: option[0])[1]
        every = self.quasi_random_every
        if isinstance(job, NewTrial) and every and (len(history.trials) + 1) % every == 0:
            return self._quasi_random(history, QUASI_RANDOM)
        return job

    def _full_run_is_due(self, state: ModelState, history: History) -> bool:
        chosen = sum(trial.user_attrs.get(WHY) == DOUBT for trial in history.trials)
        spent = state.count[1] / state.horizon
        due = self.full_share * (spent - self.full_after)
        return self.pausing and len(state.full) >= 2 and chosen < due

    def _best_new(
        self, runs: FullRuns, best: float, state: ModelState, history: History
    ) -> tuple[dict[str, Any], float]:
        rng = np.random.default_rng(np.random.SeedSequence([*self.seed, *state.count]))
        # The last runs are for the last digits.
        left = history.remaining / (history.remaining + state.count[1])
        gain = partial(self._log_gain, runs, best, state)
        return best_new(state, runs, gain, rng, APART * left)

    def _log_gain(self, runs: FullRuns, best: float, state: ModelState, x: Floats) -> Floats:
        gains = log_expected_improvement(*runs.predict(x), best)
        if self.believed:
            centres = np.array([state.encoding.columns(params) for params in self.believed])
            density = BELIEF_FLOOR + np.exp(-0.5 * (nearest(x, centres) / BELIEF_WIDTH) ** 2)
            gains = gains + BELIEF / (1 + len(state.full)) * np.log(density)
        return gains

    def _new(self, params: Mapping[str, Any], history: History, why: str) -> NewTrial:
        until = self.rungs(history.horizon)[0] if self.resuming else history.horizon
        return NewTrial(params, until, {WHY: why})

    def _resumed(self, number: int, epoch: int, history: History) -> ResumeTrial:
        if not self.resuming:
            return ResumeTrial(number, history.horizon)
        return ResumeTrial(number, next(r for r in self.rungs(history.horizon) if r > epoch))

    def _quasi_random(self, history: History, why: str) -> NewTrial:
        dimensions = len(self.space.distributions)
        point = sobol_point(self.seed, dimensions, len(history.trials))
        return self._new(self.space.at(point), history, why)
