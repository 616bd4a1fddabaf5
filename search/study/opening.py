"""Studies are created once, by however many processes, and opened with checks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.once import made_once
from tuneoff.search.errors import ArtifactError, StudyError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.database import Database
from tuneoff.search.store.ledger import Ledger
from tuneoff.search.study import table
from tuneoff.search.study.folder import move_folder
from tuneoff.search.study.study import Study
from tuneoff.trainer.contract import Task

if TYPE_CHECKING:
    from tuneoff.search.store.artifacts import Tick

MARK = "study"
"""The artifact by which a study's workers know its store."""


def create_study(database: Database, spec: StudySpec, task: Task, work: Path) -> Study:
    """Make a study, or open the one that is there if the file has not changed.

    Args:
        task: what ``spec.reading.preflight`` returned for the data.

    Raises:
        StudyError: the study exists and the file differs from what it was created with, the data
            have changed since, or workers are training it in another folder.
        ArtifactError, ArtifactOutage: the artifact store does not work, or stayed away.
        StorageOutage: the database stayed away.
    """
    if spec.workers.artifacts is not None:
        from tuneoff.search.store.artifacts import open_artifacts

        open_artifacts(spec.workers.artifacts, database.patience).check()
    # All of it may be done twice.
    return Ledger(database).step(_create_study, database, spec, task, work)


def _create_study(database: Database, spec: StudySpec, task: Task, work: Path) -> Study:
    # Here: it imports Optuna, and whoever only looks at a study opens it with this module.
    from tuneoff.search.study.horizon import check_changes

    def write() -> StudySpec:
        _write(database, spec, task)
        return spec

    found = made_once(lambda: _stored_spec(database, spec.name), write, database.lock("create"))
    if differences := found.differences(spec):
        raise StudyError(
            f"study {spec.name} exists and its file has changed: in the study {differences[0]}"
            f"{f' (and {len(differences) - 1} more)' if len(differences) > 1 else ''}; "
            "put the file back, or give the study another name"
        )
    study = open_study(database, spec.name, work)
    check_data(study, task)
    if spec.horizon is not None:
        _make_searches(
            database, study.spec, [study.horizon.name]
        )  # earlier versions, or files, had none
    check_changes(study, spec.horizon)
    # Where the data lie, how patient we are, how long evidence is gathered and to which horizons
    # we train may change; workers read all of it from the database.
    # The order of [space] stays as it was: seeded samplers draw in that order.
    merged = found.model_copy(
        update={
            "data": spec.data,
            "compare": spec.compare,
            "horizon": spec.horizon,
            "workers": spec.workers,
            "notify": spec.notify,
        }
    )
    table.replace_spec(database, merged)
    study = _mark(open_study(database, spec.name, work))
    move_folder(study)
    return study


def open_study(database: Database, name: str, work: Path) -> Study:
    """Open a study by name.

    Args:
        work: the folder for checkpoints and packed data.

    Raises:
        StudyError: there is no study of that name.
    """
    row = Ledger(database).step(table.find, database, name)
    if row is None:
        others = ", ".join(table.names(database)) or "none yet"
        raise StudyError(
            f"there is no study {name} in {database} (it has: {others}); run `tuneoff create`"
        )
    return Study(database, table.spec_of(row), row["uid"], table.task_of(row), work, row["repeats"])


def check_data(study: Study, task: Task) -> None:
    """Make sure that the data are those of the study's creation (StudyError otherwise)."""
    if task.digest != study.task.digest and study.task.is_own:
        code = study.spec.trial.own_training().code
        raise StudyError(
            f"study {study.name}: the code of {code} is not that with which it was created (digest "
            f"{task.digest[:12]}, not {study.task.digest[:12]}); put it back, or give the study "
            "another name"
        )
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
        ArtifactOutage: it stayed away for too long, or was away and ``tick`` was True.
        ArtifactError: it does not, or is not.
    """
    if study.artifacts is not None:
        study.artifacts.check(tick)
        if not study.artifacts.has(f"{study.folder.name}/{MARK}"):
            raise ArtifactError(
                f"{study.artifacts}: contains no file of study {study.name}; check that it is "
                "mounted here and that the study was created with it; for a new, empty store "
                "run `tuneoff create` again"
            )


def _stored_spec(database: Database, name: str) -> StudySpec | None:
    row = table.find(database, name)
    return None if row is None else table.spec_of(row)


def _mark(study: Study) -> Study:
    if study.artifacts is not None:
        study.artifacts.put_bytes(f"{study.folder.name}/{MARK}", MARK, study.name.encode())
    return study


def open_repeats(study: Study, repeats: int) -> Study:
    """Open further repeats of every arm, up to ``repeats`` in all; the study that has them.

    It may be called by many workers at once, and again after it was cut off: the number is raised
    last, and what is there already is taken as it is. No lock may be held.

    What somebody entered by hand in every open repeat is entered in the new ones, too, so that the
    arm goes on as it was.

    Raises:
        sqlalchemy.exc.DBAPIError, StorageOutage: the database is away.
    """
    from tuneoff.search.study.entered import enter_again

    arms = tuple(study.spec.arms)
    with study.database.lock(f"{study.name}/repeats"):
        study = study.refreshed()
        names = [f"{study.name}/{a}/{r}" for r in range(study.repeats, repeats) for a in arms]
        _make_searches(study.database, study.spec, names)
        enter_again(study, repeats)
        table.raise_repeats(study.database, study.name, repeats)
    return study.grown(repeats)


def _write(database: Database, spec: StudySpec, task: Task) -> None:
    names = [f"{spec.name}/{arm}/{r}" for arm in spec.arms for r in range(spec.repeats)]
    queues = ["full", "ensemble"] + ["horizon"] * (spec.horizon is not None)
    _make_searches(database, spec, (*names, *(f"{spec.name}/{queue}" for queue in queues)))
    # Ours comes last: a study whose creation was cut off is created again, from where it was.
    table.insert(database, spec, task)


def _make_searches(database: Database, spec: StudySpec, names: Iterable[str]) -> None:
    """Make the Optuna studies that are not there yet. Values are stored so that lower is better."""
    import optuna
    from optuna.exceptions import ExperimentalWarning

    for name in names:
        study = optuna.create_study(
            study_name=name, storage=database.optuna, direction="minimize", load_if_exists=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([spec.metric.metric().stored_name])
