"""One stored trial: what is written to it, where its files lie, and what training it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuneoff.messages import printable
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import DIVERGED, FAILURE, RECIPE_CHANGES, SEED, UNTIL
from tuneoff.search.study.study import Search, Study
from tuneoff.trainer.contract import AnyRecipe, RunSeed
from tuneoff.trainer.recipe import HyperParams


@dataclass(frozen=True)
class Run:
    """What training one trial takes; ``params`` are nothing to a user's own code."""

    recipe: AnyRecipe
    params: HyperParams
    seed: RunSeed


@dataclass(frozen=True)
class TrialRef:
    """A trial of a search.

    ``report``, ``note`` and ``note_as_owner`` wait for a database that is away. ``tell``, ``fail``
    and ``tell_diverged`` do not: they are called under the search's lock.

    Attributes:
        stored: the trial as it was when it was read; what is written later is not in it.
    """

    study: Study
    search: Search
    stored: FrozenTrial

    def __str__(self) -> str:
        return f"{self.search.name}#{self.number}"

    @property
    def number(self) -> int:
        """The trial's number in its search."""
        return self.stored.number

    @cached_property
    def id(self) -> int:
        """The storage's id of the trial."""
        return self.study.trial_id(self.search, self.number)

    @property
    def last_epoch(self) -> int:
        """The last epoch that had been reported when the trial was read; 0 before the first."""
        return last_epoch(self.stored)

    @property
    def folder(self) -> Path:
        """The folder of its checkpoints."""
        return self.study.checkpoints(self.search) / f"{self.number:05d}"

    @cached_property
    def run(self) -> Run:
        """What training this trial takes."""
        study = self.study
        recipe, params = study.space.apply(study.spec.recipe(), self.stored.params)
        # What [promote] or a member states for itself beats a searched value.
        recipe = recipe.override(RECIPE_CHANGES.get(self.stored) or {})
        if (seed := SEED.get(self.stored)) is not None:
            return Run(recipe, params, RunSeed(*seed))
        return Run(recipe, params, RunSeed(study.spec.seed, self.number, self.search.repeat))

    def report(self, epoch: int, error: float) -> None:
        """Store the validation error (0 to 1) after an epoch, unless it was there when read."""
        if epoch not in self.stored.intermediate_values:
            storage = self.study.database.optuna
            self.study.ledger.step(storage.set_trial_intermediate_value, self.id, epoch, error)

    def note(self, notes: Mapping[str, Any]) -> None:
        """Store user attributes, as ``Attribute.entry`` makes them."""
        self.study.ledger.step(self._set, notes)

    def note_as_owner(self, attempt: Attempt, notes: Mapping[str, Any]) -> None:
        """Store user attributes of a trial that this worker owns by this attempt.

        Raises:
            LeaseLost: the trial belongs to another worker by now; nothing was stored.
        """

        def write() -> None:
            attempts.touch(self.study.database, attempt)
            self._set(notes)

        self.study.ledger.step(write)

    def start(self) -> None:
        """Make a WAITING trial RUNNING."""
        self.study.database.optuna.set_trial_state_values(self.id, TrialState.RUNNING)

    def tell(self, state: TrialState, value: float | None = None) -> None:
        """Finish the trial, once: one that is finished already stays as it is.

        Args:
            value: the validation error; without it a pruned trial is told its last reported one.
        """
        stored = self._read()
        if stored.state.is_finished():
            return
        if value is None and state == TrialState.PRUNED and stored.intermediate_values:
            value = stored.intermediate_values[last_epoch(stored)]
        values = None if value is None else [value]
        self.study.database.optuna.set_trial_state_values(self.id, state, values)

    def fail(self, reason: str) -> None:
        """Tell the trial FAIL, once, with the reason where people look for it."""
        if not self._read().state.is_finished():
            self._set(FAILURE.entry(printable(reason)))
            self.tell(TrialState.FAIL)

    def tell_diverged(self, epoch: int) -> None:
        """Tell the trial, once, that it diverged in this epoch: it is as good as guessing."""
        if not self._read().state.is_finished():
            chance = self.study.worst
            self._set(DIVERGED.entry(epoch))
            self.study.database.optuna.set_trial_intermediate_value(self.id, epoch, chance)
            self.tell(TrialState.COMPLETE, chance)

    def _read(self) -> FrozenTrial:
        return self.study.database.optuna.get_trial(self.id)

    def _set(self, notes: Mapping[str, Any]) -> None:
        for name, value in notes.items():
            self.study.database.optuna.set_trial_user_attr(self.id, name, value)


def add_trial(study: Study, search: Search, state: TrialState, job: NewTrial) -> TrialRef:
    """Store a new trial whole, with its parameters, in one transaction.

    Args:
        state: RUNNING, or WAITING for one that the next worker is to start.

    Raises:
        ValueError: the parameters are incomplete or lie outside the search space.
    """
    running = state == TrialState.RUNNING
    template = FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        datetime_start=datetime.now() if running else None,
        datetime_complete=None,
        params=study.space.check(job.params),
        distributions=dict(study.space.distributions),
        user_attrs=dict(job.note),
        system_attrs=UNTIL.entry(job.until_epoch) if running else {},
        intermediate_values={},
    )
    return TrialRef(study, search, study.store_trial(search, template))


def last_epoch(trial: FrozenTrial) -> int:
    """The last epoch that was reported; 0 before the first."""
    return max(trial.intermediate_values, default=0)
