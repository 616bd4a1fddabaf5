"""A policy that ends its search once the search is expected to gain too little."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from tuneoff.metric import ERROR, Metric
from tuneoff.search.policies.base import Decision, History, Job, Policy
from tuneoff.search.policies.fixed import FixedConfigurations
from tuneoff.search.policies.gain import FullRuns, Gain, Kind, forecast
from tuneoff.search.spec.stop_rule import StopRule
from tuneoff.search.store.attributes import DIVERGED


@dataclass(frozen=True)
class Stopping:
    """Another policy, until a rule says that it is enough.

    Attributes:
        inner: the other policy.
        rule: of the study file.
        startup: trials that must have ended before the rule is asked.
        kind: of the arm.
        chance_error: of guessing, 0 to 1.
        metric: what the errors are.
    """

    inner: Policy
    rule: StopRule
    startup: int
    kind: Kind
    chance_error: float = 1.0
    metric: Metric = ERROR

    def next(self, history: History) -> Job | None:
        """As the other policy; None once the rule holds."""
        return None if self._enough(history) is not None else self.inner.next(history)

    @property
    def stops(self) -> bool:
        """As the other policy."""
        return self.inner.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the other policy."""
        return self.inner.after(history, trial)

    def stopped(self, history: History) -> Gain | None:
        """The forecast by which the search has ended; None if it goes on or has nothing left."""
        if history.remaining < history.horizon:
            return None
        gain = self._enough(history)
        # A list has an end of its own. Other policies may fit a model, and have always more.
        listed = isinstance(self.inner, FixedConfigurations)
        if gain is not None and listed and self.inner.next(history) is None:
            return None
        return gain

    def _enough(self, history: History) -> Gain | None:
        """The forecast if the rule holds, else None."""
        ended = sum(t.state.is_finished() or t.number in history.paused for t in history.trials)
        runs = full_runs(history, self.chance_error, self.metric)
        if ended < self.startup or not runs.enough:
            return None
        gain = forecast(runs, self.rule.epochs, self.kind)
        return gain if self.metric.factor * gain.mean < self.rule.points else None


def full_runs(history: History, chance_error: float, metric: Metric = ERROR) -> FullRuns:
    """The full runs of a search so far."""
    errors, diverged = [], 0
    for trial in history.trials:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            if DIVERGED.is_set(trial) or trial.value == float("inf"):
                diverged += 1
            else:
                errors.append(trial.value)
    return FullRuns.of(errors, diverged, history.trained, chance_error, metric.percent)
