"""A trial's files in the artifact store, so that workers on other machines can go on with it.

Each attempt's files have keys of their own, NAME-UID/ARM/REPEAT/TRIAL/ATTEMPT/FILE. The number of
the attempt is the ledger's: a worker that lost its trial cannot overwrite what its successor keeps,
and no bucket need be listed. Without a store nothing is done: machines share the folder then.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial

from tuneoff.search.errors import StudyError
from tuneoff.search.store import attempts
from tuneoff.search.store.artifacts import Tick
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.study import Search, Study
from tuneoff.trainer.contract import Scores, Split, Trainer

CHECKPOINT = "checkpoint"  # the newest one, whatever its trainer calls it


def fetch(
    study: Study, search: Search, trial: FrozenTrial, before: Attempt | None, tick: Tick
) -> None:
    """Bring the newest whole checkpoint of the attempts so far into the trial's folder.

    Args:
        before: the latest of them.

    Raises:
        ArtifactOutage, ArtifactError, CheckpointError: see ``Artifacts.get``.
    """
    if study.artifacts is None or before is None:
        return
    folder = study.checkpoints(search, trial)
    keys = [_key(study, search, trial, number, CHECKPOINT) for number in range(before.number + 1)]
    while keys:
        if study.artifacts.get(keys.pop(), folder, tick):
            # Should what we shall keep be damaged, this one is there to fall back on.
            study.artifacts.remove(keys)
            return


def keep_checkpoint(
    study: Study, search: Search, trial: FrozenTrial, attempt: Attempt, trainer: Trainer, tick: Tick
) -> None:
    """Store the trial's newest checkpoint as this attempt's (errors as ``keep``)."""
    if study.artifacts is None:
        return
    newest = trainer.newest(study.checkpoints(search, trial))
    if newest is not None:
        keep(study, search, trial, attempt, newest, tick, CHECKPOINT)


def keep(
    study: Study,
    search: Search,
    trial: FrozenTrial,
    attempt: Attempt,
    path: Path,
    tick: Tick,
    file: str | None = None,
) -> None:
    """Store a file as this attempt's ``file``, by default under its own name.

    Raises:
        LeaseLost: the trial belongs to another worker by now.
        ArtifactOutage, ArtifactError, CheckpointError: the file is in the folder alone.
    """
    if study.artifacts is None:
        return
    study.database.patiently(lambda: attempts.touch(study.database, attempt))
    key = _key(study, search, trial, attempt.number, file or path.name)
    study.artifacts.put(key, path, tick)


def bring(study: Study, search: Search, trial: FrozenTrial, *files: str) -> Path:
    """The folder of a finished promoted trial, with these of its files, where they are to be had.

    Raises:
        ArtifactOutage, ArtifactError, CheckpointError: see ``Artifacts.get``.
    """
    folder = study.checkpoints(search, trial)
    if study.artifacts is not None:
        rows = attempts.read(study.database, [search.name], {trial.number})
        last = max((row.number for row in rows), default=0)
        for file in files:
            study.artifacts.get(_key(study, search, trial, last, file), folder)
    return folder


def discard(study: Study, search: Search, trial: FrozenTrial, last: int) -> None:
    """Free the space of a search trial that nobody goes on with; what cannot be deleted stays.

    Args:
        last: the number of its latest attempt.
    """
    study.discard_checkpoints(search, trial)
    if study.artifacts is not None:
        numbers = range(last + 1)
        study.artifacts.remove(_key(study, search, trial, n, CHECKPOINT) for n in numbers)


def _key(study: Study, search: Search, trial: FrozenTrial, number: int, file: str) -> str:
    folder = study.checkpoints(search, trial).relative_to(study.work)
    return (folder / str(number) / file).as_posix()


def read_scores(study: Study, trial: FrozenTrial, split: Split) -> Scores:
    """An ensemble member's scores, from this machine's folder or the artifact store.

    Raises:
        StudyError: they are in neither.
    """
    path = bring(study, study.ensemble, trial, f"{split}.npz") / f"{split}.npz"
    try:
        with np.load(path) as file:
            return Scores(file["logits"], file["labels"])
    except FileNotFoundError:
        raise StudyError(
            f"{path} is missing: member {trial.number} was trained elsewhere; use that --work, "
            "or a study with [workers] artifacts"
        ) from None
