"""A data set in a NumPy file: ``train_images``, ``train_labels``, and ``test_`` alike if it has."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuneoff.messages import first_line
from tuneoff.trainer.data.files import identity
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources import given
from tuneoff.trainer.data.sources.base import path_of
from tuneoff.trainer.data.sources.packed import pack_given
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource


def load(source: DataSource, packing: Packing) -> Pack:
    """The images of an .npz file, see ``base.Source``; its keys are those of ``given.of``."""
    path = path_of(source)
    return pack_given(
        source, identity(path), lambda: given.of(_read(path), str(path)), str(path), packing
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        # Opened here, since numpy leaves a file open that it cannot read.
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise DataError(f"{path} has one array without labels; write it with numpy.savez")
            with found:
                return {name: found[name] for name in found.files}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or first_line(error)})") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path} has arrays of Python objects, which are not read, as that would run code; "
                "write arrays of numbers or of words"
            ) from error
        raise DataError(
            f"{path} is damaged or no .npz file ({first_line(error)}); write it again with "
            "numpy.savez"
        ) from error
