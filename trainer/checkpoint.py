"""Checkpoints that are either whole or not there: written aside, synced, renamed, with a digest.

File format: one header line, ``tuneoff-checkpoint 1 SHA256\\n``, then the bytes of ``torch.save``
to which that SHA-256 belongs. Names sort by progress: epochs completed, then batches of the next.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from tuneoff.trainer.errors import CheckpointError

log = logging.getLogger(__name__)

_MAGIC = b"tuneoff-checkpoint 1 "
_HEADER_LENGTH = len(_MAGIC) + 64 + 1
_KEPT = 2
# Ours alone, so that a stray file can neither be loaded nor removed.
_NAMES = "[0-9]*-[0-9]*.ckpt"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that a run needs to go on; plain values and tensors only.

    Attributes:
        run: what was trained (recipe, params, seed, digest of the data). A checkpoint serves
            only a run that agrees in all of it.
        about: what prediction needs to know: class names, stored image size.
        model: the model's state dict.
        average: its moving average's state dict, which is what is evaluated; None without.
        optimizer: the optimiser's state dict.
        schedule: the schedule's state.
        accumulation: parts into which each batch is divided.
        epoch: epochs completed.
        batch: batches done of the epoch after these.
        loss_sum: of that epoch, cross entropy summed over its images so far, nats.
        images_seen: of that epoch.
        seconds: spent in that epoch so far.
        records: one plain EpochRecord for each epoch completed.
    """

    run: Mapping[str, Any]
    about: Mapping[str, Any]
    model: Mapping[str, Any]
    average: Mapping[str, Any] | None
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    accumulation: int
    epoch: int
    batch: int
    loss_sum: float
    images_seen: int
    seconds: float
    records: list[dict[str, Any]]


class _UnusableError(Exception):
    """Why a file does not serve."""


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint; when this returns it survives a power cut. Keeps the two newest.

    Raises:
        CheckpointError: it could not be written; those already there are untouched.
    """
    path = folder / f"{checkpoint.epoch:06d}-{checkpoint.batch:08d}.ckpt"
    temporary = path.with_suffix(".tmp")
    buffer = io.BytesIO()
    torch.save({f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}, buffer)
    body = buffer.getbuffer()
    header = _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(header)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(_cannot_write(folder, error)) from error
    _tidy(folder, path)
    return path


def newest(folder: Path) -> Path | None:
    """The newest checkpoint's file, as its name says; None if there is none."""
    return max(folder.glob(_NAMES), default=None)


def load_newest(folder: Path, run: Mapping[str, Any]) -> Checkpoint | None:
    """The newest checkpoint that is whole and of this run; None if there is none.

    One that is damaged, or belongs to another run, is passed over with a warning.

    Args:
        folder: where the run keeps its checkpoints; may be missing.
        run: what must agree; a subset of ``Checkpoint.run``'s keys will do.
    """
    paths = sorted(folder.glob(_NAMES), reverse=True)
    for path, before in zip(paths, [*paths[1:], None], strict=False):
        try:
            found = _read(path)
            for name, value in run.items():
                if found.run.get(name) != value:
                    raise _UnusableError(f"it is of a run with another {name}")
        except _UnusableError as error:
            instead = f"the previous one, {before.name}, is used" if before else "there is no other"
            log.warning("checkpoint %s is left out (%s): %s", path, error, instead)
            continue
        return found
    return None


def _read(path: Path) -> Checkpoint:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _UnusableError(f"it cannot be read: {error.strerror}") from error
    header, body = content[:_HEADER_LENGTH], memoryview(content)[_HEADER_LENGTH:]
    if not header.startswith(_MAGIC):
        raise _UnusableError("it is not a checkpoint of ours")
    if header[len(_MAGIC) : -1] != hashlib.sha256(body).hexdigest().encode():
        raise _UnusableError("it is damaged: its digest does not fit")
    try:
        return Checkpoint(**torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, TypeError, ValueError, EOFError) as error:
        raise _UnusableError("another version wrote it") from error


def _sync_folder(folder: Path) -> None:
    # Without this the file's new name may not outlive a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tidy(folder: Path, written: Path) -> None:
    """Removes older checkpoints; failing at that is no reason to stop a run."""
    with contextlib.suppress(OSError):
        for path in folder.glob("*.tmp"):
            path.unlink(missing_ok=True)
        names = sorted(folder.glob(_NAMES), reverse=True)
        # Ahead of us can only be what load_newest passed over: keep it for a look, out of the way.
        for path in names[: names.index(written)]:
            path.replace(path.with_suffix(".unused"))
        for path in names[names.index(written) + _KEPT :]:
            path.unlink(missing_ok=True)


def _cannot_write(folder: Path, error: OSError) -> str:
    names = sorted(path.name for path in folder.glob(_NAMES))
    done = int(names[-1].split("-")[0]) if names else 0
    onward = f"start again: the run goes on from epoch {done + 1}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space for a checkpoint in {folder}; free some and {onward}"
    return f"a checkpoint cannot be written to {folder} ({error.strerror}); fix that and {onward}"
