"""A study and its searches.

A search is one Optuna study: NAME/ARM/REPEAT for each arm and repeat, NAME/full for full training
and NAME/ensemble for the ensemble's members.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import optuna
from optuna.trial import FrozenTrial

from tuneoff.search.errors import StudyError
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.build import build_policy, queue_policy
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.artifacts import Artifacts, open_artifacts
from tuneoff.search.store.database import Database
from tuneoff.search.store.ledger import Ledger
from tuneoff.search.study import table
from tuneoff.trainer.contract import Task

FULL_RUN = 1_000_000
"""RunSeed.trial of full training: far from every search trial's, so that streams differ."""
MEMBER_RUN = 2_000_000
"""RunSeed.trial of the first ensemble member."""


@dataclass(frozen=True)
class Search:
    """One Optuna study and the policy that feeds it.

    Attributes:
        name: of the Optuna study.
        kind: "arm", "full" or "ensemble".
        arm, repeat: of an arm; "full" and "ensemble" have their kind's name, and 0.
        budget: epochs; None for promoted trials, which are all run.
    """

    name: str
    kind: Literal["arm", "full", "ensemble"]
    arm: str
    repeat: int
    budget: int | None
    policy: Policy = field(repr=False, compare=False)


@dataclass(frozen=True)
class Study:
    """An existing study.

    Attributes:
        uid: a random name of this very study; another of the same name has another.
        task: the data as it was when the study was created.
        work: the folder for checkpoints and packed data.
    """

    database: Database
    spec: StudySpec
    uid: str
    task: Task
    work: Path

    @property
    def name(self) -> str:
        """The study file's name."""
        return self.spec.name

    @property
    def ledger(self) -> Ledger:
        """The attempts at this study's trials, for whoever holds no lock."""
        return Ledger(self.database)

    @cached_property
    def space(self) -> SearchSpace:
        """What is searched."""
        return SearchSpace.of(self.spec)

    @cached_property
    def arms(self) -> tuple[Search, ...]:
        """The arms' searches, repeat by repeat, so that repeats finish together."""
        return tuple(
            Search(
                f"{self.name}/{arm}/{repeat}",
                "arm",
                arm,
                repeat,
                self.spec.budget.epochs,
                build_policy(self.spec, self.space, arm, repeat),
            )
            for repeat in range(self.spec.repeats)
            for arm in self.spec.arms
        )

    @cached_property
    def full(self) -> Search:
        """Full training."""
        return self._queue("full")

    @cached_property
    def ensemble(self) -> Search:
        """The ensemble's members."""
        return self._queue("ensemble")

    def _queue(self, kind: Literal["full", "ensemble"]) -> Search:
        policy = queue_policy(self.spec.trial.epochs)
        return Search(f"{self.name}/{kind}", kind, kind, 0, None, policy)

    @cached_property
    def searches(self) -> tuple[Search, ...]:
        """Every search."""
        return (*self.arms, self.full, self.ensemble)

    @cached_property
    def cached(self) -> dict[str, dict[int, int]]:
        """By search: the epochs of finished trials whose attempts have all ended, by number.

        They change no more, so a process reads them once.
        """
        return defaultdict(dict)

    @cached_property
    def _optuna_studies(self) -> dict[str, tuple[optuna.Study, int]]:
        return {}

    def _open(self, search: Search) -> tuple[optuna.Study, int]:
        if search.name not in self._optuna_studies:
            storage = self.database.optuna
            try:
                opened = optuna.load_study(study_name=search.name, storage=storage)
            except KeyError:
                raise StudyError(
                    f"study {self.name}: its Optuna study {search.name} was deleted; "
                    "create the study again under another name"
                ) from None
            number = storage.get_study_id_from_name(search.name)
            self._optuna_studies[search.name] = opened, number
        return self._optuna_studies[search.name]

    def optuna_study(self, search: Search) -> optuna.Study:
        """A search's Optuna study."""
        return self._open(search)[0]

    def trials(self, search: Search) -> tuple[FrozenTrial, ...]:
        """A search's trials, by number. Not copies: do not change them."""
        _, study_id = self._open(search)
        return tuple(self.database.optuna.get_all_trials(study_id, deepcopy=False))

    def trial_id(self, search: Search, number: int) -> int:
        """The storage's id of a trial."""
        _, study_id = self._open(search)
        return self.database.optuna.get_trial_id_from_study_id_trial_number(study_id, number)

    def store_trial(self, search: Search, template: FrozenTrial) -> FrozenTrial:
        """Store a new trial whole, in one transaction, and read it back with its number."""
        _, study_id = self._open(search)
        trial_id = self.database.optuna.create_new_trial(study_id, template_trial=template)
        return self.database.optuna.get_trial(trial_id)

    @cached_property
    def artifacts(self) -> Artifacts | None:
        """Where checkpoints are kept besides the folder; None if machines share the folder."""
        url = self.spec.workers.artifacts
        return None if url is None else open_artifacts(url, self.database.patience)

    @property
    def folder(self) -> Path:
        """The folder of this study's checkpoints, logs and report."""
        return self.work / f"{self.name}-{self.uid}"

    def checkpoints(self, search: Search) -> Path:
        """The folder of a search's checkpoints; each trial has one of its own in it."""
        inner = Path(search.arm, str(search.repeat)) if search.kind == "arm" else Path(search.kind)
        return self.folder / inner

    def is_draining(self) -> bool:
        """True if workers were asked to finish what they have and leave."""
        return table.is_draining(self.database, self.name)

    def drain(self, on: bool) -> None:
        """Ask workers to finish what they have and leave, or take that back."""
        table.drain(self.database, self.name, on)
