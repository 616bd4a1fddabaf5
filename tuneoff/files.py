"""Files that are whole or not there: written aside, synced and renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
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
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
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

    Raises:
        OSError: it cannot be done; what stood at ``path`` still does.
    """
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(path)
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text in UTF-8 (OSError as ``replacing``)."""
    with replacing(path) as file:
        file.write(text.encode())


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
    finally:
        os.close(descriptor)
