"""Optuna's pruners, asked outside of an optimisation loop."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import FrozenTrial

from tuneoff.search.policies.base import Decision, History


@dataclass(frozen=True)
class Pruning:
    """A pruner by name.

    Attributes:
        name: "none", "median", "hyperband" or "successive-halving".
        min_epochs: epochs before a run may be stopped.
        reduction: one run in so many passes each rung.
        startup: median: full runs before it stops any.
        horizon: epochs of a full run.
    """

    name: str
    min_epochs: int
    reduction: int
    startup: int
    horizon: int

    @property
    def stops(self) -> bool:
        """Does it ever stop a run?"""
        return self.name != "none"

    def build(self) -> BasePruner:
        """A fresh pruner; all that it remembers lies in the study."""
        if self.name == "median":
            return MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.min_epochs)
        if self.name == "hyperband":
            return HyperbandPruner(
                min_resource=self.min_epochs,
                max_resource=self.horizon,
                reduction_factor=self.reduction,
            )
        if self.name == "successive-halving":
            return SuccessiveHalvingPruner(
                min_resource=self.min_epochs, reduction_factor=self.reduction
            )
        return NopPruner()

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """PRUNE or CONTINUE.

        Optuna marks a rung in the study with its first answer. Asked twice about one epoch, as
        when a worker died with the answer in its hands, successive halving answers CONTINUE and
        judges the run again at its next rung.
        """
        return Decision.PRUNE if self.build().prune(history.study, trial) else Decision.CONTINUE
