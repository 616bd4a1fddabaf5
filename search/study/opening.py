"""Studies are created once, by however many processes, and opened with checks."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning

from tuneoff.once import made_once
from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError, StudyError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.artifacts import Tick, open_artifacts
from tuneoff.search.store.database import Database
from tuneoff.search.study import table
from tuneoff.search.study.study import Study
from tuneoff.trainer.contract import Task

MARK = "study"
"""The artifact by which a study's workers know its store."""
CREATE_PATIENCE = Patience(10.0)
"""Seconds to wait for the artifact store of a study that is created: somebody is watching."""


def create_study(database: Database, spec: StudySpec, task: Task, work: Path) -> Study:
    """Make a study, or open the one that is there if the file has not changed.

    Args:
        task: what ``spec.reading.preflight`` returned for the data.

    Raises:
        StudyError: the study exists and the file differs from what it was created with, or the
            data have changed since.
        ArtifactError: the artifact store does not work.
    """
    if spec.workers.artifacts is not None:
        open_artifacts(spec.workers.artifacts, CREATE_PATIENCE).check()

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
    # Where the data lie and how patient we are may change; workers read both from the database.
    # The order of [space] stays as it was: seeded samplers draw in that order.
    merged = found.model_copy(update={"data": spec.data, "workers": spec.workers})
    table.replace_spec(database, merged)
    return _mark(open_study(database, spec.name, work))


def open_study(database: Database, name: str, work: Path) -> Study:
    """Open a study by name.

    Args:
        work: the folder for checkpoints and packed data.

    Raises:
        StudyError: there is no study of that name.
    """
    row = table.find(database, name)
    if row is None:
        others = ", ".join(table.names(database)) or "none yet"
        raise StudyError(
            f"there is no study {name} in {database} (it has: {others}); run `tuneoff create`"
        )
    return Study(database, table.spec_of(row), row["uid"], table.task_of(row), work)


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
    table.insert(database, spec, task)
