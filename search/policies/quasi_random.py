"""The sampler "quasi-random": a scrambled Sobol sequence, one point a trial."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Decision, History, NewTrial, Policy
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import SearchSpace


def build(arm: Arm) -> Policy:
    """The sequence of the arm's repeat."""
    return QuasiRandom(arm.space, arm.seed, arm.pruning)


@dataclass(frozen=True)
class QuasiRandom:
    """The sequence that a seed scrambles; a trial's number is its place there."""

    space: SearchSpace
    seed: tuple[int, ...]
    pruning: Pruning

    def next(self, history: History) -> NewTrial | None:
        """The sequence's point with the next trial's number."""
        if history.remaining < history.horizon:
            return None
        point = sobol_point(self.seed, len(self.space.distributions), len(history.trials))
        return NewTrial(self.space.at(point), history.horizon)

    @property
    def stops(self) -> bool:
        """As the pruner."""
        return self.pruning.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the pruner says."""
        return self.pruning.after(history, trial)
