"""Optuna's pruners, asked outside of an optimisation loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import FrozenTrial

from tuneoff.references import is_reference
from tuneoff.search.errors import SpecError
from tuneoff.search.policies.base import Decision, History
from tuneoff.search.policies.made import make, reason
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.registry import NO_PRUNER, PRUNERS

STARTUP = 5  # full runs before "median" stops any, where the study file does not say


@dataclass(frozen=True)
class Pruning:
    """A pruner by name.

    Attributes:
        name: from ``tuneoff.search.spec.registry.PRUNERS``, or a reference.
        min_epochs: epochs before a run may be stopped.
        reduction: one run in so many passes each rung.
        startup: median: full runs before it stops any.
        horizon: epochs of a full run.
        options: of a reference: keyword arguments of its class, as the study file has them.
    """

    name: str
    min_epochs: int
    reduction: int
    startup: int
    horizon: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ArmSpec, horizon: int) -> Pruning:
        """That of an arm of the study file, with defaults for what it leaves open."""
        return cls(
            settings.pruner,
            settings.min_epochs or 1,
            settings.reduction,
            settings.startup or STARTUP,
            horizon,
            settings.options_of_pruner,
        )

    @classmethod
    def never(cls, horizon: int) -> Pruning:
        """No pruner."""
        return cls(NO_PRUNER, 1, 2, 1, horizon)

    @property
    def stops(self) -> bool:
        """Does it ever stop a run?"""
        return PRUNERS.entry(self.name).stops_runs

    def build(self) -> BasePruner:
        """A fresh pruner; all that it remembers lies in the study."""
        pruner: BasePruner = PRUNERS.load(self.name)(self)
        return pruner

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """PRUNE or CONTINUE.

        Optuna marks a rung in the study with its first answer. Asked twice about one epoch, as
        when a worker died before it could act on the answer, successive halving answers CONTINUE
        and judges the run again at its next rung.

        Raises:
            SpecError: a pruner that the study file refers to cannot be made, or raises.
        """
        pruner = self.build()
        try:
            prune = pruner.prune(history.study, trial)
        except Exception as error:
            if not is_reference(self.name):
                raise
            raise SpecError(f'pruner = "{self.name}": {reason(error)}') from error
        return Decision.PRUNE if prune else Decision.CONTINUE


def none(pruning: Pruning) -> BasePruner:
    """Stops nothing."""
    return NopPruner()


def median(pruning: Pruning) -> BasePruner:
    """Stops a run that is worse than the median of earlier ones at the same epoch."""
    return MedianPruner(n_startup_trials=pruning.startup, n_warmup_steps=pruning.min_epochs)


def hyperband(pruning: Pruning) -> BasePruner:
    """Successive halving in several brackets, each with another first rung."""
    return HyperbandPruner(
        min_resource=pruning.min_epochs,
        max_resource=pruning.horizon,
        reduction_factor=pruning.reduction,
    )


def successive_halving(pruning: Pruning) -> BasePruner:
    """Lets the best of each rung go on to the next."""
    return SuccessiveHalvingPruner(
        min_resource=pruning.min_epochs, reduction_factor=pruning.reduction
    )


def by_reference(pruning: Pruning) -> BasePruner:
    """A pruner that the study file refers to, made anew for each question.

    Optuna's interface allows for that: a pruner judges by the values that are stored, no instance
    is stored with a study, and each process has one of its own. Optuna's pruners answer alike, kept
    or made anew, as they write into the study what they must know later. What one of a user's own
    counts in an attribute would make its answers depend on which process was asked.

    Raises:
        SpecError: there is no such class, or it does not take the options.
    """
    pruner: BasePruner = make("pruner", pruning.name, pruning.options, BasePruner)
    return pruner
