"""Files that are whole or not there: written aside, synced and renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once the block has ended without an error.

    Until then it stands beside it under another name. When the block has ended the new file
    survives a power cut; whoever reads ``path`` meanwhile sees the old file or the new one, whole.

    Raises:
        OSError: it cannot be written; what stood at ``path`` still does.
    """
    aside = _beside(path)
    try:
        with aside.open("wb") as file:
            yield file
        put_in_place(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def put_in_place(aside: Path, path: Path) -> None:
    """Give a file that is finished and closed the name ``path``; both survive a power cut then.

    Args:
        aside: may be a folder, whose files survive a power cut already; ``path`` is free then.

    Raises:
        OSError: it cannot be done; what stood at ``path`` still does.
    """
    if aside.is_dir():
        _sync_folder(aside)
    else:
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
    aside.replace(path)
    _sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless they are there; all survive a power cut then.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text in UTF-8 (OSError as ``replacing``)."""
    with replacing(path) as file:
        file.write(text.encode())


def write_texts(texts: Mapping[Path, str]) -> None:
    """Replace several files by these texts in UTF-8, by their paths.

    All are written before the first is put in place, so that a disk that is full leaves all of them
    as they were.

    Raises:
        OSError: one cannot be written.
    """
    asides = {path: _beside(path) for path in texts}
    try:
        for path, text in texts.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            with asides[path].open("wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        for path, aside in asides.items():
            put_in_place(aside, path)
    finally:
        for aside in asides.values():
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def remove_parts(path: Path) -> None:
    """Remove what writers of ``path`` that were killed have left beside it."""
    with contextlib.suppress(OSError):
        for part in path.parent.glob(f".{path.name}.*.part"):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # Without this the file's new name may not outlive a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network shares cannot do it
            raise
    finally:
        os.close(descriptor)
