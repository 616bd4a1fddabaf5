"""Checkpoints that are either whole or not there: written aside, synced, renamed, with a digest.

File format: one header line, ``tuneoff-checkpoint 1 SHA256\\n``, then the bytes of ``torch.save``
to which that SHA-256 belongs. They are written and read as a stream: a copy of them in memory would
be two or three times as large as the model. Names sort by progress: epochs completed, then batches
of the next.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tuneoff.files import make_folder, replacing
from tuneoff.trainer.errors import CheckpointError

log = logging.getLogger(__name__)

_MAGIC = b"tuneoff-checkpoint 1 "
_HEADER_LENGTH = len(_MAGIC) + 64 + 1
_KEPT = 2
# Other files that a user keeps in the folder are neither loaded nor removed.
_NAMES = "[0-9]*-[0-9]*.ckpt"
# Files that killed writers leave behind: those of ``replacing``, and *.tmp of version 0.1.
_LEFT_BEHIND = (f".{_NAMES}.*.part", "*.tmp")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that a run needs to go on; plain values and tensors only.

    Attributes:
        run: what was trained (recipe, params, seed, digest of the data). A checkpoint serves
            only a run that agrees in all of these.
        about: what prediction needs to know: class names and the size of stored images.
        model: the model's state dict.
        average: the state dict of its moving average, which is evaluated in its place; None if
            there is none.
        optimizer: the optimiser's state dict.
        schedule: the schedule's state.
        accumulation: parts into which each batch is divided.
        epoch: epochs completed.
        batch: batches done of the epoch after these.
        loss_sum: loss in that epoch so far, summed over its images, nats.
        images_seen: images trained on in that epoch so far.
        seconds: time spent in that epoch so far.
        records: an EpochRecord as a dict for each epoch completed.
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


# What ``torch.load`` makes of the fields.
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "run": dict,
    "about": dict,
    "model": dict,
    "average": (dict, type(None)),
    "optimizer": dict,
    "schedule": dict,
    "accumulation": int,
    "epoch": int,
    "batch": int,
    "loss_sum": float,
    "images_seen": int,
    "seconds": float,
    "records": list,
}


class _UnusableError(Exception):
    """A file cannot be used; the message says why."""


class _Hashing(io.RawIOBase):
    """A file for torch to write to, which hashes all that it passes on to another, without a copy.

    An OSError is kept until ``finish``, and nothing is written after it: torch's writer, which is
    in C++, would report an error of its own in its place.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self._error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._error is None:
            self._hash.update(data)
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def finish(self) -> str:
        """The SHA-256 of all that was written, hexadecimal (OSError if writing failed)."""
        if self._error is not None:
            raise self._error
        return self._hash.hexdigest()


class _Body(io.RawIOBase):
    """What follows the header of a checkpoint's file, as a file of its own for torch to read."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self._file = file

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = _HEADER_LENGTH if whence == os.SEEK_SET else 0
        return self._file.seek(start + offset, whence) - _HEADER_LENGTH

    def tell(self) -> int:
        return self._file.tell() - _HEADER_LENGTH

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint; when this returns it survives a power cut. Keeps the two newest.

    Raises:
        CheckpointError: it could not be written; those already there are untouched.
    """
    path = folder / f"{checkpoint.epoch:06d}-{checkpoint.batch:08d}.ckpt"
    values = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    try:
        make_folder(folder)
        with replacing(path) as file:
            file.write(bytes(_HEADER_LENGTH))  # its place: the digest is known at the end
            body = _Hashing(file)
            torch.save(values, body)  # type: ignore[arg-type]
            digest = body.finish()
            file.seek(0)
            file.write(_MAGIC + digest.encode() + b"\n")
    except OSError as error:
        raise CheckpointError(_cannot_write(folder, error)) from error
    _tidy(folder, path)
    return path


def newest(folder: Path) -> Path | None:
    """The newest checkpoint's file, as its name says; None if there is none."""
    return max(folder.glob(_NAMES), default=None)


def load_newest(folder: Path, run: Mapping[str, Any]) -> Checkpoint | None:
    """The newest checkpoint that is whole and of this run; None if there is none.

    For each one that is damaged, or belongs to another run, a warning is logged.

    Args:
        folder: where the run keeps its checkpoints; may be missing.
        run: what must agree with ``Checkpoint.run``, which may have other keys beside these.
    """
    paths = sorted(folder.glob(_NAMES), reverse=True)
    for path, before in zip(paths, [*paths[1:], None], strict=False):
        try:
            found = _read(path)
            for name, value in run.items():
                if found.run.get(name) != value:
                    raise _UnusableError(f"it belongs to a run with another {name}")
        except _UnusableError as error:
            instead = f"the previous one, {before.name}, is used" if before else "there is no other"
            log.warning("checkpoint %s is not used (%s): %s", path, error, instead)
            continue
        return found
    return None


def _read(path: Path) -> Checkpoint:
    if not path.is_file():  # a pipe or a device may be read for ever
        raise _UnusableError("it is not a file")
    try:
        with path.open("rb") as file:
            return _read_file(file)
    except OSError as error:
        raise _UnusableError(f"it cannot be read: {error.strerror}") from error


def _read_file(file: io.BufferedReader) -> Checkpoint:
    header = file.read(_HEADER_LENGTH)
    if not header.startswith(_MAGIC):
        raise _UnusableError("it is not a checkpoint file")
    if header[len(_MAGIC) : -1] != hashlib.file_digest(file, "sha256").hexdigest().encode():
        raise _UnusableError("it is damaged: its content does not agree with its digest")
    body = _Body(file)
    body.seek(0)
    try:
        values = torch.load(body, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
        found = Checkpoint(**values)
    except Exception as error:  # torch's unpickler fails in a dozen ways on foreign files
        raise _UnusableError("another version wrote it") from error
    for field in fields(Checkpoint):
        if not isinstance(getattr(found, field.name), _KINDS[field.name]):
            raise _UnusableError(f"another version wrote it: its {field.name} is something else")
    return found


def _tidy(folder: Path, written: Path) -> None:
    """Removes older checkpoints. Failing at that is no reason to stop a run."""
    with contextlib.suppress(OSError):
        for pattern in _LEFT_BEHIND:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
        names = sorted(folder.glob(_NAMES), reverse=True)
        # A newer name can only be that of a checkpoint which load_newest did not use. It is kept
        # for whoever wants to look into it, under a name that is not read again.
        for path in names[: names.index(written)]:
            path.replace(path.with_suffix(".unused"))
        for path in names[names.index(written) + _KEPT :]:
            path.unlink(missing_ok=True)


def _cannot_write(folder: Path, error: OSError) -> str:
    names = [re.match(r"\d+", path.name) for path in folder.glob(_NAMES)]
    done = max((int(name[0]) for name in names if name), default=0)
    onward = f"start again: the run goes on from epoch {done + 1}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space for a checkpoint in {folder}; free some and {onward}"
    return f"a checkpoint cannot be written to {folder} ({error.strerror}); fix that and {onward}"
