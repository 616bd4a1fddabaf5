"""A study and its searches: created once, opened with checks.

A search is one Optuna study: NAME/ARM/REPEAT for each arm and repeat, NAME/full for full training
and NAME/ensemble for the ensemble's members.
"""

from __future__ import annotations

import json
import secrets
import shutil
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy as sa
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial

from tuneoff.search.errors import ArtifactError, SpecError, StudyError
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.registry import build_policy, queue_policy
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.artifacts import Artifacts, Tick, open_artifacts
from tuneoff.search.store.attributes import CHANGES, SEED
from tuneoff.search.store.database import Database, db_now, metadata
from tuneoff.trainer.contract import RunSeed, Task
from tuneoff.trainer.recipe import LAYER_DECAY, HyperParams, Recipe

studies_table = sa.Table(
    "tuneoff_studies",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("uid", sa.String(16), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False),
)
_t = studies_table.c

FULL_RUN = 1_000_000
"""RunSeed.trial of full training: far from every search trial's, so that streams differ."""
MEMBER_RUN = 2_000_000
"""RunSeed.trial of the first ensemble member."""

MARK = "study"
"""The artifact by which a study's workers know its store."""
CREATE_PATIENCE = 10.0
"""Seconds to wait for the artifact store of a study that is created: somebody looks on."""


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
class Run:
    """What training one trial takes."""

    recipe: Recipe
    params: HyperParams
    seed: RunSeed


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

    def add_trial(self, search: Search, trial: FrozenTrial) -> FrozenTrial:
        """Store a new trial whole, in one transaction, and read it back with its number."""
        _, study_id = self._open(search)
        trial_id = self.database.optuna.create_new_trial(study_id, template_trial=trial)
        return self.database.optuna.get_trial(trial_id)

    def run_of(self, search: Search, trial: FrozenTrial) -> Run:
        """What training this trial takes."""
        recipe, params = self.space.apply(self.spec.recipe(), trial.params)
        # What [promote] or a member states for itself beats a searched value.
        recipe = recipe.override(trial.user_attrs.get(CHANGES, {}))
        if SEED in trial.user_attrs:
            return Run(recipe, params, RunSeed(*trial.user_attrs[SEED]))
        return Run(recipe, params, RunSeed(self.spec.seed, trial.number, search.repeat))

    @cached_property
    def artifacts(self) -> Artifacts | None:
        """Where checkpoints are kept besides the folder; None if machines share the folder."""
        url = self.spec.workers.artifacts
        return None if url is None else open_artifacts(url, self.database.patience)

    @property
    def folder(self) -> Path:
        """The folder of this study's checkpoints, logs and report."""
        return self.work / f"{self.name}-{self.uid}"

    def checkpoints(self, search: Search, trial: FrozenTrial) -> Path:
        """The folder of a trial's checkpoints."""
        return self._checkpoints_of(search) / f"{trial.number:05d}"

    def _checkpoints_of(self, search: Search) -> Path:
        inner = Path(search.arm, str(search.repeat)) if search.kind == "arm" else Path(search.kind)
        return self.folder / inner

    def discard_checkpoints(self, search: Search, trial: FrozenTrial) -> None:
        """Free the space of a trial that nobody goes on with; what cannot be deleted stays."""
        shutil.rmtree(self.checkpoints(search, trial), ignore_errors=True)

    def discard_all_checkpoints(self, search: Search) -> None:
        """Free the space of a search that nobody goes on with; what cannot be deleted stays."""
        shutil.rmtree(self._checkpoints_of(search), ignore_errors=True)

    def is_draining(self) -> bool:
        """True if workers were asked to finish what they have and leave."""
        query = sa.select(_t.draining).where(_t.name == self.name)
        with self.database.engine.connect() as connection:
            return bool(connection.scalar(query))

    def drain(self, on: bool) -> None:
        """Ask workers to finish what they have and leave, or take that back."""
        change = studies_table.update().where(_t.name == self.name).values(draining=on)
        with self.database.engine.begin() as connection:
            connection.execute(change)


def read_study_file(path: Path, changes: Sequence[str] = ()) -> StudySpec:
    """A study file, checked with its search space (SpecError otherwise)."""
    spec = StudySpec.load(path, changes)
    try:
        SearchSpace.of(spec)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    return spec


def preflight(spec: StudySpec, check: Callable[[Recipe], Task]) -> Task:
    """Make sure that every recipe of a study can be trained, before anything is written.

    Args:
        check: as ``Trainer.check``, whose errors pass through.
    """
    space = SearchSpace.of(spec)
    recipes = [spec.recipe(), *space.variants()]
    # Layers whose factors are searched must be there in later models too.
    layers = {name: 1.0 for name in space.distributions if name.startswith(LAYER_DECAY)}
    searched = spec.recipe().override(layers)
    recipes += [searched.override(changes) for changes in spec.later_changes().values()]
    tasks = [check(recipe) for recipe in dict.fromkeys(recipes)]
    return tasks[0]


def create_study(database: Database, spec: StudySpec, task: Task, work: Path) -> Study:
    """Make a study, or open the one that is there if the file has not changed.

    Args:
        task: what ``preflight`` said of the data.

    Raises:
        StudyError: the study exists and the file differs from what it was created with, or the
            data have changed since.
        ArtifactError: the artifact store does not work.
    """
    if spec.workers.artifacts is not None:
        open_artifacts(spec.workers.artifacts, CREATE_PATIENCE).check()
    with database.lock("create"):
        row = _find(database, spec.name)
        if row is None:
            _write(database, spec, task)
    if row is None:
        return _mark(open_study(database, spec.name, work))
    found = _read(row)
    if differences := found.differences(spec):
        raise StudyError(
            f"study {spec.name} exists and its file has changed: in the study {differences[0]}"
            f"{f' (and {len(differences) - 1} more)' if len(differences) > 1 else ''}; "
            "put the file back, or give the study another name"
        )
    study = open_study(database, spec.name, work)
    check_data(study, task)
    # Where the data lie and how patient we are may change; workers read both from the database.
    # The order of [space] stays as it was: seeded samplers draw in that order.
    merged = found.model_copy(update={"data": spec.data, "workers": spec.workers})
    change = studies_table.update().where(_t.name == spec.name)
    with database.engine.begin() as connection:
        connection.execute(change.values(spec=merged.model_dump_json()))
    return _mark(open_study(database, spec.name, work))


def check_data(study: Study, task: Task) -> None:
    """Make sure that the data are those of the study's creation (StudyError otherwise)."""
    if task.digest != study.task.digest:
        raise StudyError(
            f"study {study.name}: the images are not those that it was created with "
            f"(digest {task.digest[:12]}, not {study.task.digest[:12]}); check data.path"
        )


def check_artifacts(study: Study, tick: Tick) -> None:
    """Make sure that the artifact store works here, and is the one of the study's creation.

    A share that is not mounted is an empty folder: each machine would keep its checkpoints to
    itself, and nobody would know before one is lost.

    Raises:
        ArtifactError: it does not, or is not.
    """
    if study.artifacts is not None:
        study.artifacts.check(tick)
        if not study.artifacts.has(f"{study.folder.name}/{MARK}"):
            raise ArtifactError(
                f"{study.artifacts}: holds nothing of study {study.name}; is it the same here as "
                "where the study was created? If it is new, run `tuneoff create` again"
            )


def open_study(database: Database, name: str, work: Path) -> Study:
    """Open a study by name.

    Raises:
        StudyError: there is none of that name.
    """
    row = _find(database, name)
    if row is None:
        others = ", ".join(study_names(database)) or "none yet"
        raise StudyError(
            f"there is no study {name} in {database} (it has: {others}); run `tuneoff create`"
        )
    stored = json.loads(row["task"])
    task = Task(tuple(stored["classes"]), stored["sizes"], stored["digest"])
    return Study(database, _read(row), row["uid"], task, work)


def study_names(database: Database) -> list[str]:
    """The names of all studies."""
    with database.engine.connect() as connection:
        return list(connection.scalars(sa.select(_t.name).order_by(_t.created)))


def _mark(study: Study) -> Study:
    if study.artifacts is not None:
        study.artifacts.put(f"{study.folder.name}/{MARK}", MARK, study.name.encode())
    return study


def _find(database: Database, name: str) -> Mapping[str, Any] | None:
    with database.engine.connect() as connection:
        row = connection.execute(sa.select(studies_table).where(_t.name == name)).one_or_none()
    return None if row is None else dict(row._mapping)


def _read(row: Mapping[str, Any]) -> StudySpec:
    return StudySpec.parse(json.loads(row["spec"]), f"stored study {row['name']}")


def _write(database: Database, spec: StudySpec, task: Task) -> None:
    names = [f"{spec.name}/{arm}/{r}" for arm in spec.arms for r in range(spec.repeats)]
    for name in (*names, f"{spec.name}/full", f"{spec.name}/ensemble"):
        study = optuna.create_study(
            study_name=name, storage=database.optuna, direction="minimize", load_if_exists=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(["validation error"])
    # Ours comes last: a study whose creation was cut off is created again, from where it was.
    with database.engine.begin() as connection:
        connection.execute(
            studies_table.insert().values(
                name=spec.name,
                uid=secrets.token_hex(4),
                spec=spec.model_dump_json(),
                task=json.dumps(asdict(task)),
                created=db_now(),
                draining=False,
            )
        )
