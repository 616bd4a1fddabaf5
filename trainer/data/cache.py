"""The folder of all packs: each one made once, verified once, and then trusted while unchanged.

To hash a pack takes seconds for each gigabyte, too long for every worker that starts. So a pack is
verified whole when it is made or first used on a machine, and a small file beside its arrays, the
stamp, then says which files those were: their devices, inodes, sizes and times of change. As long
as they are the same, a start only looks at these. What this cannot notice is a disk that loses bits
by itself: for that, ``tuneoff data prepare`` and ``data info`` always verify whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tuneoff.files import remove_parts, write_text
from tuneoff.once import made_once
from tuneoff.trainer.data.pack import FILES, Pack, read
from tuneoff.trainer.errors import DataError

log = logging.getLogger(__name__)

Build = Callable[[Path], str]
"""Writes a pack into a folder, by a ``PackWriter``, and returns its digest."""

State = dict[str, list[int]]
"""Device, inode, size and time of change (ns) of each file of a pack."""


def load_or_build(
    cache: Path,
    key: str,
    build: Build,
    *,
    verify: bool = False,
) -> Pack:
    """The pack stored under a key, built first if it is missing or damaged.

    Of several processes that ask together, one verifies or builds and the others wait for it.

    Args:
        cache: folder of all packs; made if missing. A pack in a folder that cannot be written
            serves too, but is verified each time unless it has a stamp.
        key: names the data set and everything that changes its pixels; a valid file name.
        build: writes the pack; what it raises passes through.
        verify: whether to verify a pack whole that has not changed since it was last verified.

    Raises:
        DataError: the pack cannot be written.
    """
    folder = cache / key
    try:
        return made_once(
            lambda: None if verify else _trusted(folder),
            lambda: _verified(folder) or _built(folder, build),
            cache / f"{key}.lock",
        )
    except OSError as error:
        pack = _verified(folder)
        if pack is not None:
            return pack
        raise DataError(
            f"the decoded images cannot be kept in {cache} ({error.strerror or error}); "
            "free some space or choose another cache folder"
        ) from error


def _trusted(folder: Path) -> Pack | None:
    """The pack if its stamp says that it was verified and it has not changed since."""
    try:
        stamp = json.loads(_stamp_of(folder).read_text(encoding="utf-8"))
        if stamp["files"] != _state(folder):
            return None
        pack = read(folder, verify=False)
        return pack if pack is not None and pack.digest == stamp["digest"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # there is no stamp, or a damaged one


def _verified(folder: Path) -> Pack | None:
    """The pack if all of it is as it was written; it has a stamp then."""
    try:
        state = _state(folder)  # before the files are read, so that no later change goes unnoticed
    except OSError:
        return None
    pack = read(folder, verify=True)
    if pack is not None:
        _put_stamp(folder, pack.digest, state)
    return pack


def _built(folder: Path, build: Build) -> Pack:
    cache = folder.parent
    if folder.exists():
        log.warning("%s is damaged: decoding again", folder)
        shutil.rmtree(folder)
    # These were left by a process that was killed: nobody else makes this pack now, since this
    # process has its lock.
    for left in cache.glob(f"making-{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"making-{folder.name}-") as made:
        inner = Path(made, "pack")
        inner.mkdir()
        digest = build(inner)
        inner.rename(folder)
    state = _state(folder)
    # Not verified: the images would come back from this machine's memory and not from the disk, so
    # that reading them again would show nothing.
    pack = read(folder, verify=False)
    if pack is None or pack.digest != digest:
        raise DataError(f"{folder} is damaged right after it was written; check the disk")
    _put_stamp(folder, digest, state)
    return pack


def _stamp_of(folder: Path) -> Path:
    # One for each device number. Machines that share a folder over the network may know it under
    # different ones, and would else take turns in replacing each other's stamp.
    return folder / f"verified-{folder.stat().st_dev:x}.json"


def _state(folder: Path) -> State:
    stats = {name: (folder / name).stat() for name in FILES}
    return {name: [s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns] for name, s in stats.items()}


def _put_stamp(folder: Path, digest: str, state: State) -> None:
    # Where it cannot be written, the pack serves all the same and is verified at the next start.
    with contextlib.suppress(OSError):
        path = _stamp_of(folder)
        remove_parts(path)
        write_text(path, json.dumps({"digest": digest, "files": state}))
