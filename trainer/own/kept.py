"""Checkpoints of a user's own training: the folder that its code fills, in one file, whole or not.

File format: one header line, ``tuneoff-folder 1 SHA256\\n``, then a tar file, to which that SHA-256
belongs: ``run.json`` says what was trained and has a record of each epoch, ``files/`` is the
folder. Names sort by progress: epochs completed, then how often it was kept since.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tuneoff.files import make_folder, remove_parts, replacing
from tuneoff.trainer.errors import CheckpointError

log = logging.getLogger(__name__)

_MAGIC = b"tuneoff-folder 1 "
_HEADER_LENGTH = len(_MAGIC) + 64 + 1
_KEPT = 2
_NAMES = "[0-9]*-[0-9]*.tar"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run goes on from.

    Attributes:
        records: one for each epoch completed, plain values.
        has_files: False if the user's code had nothing in its folder: it cannot go on from there.
        run: what was trained, as it was saved.
    """

    records: list[dict[str, Any]]
    has_files: bool
    run: Mapping[str, Any] = field(default_factory=dict, compare=False)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint's file, as its name says; None if there is none."""
    return max(folder.glob(_NAMES), default=None)


def save(
    folder: Path, run: Mapping[str, Any], records: Sequence[Mapping[str, Any]], files: Path
) -> Path:
    """Keep a folder as it is; when this returns that survives a power cut. Keeps the two newest.

    Args:
        folder: of the run's checkpoints.
        run: what is trained, as plain values: a checkpoint serves only a run that is equal.
        records: one for each epoch completed.
        files: the folder that the user's code fills. Nobody writes to it meanwhile. Of what is in
            it, files, folders and links within it are kept.

    Raises:
        CheckpointError: it could not be written; those already there are untouched.
    """
    before = newest(folder)
    same = before is not None and before.name.startswith(f"{len(records):06d}-")
    part = int(before.stem.partition("-")[2]) + 1 if before is not None and same else 0
    path = folder / f"{len(records):06d}-{part:08d}.tar"
    about = json.dumps({"run": run, "records": list(records)}).encode()
    try:
        make_folder(folder)
        with replacing(path) as file:
            file.write(bytes(_HEADER_LENGTH))  # its place: the digest is known at the end
            body = _Hashing(file)
            with tarfile.open(fileobj=body, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                member = tarfile.TarInfo("run.json")
                member.size = len(about)
                tar.addfile(member, io.BytesIO(about))
                if files.is_dir():
                    tar.add(files, "files", filter=lambda info: _kept(info, files))
            file.seek(0)
            file.write(_MAGIC + body.hexdigest().encode() + b"\n")
    except OSError as error:
        raise CheckpointError(
            f"a checkpoint cannot be written to {folder} ({error.strerror or error}); fix that and "
            "start again: nothing is lost"
        ) from error
    for old in sorted(folder.glob(_NAMES), reverse=True)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path, run: Mapping[str, Any], files: Path | None = None) -> Kept | None:
    """The newest checkpoint that is whole and of this run; None if there is none.

    For each one that is damaged, or belongs to another run, a warning is logged.

    Args:
        folder: where the run keeps its checkpoints; may be missing.
        run: what must be equal to what was saved, which may have other keys beside these.
        files: the folder that gets what was kept, in place of all that is in it; it is made, and
            is empty if nothing was kept. None to leave it as it is.

    Raises:
        CheckpointError: files cannot be put back in their places.
    """
    wanted = json.loads(json.dumps(run))
    found = None
    for path in sorted(folder.glob(_NAMES), reverse=True):
        remove_parts(path)
        try:
            found = _read(path, wanted, files)
            break
        except _UnusableError as error:
            log.warning("checkpoint %s is not used: %s", path, error)
        except OSError as error:
            raise CheckpointError(
                f"the files of checkpoint {path} cannot be put in {files} "
                f"({error.strerror or error}); fix that and start again: nothing is lost"
            ) from error
    if found is None and files is not None:
        shutil.rmtree(files, ignore_errors=True)
        make_folder(files)
    return found


class _UnusableError(Exception):
    """A file cannot be used; the message says why."""


class _Hashing:
    """A file for tarfile to write to, which hashes all that it passes on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.hexdigest = self._hash.hexdigest

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)


def _kept(info: tarfile.TarInfo, files: Path) -> tarfile.TarInfo | None:
    """Whether a member is kept, and as what: a link from the folder's top stays within it."""
    if info.issym() and os.path.isabs(info.linkname):  # noqa: PTH117 - it is text
        with suppress(ValueError):
            inside = Path(info.linkname).resolve().relative_to(files.resolve())
            link = Path(info.name).relative_to("files")
            info.linkname = os.path.relpath(inside, link.parent)
            return info
        log.warning("%s leads out of %s and is not kept", info.name, files)
        return None
    return info if info.isfile() or info.isdir() or info.issym() or info.islnk() else None


def _read(path: Path, run: Any, files: Path | None) -> Kept:
    """A checkpoint, its files put in place (_UnusableError, OSError)."""
    with path.open("rb") as file:
        header = file.read(_HEADER_LENGTH)
        if not header.startswith(_MAGIC) or hashlib.file_digest(file, "sha256").hexdigest() != (
            header[len(_MAGIC) : -1].decode(errors="replace")
        ):
            raise _UnusableError("it is damaged")
        file.seek(_HEADER_LENGTH)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            first = tar.next()
            about = tar.extractfile(first) if first is not None else None
            if about is None:
                raise _UnusableError("it is damaged")
            saved = json.loads(about.read())
            if any(saved["run"].get(key) != value for key, value in run.items()):
                raise _UnusableError("it belongs to another run")
            if files is None:
                return Kept(saved["records"], len(tar.getnames()) > 2, saved["run"])
            return Kept(saved["records"], _unpack(tar, files), saved["run"])


def _unpack(tar: tarfile.TarFile, files: Path) -> bool:
    """Put the rest of a tar file in place of a folder; True if there was a file in it."""
    aside = files.with_name(f".{files.name}.unpacked")
    shutil.rmtree(aside, ignore_errors=True)
    make_folder(aside)
    try:
        tar.extractall(aside, filter="data")
    except tarfile.TarError as error:
        raise _UnusableError(str(error)) from error
    shutil.rmtree(files, ignore_errors=True)
    (aside / "files").mkdir(exist_ok=True)
    (aside / "files").replace(files)
    shutil.rmtree(aside, ignore_errors=True)
    return any(files.iterdir())
