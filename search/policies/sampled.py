"""Any of Optuna's samplers with any of its pruners, and a Sobol sequence, as policies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import SearchSpace


@dataclass(frozen=True)
class Sampled:
    """One of Optuna's samplers.

    Attributes:
        sampler: "gp", "tpe" or "random".
        seed: entropy of this repeat; arms of one repeat share it, so that their start-up points
            are the same ones.
        startup: random trials before "gp" or "tpe" starts to model.
    """

    sampler: str
    space: SearchSpace
    seed: tuple[int, ...]
    startup: int
    pruning: Pruning

    def next(self, history: History) -> NewTrial | None:
        """What the sampler proposes after this history.

        A copy of the study in memory is asked, so that proposing writes nothing: a worker that
        dies here leaves no half-made trial. The copy has the study's name and its trial numbers,
        on which Hyperband's brackets depend.
        """
        if history.remaining < history.horizon:
            return None
        number = len(history.trials)
        copy = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            study_name=history.study.study_name,
            sampler=self._build(number),
            pruner=self.pruning.build(),
        )
        if self.sampler != "random":  # which looks at nothing
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

    def _build(self, number: int) -> BaseSampler:
        # A sampler made anew for each trial must not draw the same numbers each time.
        seed = int(np.random.SeedSequence([*self.seed, number]).generate_state(1)[0])
        if self.sampler == "gp":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return GPSampler(seed=seed, n_startup_trials=self.startup)
        if self.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=self.startup)
        return RandomSampler(seed=seed)


@dataclass(frozen=True)
class QuasiRandom:
    """A scrambled Sobol sequence, one point a trial."""

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
