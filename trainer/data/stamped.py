"""Folders of arrays: each one made once, verified once, and then trusted while unchanged.

To hash an array takes seconds for each gigabyte, too long for every worker that starts. So a folder
is verified whole when it is made or first used on a machine, and a small file beside its arrays,
the stamp, then says which files those were: their devices, inodes, sizes and times of change. As
long as they are the same, a start only looks at these. What this cannot notice is a disk that loses
bits by itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tuneoff.files import put_in_place, remove_parts, write_text
from tuneoff.lockfile import locked
from tuneoff.once import made_once
from tuneoff.retry import Patience
from tuneoff.trainer.errors import DataError

log = logging.getLogger(__name__)


class Digested(Protocol):
    """What a folder holds, with the SHA-256 of its content."""

    @property
    def digest(self) -> str: ...


T = TypeVar("T", bound=Digested)

Build = Callable[[Path], str]
"""Writes the files into a folder and returns their digest."""

State = dict[str, list[int]]
"""Device, inode, size and time of change (ns) of each file of a folder."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of folder.

    Attributes:
        what: is kept, for people, in words that stand before "cannot be kept in".
        again: what is done where a folder is damaged, in words: "decoding again".
        files: names of the files.
        read: what a folder holds, None if there is nothing or its files are damaged. The second
            argument says whether everything is read and compared with its digest.
    """

    what: str
    again: str
    files: tuple[str, ...]
    read: Callable[[Path, bool], T | None]


def load_or_build(
    kind: Kind[T],
    cache: Path,
    key: str,
    build: Build,
    *,
    verify: bool = False,
    patience: Patience | None = None,
) -> T:
    """What is kept under a key, built first if it is missing or damaged.

    Of several processes that ask together, one verifies or builds and the others wait for it.

    Args:
        kind: what the folder holds.
        cache: folder of all such folders; made if missing. A folder that cannot be written serves
            too, but is verified each time unless it has a stamp.
        key: names everything that the content depends on; a valid file name.
        build: writes the files; what it raises passes through.
        verify: whether to verify whole what has not changed since it was last verified.
        patience: with another process that verifies or builds; without end unless given.

    Raises:
        DataError: the files cannot be written.
        StillLocked: patience was over.
    """
    folder = cache / key
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return made_once(
            lambda: None if verify else _trusted(kind, folder),
            lambda: _verified(kind, folder) or _built(kind, folder, build),
            locked(cache / f"{key}.lock", patience or Patience(math.inf)),
        )
    except OSError as error:
        found = _verified(kind, folder)
        if found is not None:
            return found
        raise DataError(
            f"{kind.what} cannot be kept in {cache} ({error.strerror or error}); "
            "free some space or choose another cache folder"
        ) from error


def _trusted(kind: Kind[T], folder: Path) -> T | None:
    """The content if its stamp says that it was verified and it has not changed since."""
    try:
        stamp = json.loads(_stamp_of(folder).read_text(encoding="utf-8"))
        if stamp["files"] != _state(kind, folder):
            return None
        found = kind.read(folder, False)
        return found if found is not None and found.digest == stamp["digest"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # there is no stamp, or a damaged one


def _verified(kind: Kind[T], folder: Path) -> T | None:
    """The content if all of it is as it was written; it has a stamp then."""
    try:
        state = _state(kind, folder)  # before the files are read, so that no change goes unnoticed
    except OSError:
        return None
    found = kind.read(folder, True)
    if found is not None:
        _put_stamp(folder, found.digest, state)
    return found


def _built(kind: Kind[T], folder: Path, build: Build) -> T:
    cache = folder.parent
    if folder.exists():
        log.warning("%s is damaged: %s", folder, kind.again)
        shutil.rmtree(folder)
    # These were left by a process that was killed: nobody else makes this folder now, since this
    # process has its lock.
    for left in cache.glob(f"making-{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"making-{folder.name}-") as made:
        inner = Path(made, "made")
        inner.mkdir()
        digest = build(inner)
        put_in_place(inner, folder)
    state = _state(kind, folder)
    # Not verified: the arrays would come back from this machine's memory and not from the disk, so
    # that reading them again would show nothing.
    found = kind.read(folder, False)
    if found is None or found.digest != digest:
        raise DataError(f"{folder} is damaged right after it was written; check the disk")
    _put_stamp(folder, digest, state)
    return found


def _stamp_of(folder: Path) -> Path:
    # One for each device number. Machines that share a folder over the network may know it under
    # different ones, and would else take turns in replacing each other's stamp.
    return folder / f"verified-{folder.stat().st_dev:x}.json"


def _state(kind: Kind[T], folder: Path) -> State:
    stats = {name: (folder / name).stat() for name in kind.files}
    return {name: [s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns] for name, s in stats.items()}


def _put_stamp(folder: Path, digest: str, state: State) -> None:
    # Where it cannot be written, the content serves all the same and is verified at the next start.
    with contextlib.suppress(OSError):
        path = _stamp_of(folder)
        remove_parts(path)
        write_text(path, json.dumps({"digest": digest, "files": state}))
