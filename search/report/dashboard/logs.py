"""The log of a search run, as an artifact of optuna-dashboard: written when it is asked for.

So it costs nothing while a study runs, is the same on every machine, and is never old: what it says
is in the database.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from tuneoff.messages import printable
from tuneoff.search.errors import SearchError
from tuneoff.search.report.dashboard.runs import LOG_MARK, Run, recipe_in_short
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import CHOSEN_BY, DIVERGED, FAILURE, NOTE
from tuneoff.search.store.database import Database
from tuneoff.search.store.moment import moment
from tuneoff.search.store.trials import read_trials
from tuneoff.search.study import table
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.snapshot import as_it_stands
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef


class Artifacts:
    """Optuna's ``ArtifactStore``: a folder, and before it the logs, which lie nowhere."""

    def __init__(self, database: Database, files: FileSystemArtifactStore) -> None:
        """
        Args:
            files: keeps what people upload.
        """
        self._database, self._files = database, files

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""
        if not _is_log(artifact_id):
            reader: BinaryIO = self._files.open_reader(artifact_id)
            return reader
        try:
            return io.BytesIO(_log(self._database, artifact_id).encode())
        except (ValueError, IndexError, KeyError, SearchError) as error:
            raise ArtifactNotFound(f"there is no log {artifact_id}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object."""
        self._files.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an object; a log stays, as it is nowhere."""
        if not _is_log(artifact_id):
            self._files.remove(artifact_id)


def _is_log(name: str) -> bool:
    return name.startswith(f"{LOG_MARK}-")


def _log(database: Database, name: str) -> str:
    """The log of this name (KeyError, ValueError and others if there is none)."""
    _, uid, *numbers = name.split("-")
    arm, repeat, number = (int(part, 16) for part in numbers)
    for study_name in table.names(database):
        row = table.find(database, study_name)
        if row is not None and row["uid"] == uid:
            study = open_study(database, study_name, Path())  # none of its files are read
            mine = {(search.arm, search.repeat): search for search in study.arms}
            search = mine[list(study.spec.arms)[arm], repeat]
            return run_log(study, read_run(study, search, number))
    raise KeyError(name)


def read_run(study: Study, search: Search, number: int) -> Run:
    """A run as it stands at this moment (IndexError if there is none)."""
    with moment(study.database.engine) as connection:
        trial = read_trials(connection, [search.name])[search.name][number]
        rows = attempts.read_trials_attempts(connection, search.name, [number])
    (stands,) = as_it_stands(study, search, [trial], {number: rows})
    return Run(search, stands, rows)


def run_log(study: Study, run: Run) -> str:
    """All that is known of a run, in lines."""
    return "\n".join(map(printable, _lines(study, run))) + "\n"


def _lines(study: Study, run: Run) -> Iterator[str]:
    trial, training = run.trial, TrialRef(study, run.search, run.trial).run
    seed = training.seed
    yield f"{run.search.name}#{trial.number}: {run.outcome}"
    yield ", ".join(f"{name} = {value}" for name, value in trial.params.items())
    yield f"{recipe_in_short(training.recipe)}; seed {seed.study}, {seed.trial}, {seed.replica}"
    for what, attribute in (("chosen by", CHOSEN_BY), ("note", NOTE), ("failed", FAILURE)):
        if (said := attribute.get(trial)) is not None:
            yield f"{what}: {said}"
    if (epoch := DIVERGED.get(trial)) is not None:
        yield f"diverged in epoch {epoch}: its {study.metric.bare} counts as that of guessing"
    yield ""
    yield "Attempts (times in UTC)" if run.attempts else "No worker has begun it yet."
    yield from map(_attempt, run.attempts)
    yield ""
    metric = study.metric
    for epoch, error in sorted(trial.intermediate_values.items()):
        yield f"epoch {epoch:4d}: {metric.on('validation')} {metric.text(error)}"


def _attempt(row: Attempt) -> str:
    span = f"{_time(row.started)} to {'now' if row.ended is None else _time(row.ended)}"
    trained = f"epochs {row.from_epoch + 1} to {row.reached}" if row.epochs else "no epoch"
    end = row.end or f"at work, until epoch {row.until_epoch}"
    because = f": {row.reason}" if row.reason else ""
    return (
        f"{row.number + 1}. {row.worker} on {row.device}, {span}, {trained}, {row.seconds:.1f} s, "
        f"{end}{because}"
    )


def _time(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"
