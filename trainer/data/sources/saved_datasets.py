"""A folder that Hugging Face's ``datasets`` wrote with ``save_to_disk``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuneoff.messages import first_line, how_to_install
from tuneoff.trainer.data.files import identity_of_files
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources import given
from tuneoff.trainer.data.sources.base import path_of
from tuneoff.trainer.data.sources.packed import pack_given
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

_MARKS = ("dataset_dict.json", "dataset_info.json")


def load(source: DataSource, packing: Packing) -> Pack:
    """The images of such a folder, see ``base.Source``.

    One column has to hold images, and one their labels: a ``ClassLabel``, whose names are the
    classes', or numbers or words in a column named label. Its splits are those of ``given.of``.
    """
    path = path_of(source)
    if not any((path / mark).is_file() for mark in _MARKS):
        raise DataError(
            f"{path} is no folder that save_to_disk of datasets wrote, as it has no {_MARKS[1]}; "
            "check data.path"
        )
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return pack_given(
        source, identity_of_files(files), lambda: given.of(_read(path), str(path)), str(path),
        packing,
    )  # fmt: skip


def _read(path: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"datasets is not installed or cannot be imported ({first_line(error)}): "
            f"{how_to_install('datasets')}"
        ) from error
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # of several libraries, on damaged files
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {first_line(error)}); save it again"
        ) from error
