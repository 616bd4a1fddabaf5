"""A report's folder: all of its files are replaced, or none is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tuneoff.files import make_folder, write_texts
from tuneoff.search.errors import UserError


def write_folder(out: Path, texts: Mapping[str, str]) -> None:
    """Write these files into the folder ``out``; if one cannot be written, all stay as they were.

    Args:
        out: made if it is not there.
        texts: by name.

    Raises:
        UserError: ``out`` cannot be written to.
    """
    try:
        make_folder(out)
        write_texts({out / name: text for name, text in texts.items()})
    except OSError as error:
        raise UserError(
            f"cannot write the report into {out} ({error.strerror}); choose another folder with -o"
        ) from error
