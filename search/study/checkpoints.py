"""Checkpoint transfer: a trial's files in the artifact store, for workers on other machines.

Each attempt's files have keys of their own, NAME-UID/ARM/REPEAT/TRIAL/ATTEMPT/FILE. The number of
the attempt is the ledger's: a worker that lost its trial cannot overwrite what its successor keeps,
and no bucket need be listed. Without a store nothing is done: machines share the folder then.
"""

from __future__ import annotations

import io
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tuneoff.files import make_folder, replacing
from tuneoff.search.errors import StudyError
from tuneoff.search.store.artifacts import Tick
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import Scores, Split, Trainer
from tuneoff.trainer.errors import CheckpointError

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"  # the newest one, whatever its trainer calls it
FLUSH_SECONDS = 0.2  # between looks at an upload that is waited for


def fetch(trial: TrialRef, before: Attempt | None, tick: Tick) -> None:
    """Bring the newest whole checkpoint of the attempts so far into the trial's folder.

    Args:
        before: the latest of them.

    Raises:
        ArtifactOutage, ArtifactError, CheckpointError: see ``Artifacts.get``.
    """
    artifacts = trial.study.artifacts
    if artifacts is None or before is None:
        return
    keys = [_key(trial, number, CHECKPOINT) for number in range(before.number + 1)]
    while keys:
        if artifacts.get(keys.pop(), trial.folder, tick):
            # Should the checkpoint that this attempt keeps be damaged, the one that was just
            # found is there to fall back on; older ones are not needed any more.
            artifacts.remove(keys)
            return


def keep(
    trial: TrialRef, attempt: Attempt, path: Path, tick: Tick, file: str | None = None
) -> None:
    """Store a file as this attempt's ``file``, by default under its own name.

    Raises:
        LeaseLost: the trial belongs to another worker by now.
        ArtifactOutage, ArtifactError, CheckpointError: the file is in the folder alone.
    """
    if trial.study.artifacts is not None:
        trial.study.ledger.touch(attempt)
        trial.study.artifacts.put(_key(trial, attempt.number, file or path.name), path, tick)


class Uploads:
    """Stores a trial's newest checkpoint from a thread of its own, so that training goes on.

    One checkpoint at most is on its way, and one waits; a newer one takes the place of the one
    that waits. So a worker that dies loses what it trained since the checkpoint that was newest
    when the last finished upload began. What another worker is to rely on, because the ledger says
    that the trial was paused or released, is flushed before the ledger says so.

    Without an artifact store nothing is done.
    """

    def __init__(
        self, trial: TrialRef, attempt: Attempt, trainer: Trainer, stop: Callable[[], bool]
    ) -> None:
        """
        Args:
            trainer: knows which checkpoint is the newest.
            stop: True once this worker was asked to leave; it waits for no store that is away then.
        """
        self._trial, self._attempt, self._trainer, self._stop = trial, attempt, trainer, stop
        self._news = threading.Condition()
        self._waiting = self._busy = self._closed = False
        self._signs = 0
        self._stored: Path | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Uploads:
        return self

    def __exit__(self, *_: object) -> None:
        """Give up what is not stored yet."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join()

    def put(self) -> None:
        """Have the newest checkpoint stored, and do not wait for it.

        Raises:
            what an upload before has raised, once; see ``keep``.
        """
        if self._trial.study.artifacts is None:
            return
        with self._news:
            self._raise()
            self._waiting = True
            self._news.notify_all()
        if self._thread is None:
            name = f"uploads of {self._trial}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def flush(self, tick: Tick) -> None:
        """Wait until the newest checkpoint that was put is stored.

        Args:
            tick: called meanwhile, as long as the upload gets on: a worker whose store hangs is to
                lose its trial. What it raises passes through.

        Raises:
            as ``put``.
        """
        seen = self._signs
        while not self._is_at_rest(FLUSH_SECONDS):
            if seen != self._signs:
                seen = self._signs
                tick()
        with self._news:
            self._raise()

    def _is_at_rest(self, timeout: float) -> bool:
        with self._news:
            return self._news.wait_for(lambda: not (self._waiting or self._busy), timeout)

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                self._waiting, self._busy = False, True
            try:
                self._store_newest()
            except _Abandoned:
                pass
            except BaseException as error:  # for the thread that trains
                with self._news:
                    self._error, self._waiting = error, False
            with self._news:
                self._busy = False
                self._news.notify_all()

    def _store_newest(self) -> None:
        while (path := self._trainer.newest(self._trial.folder)) not in (None, self._stored):
            assert path is not None
            try:
                keep(self._trial, self._attempt, path, self._tick, CHECKPOINT)
            except CheckpointError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    continue  # the trainer has just replaced it by a newer one
                raise
            self._stored = path
            return

    def _tick(self) -> bool:
        self._signs += 1
        if self._closed:
            raise _Abandoned
        return self._stop()


class _Abandoned(Exception):
    """Nobody needs the checkpoint that is on its way."""


def bring(trial: TrialRef, *files: str) -> Path:
    """The folder of a finished promoted trial, with these of its files, where they are to be had.

    Raises:
        ArtifactOutage, ArtifactError, CheckpointError: see ``Artifacts.get``.
    """
    artifacts = trial.study.artifacts
    if artifacts is not None:
        rows = trial.study.ledger.read([trial.search.name], {trial.number})
        last = max((row.number for row in rows), default=0)
        for file in files:
            artifacts.get(_key(trial, last, file), trial.folder)
    return trial.folder


def is_gone(trial: TrialRef) -> bool:
    """True if nothing of a finished promoted trial is in this machine's folder or the store.

    Raises:
        ArtifactOutage, ArtifactError: see ``Artifacts.has``.
    """
    if trial.folder.is_dir() and any(trial.folder.iterdir()):
        return False
    artifacts = trial.study.artifacts
    if artifacts is None:
        return True
    rows = trial.study.ledger.read([trial.search.name], {trial.number})
    last = max((row.number for row in rows), default=0)
    return not artifacts.has(_key(trial, last, CHECKPOINT))


def how_to_bring_back(trial: TrialRef) -> str:
    """What is to be done where a finished promoted trial has no model any more."""
    return (
        f"use the --work with which trial {trial} was trained, or put its folder back from a copy:"
        " what is finished is not trained again"
    )


def discard(trial: TrialRef, last: int) -> None:
    """Delete the checkpoints of a trial that nobody goes on with; what cannot be deleted stays.

    Args:
        last: the number of its latest attempt.
    """
    shutil.rmtree(trial.folder, ignore_errors=True)
    if trial.study.artifacts is not None:
        trial.study.artifacts.remove(_key(trial, n, CHECKPOINT) for n in range(last + 1))


def discard_folder(study: Study, search: Search) -> None:
    """Delete the checkpoints of all trials of a search from this machine's folder.

    Among them are those of workers that died before they could delete their own trial's.
    """
    shutil.rmtree(study.checkpoints(search), ignore_errors=True)


def write_scores(folder: Path, split: Split, scores: Scores) -> Path:
    """Keep a model's scores beside its checkpoint; their file.

    Raises:
        CheckpointError: they cannot be written.
    """
    path = folder / f"{split}.npz"
    try:
        make_folder(folder)
        with replacing(path) as file:
            np.savez(file, logits=scores.logits, labels=scores.labels)
    except OSError as error:
        raise CheckpointError(
            f"a model's scores cannot be written to {folder} ({error.strerror}); fix that and "
            "start again: nothing is lost"
        ) from error
    return path


def read_scores(trial: TrialRef, split: Split, trainer: Trainer) -> Scores:
    """An ensemble member's scores, from this machine's folder or the artifact store.

    Where they are missing or damaged in both, they are made again from the member's checkpoint.

    Raises:
        StudyError: the checkpoint is not there either, or is damaged as well.
        ArtifactOutage, ArtifactError: see ``Artifacts.get``.
        DataError: as ``Trainer.evaluate``, where they must be made again.
    """
    path = bring(trial, f"{split}.npz") / f"{split}.npz"
    sizes = trial.study.task.sizes
    scores = _stored_scores(path, sizes.get(split, 0) if sizes else None)
    if scores is not None:
        return scores
    recipe = trainer.resolve(trial.run.recipe)
    try:
        scores = trainer.evaluate(recipe, bring(trial, CHECKPOINT), split)
    except CheckpointError as error:
        raise StudyError(
            f"{path} and its checkpoint are missing or damaged; {how_to_bring_back(trial)}"
        ) from error
    log.warning("%s: was missing or damaged, and was made again from the checkpoint", path)
    try:
        write_scores(path.parent, split, scores)
    except CheckpointError as error:
        log.warning("%s", error)  # the next reader makes them again
    return scores


def _stored_scores(path: Path, images: int | None) -> Scores | None:
    """The scores in a file; None if it is missing, damaged, or of another number of images.

    Args:
        images: that there must be; None if that is not known.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:  # from a path it may stay open
            scores = Scores(file["logits"], file["labels"])
    except Exception:  # zipfile, zlib and NumPy fail in a dozen ways on damaged files
        return None
    return scores if images is None or len(scores.labels) == images else None


def _key(trial: TrialRef, number: int, file: str) -> str:
    folder = trial.folder.relative_to(trial.study.work)
    return (folder / str(number) / file).as_posix()
