"""A study and its searches.

A search is one Optuna study: NAME/ARM/REPEAT for each arm and repeat, NAME/full for full training
and NAME/ensemble for the ensemble's members. With a [horizon] section there is NAME/horizon, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tuneoff.metric import Metric
from tuneoff.search.errors import StudyError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Spent
from tuneoff.search.store.database import Database
from tuneoff.search.store.ledger import Ledger
from tuneoff.search.study import table
from tuneoff.search.study.table import Standing
from tuneoff.trainer.contract import AnyRecipe, Judge, Task
from tuneoff.trainer.own.recipe import OwnTraining

# Whoever only looks at a study must not wait for these: they take seconds to import.
if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from tuneoff.search.policies.base import Policy
    from tuneoff.search.spec.space import SearchSpace
    from tuneoff.search.store.artifacts import Artifacts

FULL_RUN = 1_000_000
"""RunSeed.trial of full training: far from every search trial's, so that streams differ."""
MEMBER_RUN = 2_000_000
"""RunSeed.trial of the first ensemble member."""
HORIZON_RUN = 3_000_000
"""RunSeed.trial of training to a horizon, less its epochs: each horizon has streams of its own."""

Kind = Literal["arm", "full", "ensemble", "horizon"]


@dataclass(frozen=True)
class Search:
    """One Optuna study and the policy that feeds it.

    Attributes:
        name: of the Optuna study.
        kind: "arm"; of the others, the queues, what they train.
        arm, repeat: of an arm; a queue has its kind's name, and 0.
        budget: epochs; None for promoted trials, which are all run, and where it is in seconds.
        make_policy: makes the policy, when it is first asked for.
        seconds: of training that the search may take; None without such a budget.
    """

    name: str
    kind: Kind
    arm: str
    repeat: int
    budget: int | None
    make_policy: Callable[[], Policy] = field(repr=False, compare=False)
    seconds: float | None = None

    @cached_property
    def policy(self) -> Policy:
        """What feeds the search."""
        return self.make_policy()

    @property
    def sampler(self) -> Policy:
        """The policy without the rule that may end the search early."""
        from tuneoff.search.policies.stopping import Stopping

        return self.policy.inner if isinstance(self.policy, Stopping) else self.policy


@dataclass(frozen=True)
class _Kept:
    """What a process has made or read of a study, and keeps when the study grows.

    Attributes:
        searches: by arm and repeat.
        spent: see ``Study.cached``.
        optuna_studies: by search: the Optuna study, and its number in the storage.
        doubted: see ``Study.doubted``.
    """

    searches: dict[tuple[str, int], Search] = field(default_factory=dict)
    spent: dict[str, dict[int, Spent]] = field(default_factory=lambda: defaultdict(dict))
    optuna_studies: dict[str, tuple[optuna.Study, int]] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Study:
    """An existing study.

    Attributes:
        uid: a random name of this very study; another of the same name has another.
        task: the data as it was when the study was created.
        work: the folder for checkpoints and packed data.
        repeats: how many repeats were open when it was read: the study file's, or more.
    """

    database: Database
    spec: StudySpec
    uid: str
    task: Task
    work: Path
    repeats: int
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The study file's name."""
        return self.spec.name

    @property
    def ledger(self) -> Ledger:
        """The attempts at this study's trials, for whoever holds no lock."""
        return Ledger(self.database)

    @cached_property
    def metric(self) -> Metric:
        """What its runs are judged by."""
        return self.spec.metric.metric()

    @property
    def worst(self) -> float:
        """The stored value of a run that diverged: [metric] ``worst``, else that of guessing."""
        worst = self.metric.worst_stored
        return self.task.chance_error if worst is None else worst

    def judge(self, recipe: AnyRecipe) -> Judge:
        """By what members of an ensemble that were trained by a recipe are weighted."""
        # What a user's own training comes to on a split is counted from its scores.
        if isinstance(recipe, OwnTraining) or self.metric.percent:
            return Judge(recipe)
        return Judge(recipe, self.worst)

    @cached_property
    def space(self) -> SearchSpace:
        """What is searched."""
        from tuneoff.search.spec.space import SearchSpace

        return SearchSpace.of(self.spec)

    @cached_property
    def arms(self) -> tuple[Search, ...]:
        """The arms' searches, repeat by repeat, so that repeats finish together."""
        pairs = [(arm, repeat) for repeat in range(self.repeats) for arm in self.spec.arms]
        for pair in pairs:
            # The same one for as long as this process has the study: its policy may hold a model.
            if pair not in self._kept.searches:
                self._kept.searches[pair] = self._arm_search(*pair)
        return tuple(self._kept.searches[pair] for pair in pairs)

    def _arm_search(self, arm: str, repeat: int) -> Search:
        name, budget = f"{self.name}/{arm}/{repeat}", self.spec.budget
        make_policy = partial(self._arm_policy, arm, repeat)
        return Search(name, "arm", arm, repeat, budget.epochs, make_policy, budget.time)

    @cached_property
    def full(self) -> Search:
        """Full training."""
        return self._queue("full")

    @cached_property
    def ensemble(self) -> Search:
        """The ensemble's members."""
        return self._queue("ensemble")

    @cached_property
    def horizon(self) -> Search:
        """The sample that is trained to each horizon.

        Without a [horizon] section it is none of ``searches``, and there may be no such Optuna
        study.
        """
        return self._queue("horizon")

    def _queue(self, kind: Literal["full", "ensemble", "horizon"]) -> Search:
        return Search(f"{self.name}/{kind}", kind, kind, 0, None, self._queue_policy)

    def _arm_policy(self, arm: str, repeat: int) -> Policy:
        from tuneoff.search.policies.build import build_policy

        return build_policy(self.spec, self.space, arm, repeat, self.worst)

    def _queue_policy(self) -> Policy:
        from tuneoff.search.policies.build import queue_policy

        return queue_policy(self.spec.trial.epochs)

    @cached_property
    def searches(self) -> tuple[Search, ...]:
        """Every search."""
        return (*self.arms, *self.queues)

    @property
    def queues(self) -> tuple[Search, ...]:
        """The searches whose trials are enqueued, and all run whatever they cost."""
        more = () if self.spec.horizon is None else (self.horizon,)
        return (self.full, self.ensemble, *more)

    @property
    def cached(self) -> dict[str, dict[int, Spent]]:
        """By search: what finished trials took whose attempts have all ended, by number.

        They change no more, so a process reads them once.
        """
        return self._kept.spent

    @property
    def doubted(self) -> set[str]:
        """The trials whose errors this process has warned of: see ``study.plausible``."""
        return self._kept.doubted

    def _open(self, search: Search) -> tuple[optuna.Study, int]:
        import optuna

        if search.name not in self._kept.optuna_studies:
            storage = self.database.optuna
            try:
                opened = optuna.load_study(study_name=search.name, storage=storage)
            except KeyError:
                raise self.deleted(search) from None
            number = storage.get_study_id_from_name(search.name)
            self._kept.optuna_studies[search.name] = opened, number
        return self._kept.optuna_studies[search.name]

    def deleted(self, search: Search) -> StudyError:
        """The error of a search whose Optuna study somebody deleted."""
        return StudyError(
            f"study {self.name}: its Optuna study {search.name} was deleted; "
            "create the study again under another name"
        )

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
        from tuneoff.search.store.artifacts import open_artifacts

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

    def standing(self) -> Standing:
        """Whether workers are to leave, and how many repeats are open, in one reading."""
        with self.database.engine.connect() as connection:
            return table.standing(connection, self.name)

    def is_draining(self) -> bool:
        """True if workers were asked to finish what they have and leave."""
        return self.standing().draining

    def grown(self, repeats: int) -> Study:
        """The same study with so many open repeats, or with more if it has them.

        What this process has read of it is kept.
        """
        if repeats <= self.repeats:
            return self
        study = replace(self, repeats=repeats)
        object.__setattr__(study, "_kept", self._kept)
        return study

    def refreshed(self) -> Study:
        """The same study with the repeats that are open at this moment."""
        return self.grown(self.standing().repeats)

    def drain(self, on: bool) -> None:
        """Ask workers to finish what they have and leave, or take that back."""
        table.drain(self.database, self.name, on)
