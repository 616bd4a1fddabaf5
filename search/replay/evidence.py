"""What a surrogate is fitted to: every run of a study, as far as it came."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from tuneoff.metric import ERROR, Metric
from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.store.attributes import DIVERGED, TEST_ERROR
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.trainer.contract import Task


@dataclass(frozen=True)
class ShortRun:
    """A run of a search.

    Attributes:
        errors: validation error, 0 to 1, by epoch; without that of guessing if it diverged.
        diverged: the epoch in which it did; None if it did not.
    """

    params: Mapping[str, Any]
    errors: Mapping[int, float]
    diverged: int | None = None


@dataclass(frozen=True)
class FullTraining:
    """A full training that did not diverge: errors 0 to 1, ``test`` None where there is none."""

    params: Mapping[str, Any]
    validation: float
    test: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The runs of a study.

    Attributes:
        distributions: the search space, by parameter.
        horizon: epochs of a full run of a search.
        seconds: that an epoch took, mean over all searches.
        metric: what the errors are.
    """

    distributions: Mapping[str, BaseDistribution]
    horizon: int
    task: Task
    short: tuple[ShortRun, ...]
    full: tuple[FullTraining, ...]
    seconds: float = 0.0
    metric: Metric = ERROR

    @classmethod
    def of(cls, now: Snapshot) -> Evidence:
        """All that a study has trained so far."""
        study = now.study
        short = []
        for search in study.arms:
            for trial in now.trials(search):
                at = DIVERGED.get(trial)
                seen = trial.intermediate_values
                errors = {epoch: error for epoch, error in seen.items() if epoch != at}
                if errors or at is not None:
                    short.append(ShortRun(dict(trial.params), errors, at))
        full = tuple(
            FullTraining(dict(trial.params), float(trial.value), TEST_ERROR.get(trial))
            for trial in now.trials(study.full)
            if trial.state == TrialState.COMPLETE
            and trial.value is not None
            and not DIVERGED.is_set(trial)
        )
        rows = [r for s in study.arms for some in now.state(s).attempts.values() for r in some]
        epochs = sum(row.epochs for row in rows)
        seconds = sum(row.seconds for row in rows) / epochs if epochs else 0.0
        space = study.space.distributions
        epochs = study.spec.trial.epochs
        return cls(space, epochs, study.task, tuple(short), full, seconds, study.metric)

    @cached_property
    def encoding(self) -> Encoding:
        """Of the searched parameters."""
        return Encoding(self.distributions)

    @cached_property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest error that there can be; infinite where none is known."""
        errors = [error for run in self.short for error in run.errors.values()]
        for run in self.full:
            errors += [run.validation] if run.test is None else [run.validation, run.test]
        return self.metric.range_of(errors)

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """The short runs, in the form that the model of curves takes."""
        return tuple(
            Curve(i, self.encoding.columns(run.params), dict(run.errors), run.diverged is not None)
            for i, run in enumerate(self.short)
        )

    @cached_property
    def complete(self) -> tuple[ShortRun, ...]:
        """The short runs that came to their end."""
        return tuple(run for run in self.short if self.horizon in run.errors)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Every configuration with a complete short run, in order of its first run."""
        return tuple(dict.fromkeys(key_of(run.params) for run in self.complete))

    def without(self, keys: Collection[str]) -> Evidence:
        """The evidence with no run of these configurations."""
        short = tuple(run for run in self.short if key_of(run.params) not in keys)
        full = tuple(run for run in self.full if key_of(run.params) not in keys)
        return dataclasses.replace(self, short=short, full=full)
