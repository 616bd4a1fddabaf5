"""The sampler "top-k": many configurations for an epoch or so, the best of them in full."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Decision, History, Job, NewTrial, Policy, ResumeTrial
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.spec.top_k import TopKPlan
from tuneoff.search.store.attributes import CANDIDATE, DIVERGED


def build(arm: Arm) -> Policy:
    """The selection that [arms.NAME] describes."""
    plan = TopKPlan.of(arm.settings, arm.pruning.horizon, arm.budget)
    full = arm.settings.full or plan.candidates
    return TopK(arm.space, arm.seed, plan.first, plan.candidates, full)


@dataclass(frozen=True)
class TopK:
    """Trains every candidate for its first epochs, and then the best ones to the end.

    The baseline of Egele, Guyon, Sun and Balaprakash 2023, "Is One Epoch All You Need For
    Multi-Fidelity Hyperparameter Optimization?" (arXiv 2307.15422), with points of a scrambled
    Sobol sequence as candidates, where they draw at random: the same ones with which "curve-gp" and
    "quasi-random" begin in that repeat.

    The best go on one after the other, by the error after the first epochs and, where that is
    equal, by age, as long as the budget pays for their ends. What diverged or failed before is not
    among them. None goes on before every candidate has had its first epochs. So what is trained
    does not depend on how many workers there are.

    Attributes:
        seed: entropy of the repeat.
        first: epochs of each candidate's first run.
        candidates: how many there are; fewer if lost work has left too little of the budget.
        full: the most that go on to the end.
    """

    space: SearchSpace
    seed: tuple[int, ...]
    first: int
    candidates: int
    full: int

    def next(self, history: History) -> Job | None:
        """The next candidate; once there is no more, the best that is paused."""
        mine = {i: t for t in history.trials if (i := CANDIDATE.get(t)) is not None}
        more = len(mine) < self.candidates and not any(map(self._has_gone_on, mine.values()))
        if more and history.remaining >= history.horizon:  # so that one of them can be ended
            return self._candidate(max(mine, default=-1) + 1, history)
        if any(self._is_unsettled(trial, history) for trial in mine.values()):
            return None
        for trial in self._ranked(mine)[: self.full]:
            if trial.number in history.paused:
                pays = history.horizon - self.first <= history.remaining
                return ResumeTrial(trial.number, history.horizon) if pays else None
        return None

    @property
    def stops(self) -> bool:
        """False, as runs are paused where their job ends."""
        return False

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """CONTINUE."""
        return Decision.CONTINUE

    def _candidate(self, index: int, history: History) -> NewTrial:
        point = sobol_point(self.seed, len(self.space.distributions), index)
        until = min(self.first, history.horizon)
        return NewTrial(self.space.at(point), until, CANDIDATE.entry(index))

    def _has_gone_on(self, trial: FrozenTrial) -> bool:
        return max(trial.intermediate_values, default=0) > self.first

    def _is_unsettled(self, trial: FrozenTrial, history: History) -> bool:
        """True while a worker trains its first epochs, or has not yet said that it paused it."""
        running = trial.state == TrialState.RUNNING and trial.number not in history.paused
        return running and not self._has_gone_on(trial)

    def _ranked(self, mine: dict[int, FrozenTrial]) -> list[FrozenTrial]:
        """The candidates that have an error after the first epochs, the best first."""
        errors = {
            i: trial.intermediate_values.get(self.first, math.nan)
            for i, trial in mine.items()
            if (DIVERGED.get(trial) or math.inf) > self.first
        }
        known = [i for i, error in errors.items() if not math.isnan(error)]
        return [mine[i] for i in sorted(known, key=lambda i: (errors[i], i))]
