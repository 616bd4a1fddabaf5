"""Optuna's samplers as policies, with any of its pruners."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Decision, History, NewTrial, Policy
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.space import SearchSpace

STARTUP = 5  # random trials before a model is asked, where the study file does not say


def gp(arm: Arm) -> Policy:
    """Optuna's Gaussian process."""
    return _sampled(arm, gp_sampler)


def tpe(arm: Arm) -> Policy:
    """Optuna's tree-structured Parzen estimator."""
    return _sampled(arm, tpe_sampler)


def random(arm: Arm) -> Policy:
    """Uniform points."""
    return _sampled(arm, random_sampler)


def gp_sampler(seed: int, startup: int) -> BaseSampler:
    """A fresh ``GPSampler``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return GPSampler(seed=seed, n_startup_trials=startup)


def tpe_sampler(seed: int, startup: int) -> BaseSampler:
    """A fresh ``TPESampler``."""
    return TPESampler(seed=seed, n_startup_trials=startup)


def random_sampler(seed: int, startup: int) -> BaseSampler:
    """A fresh ``RandomSampler``, for which every trial is one of the start-up."""
    return RandomSampler(seed=seed)


def _sampled(arm: Arm, sampler: Callable[[int, int], BaseSampler]) -> Policy:
    startup = arm.settings.startup or STARTUP
    return Sampled(sampler, arm.space, arm.seed, startup, arm.pruning)


@dataclass(frozen=True)
class Sampled:
    """One of Optuna's samplers.

    Attributes:
        sampler: makes a new one from a seed and ``startup``; what it knows of earlier trials must
            come from the study alone, not from what it has been asked before.
        seed: entropy of this repeat; arms of one repeat share it, so that they have the same
            start-up points.
        startup: random trials before a sampler with a model asks it.
    """

    sampler: Callable[[int, int], BaseSampler]
    space: SearchSpace
    seed: tuple[int, ...]
    startup: int
    pruning: Pruning

    def next(self, history: History) -> NewTrial | None:
        """What the sampler proposes after this history.

        The sampler is asked through a copy of the study in memory, so that a proposal writes
        nothing, and a worker that dies meanwhile leaves no incomplete trial. The copy has the
        study's name and its trial numbers, on which Hyperband's brackets depend.
        """
        if history.remaining < history.horizon:
            return None
        # The sampler is a new one for each trial, and must not draw the same numbers every time.
        entropy = np.random.SeedSequence([*self.seed, len(history.trials)])
        sampler = self.sampler(int(entropy.generate_state(1)[0]), self.startup)
        copy = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            study_name=history.study.study_name,
            sampler=sampler,
            pruner=self.pruning.build(),
        )
        if not isinstance(sampler, RandomSampler):  # which does not look at earlier trials
            copy.add_trials(history.trials)
        trial = copy.ask(dict(self.space.distributions))
        return NewTrial(dict(trial.params), history.horizon)

    @property
    def stops(self) -> bool:
        """As the pruner."""
        return self.pruning.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the pruner says."""
        return self.pruning.after(history, trial)
