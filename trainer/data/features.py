"""Outputs of a model's frozen stages for all images, as a memory-mapped array on disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuneoff.files import write_text
from tuneoff.trainer.data import batches
from tuneoff.trainer.data.batches import Epoch
from tuneoff.trainer.data.stamped import Kind

FORMAT = 1

_ARRAY, _ABOUT = "features.npy", "features.json"
# Of the disk's free space they take no more than this: runs need some for checkpoints.
_SHARE = 0.5
_AT_ONCE = 2**24  # bytes that are read and hashed at once

# NumPy has no bfloat16: its bits are kept as whole numbers.
_STORED: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype("<f4"),
    torch.bfloat16: np.dtype("<i2"),
}
_TYPES = {str(kind): kind for kind in _STORED}


@dataclass(frozen=True, slots=True)
class Rows:
    """Which images have features, and where.

    The training images come first, then their mirror images if there are any, then the validation
    images.

    Attributes:
        train: indices of the training images into the data set, shape (images,).
        validation: of the validation images, likewise.
        mirrored: whether the training images are there mirrored, too.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    mirrored: bool

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.train) * (1 + self.mirrored) + len(self.validation)

    def parts(self) -> Iterator[tuple[NDArray[np.int64], bool]]:
        """The images of all rows in order: indices, and whether these are mirrored."""
        yield self.train, False
        if self.mirrored:
            yield self.train, True
        yield self.validation, False


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The outputs of frozen stages, one row for each image; channels last where they have pixels.

    Attributes:
        values: shape (rows, height, width, channels) or (rows, values), float32 or bfloat16; on
            the device that trains, or in main memory or on disk.
        digest: SHA-256 of the values, hexadecimal.
        seconds: what it took to compute them.
    """

    values: Tensor
    digest: str
    seconds: float

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.values.nbytes

    def on(self, device: torch.device, room: int) -> Features:
        """The same in a GPU's memory, unless it needs more than ``room`` bytes of it; on the CPU
        the memory map itself is used."""
        if device.type == "cpu" or self.nbytes > room:
            return self
        return replace(self, values=self.values.to(device))

    def gather(self, rows: NDArray[np.int64], device: torch.device) -> Tensor:
        """The features in some rows on the device, as the stage after them takes them.

        Returns:
            Shape (rows, channels, height, width), channels_last, or (rows, values).
        """
        index = torch.from_numpy(rows).to(self.values.device, non_blocking=True)
        found = self.values.index_select(0, index).to(device, non_blocking=True)
        return found.permute(0, 3, 1, 2) if found.ndim == 4 else found


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Features with the images to which they belong: what takes the place of images in training.

    Attributes:
        features: the rows.
        rows: which images they are of.
        labels: of all images of the data set, int64, on the device that trains.
        place: the first row of each image of the data set, -1 without; shape (images,).
    """

    features: Features
    rows: Rows
    labels: Tensor
    place: NDArray[np.int64]

    @classmethod
    def of(cls, features: Features, rows: Rows, labels: Tensor) -> Stored:
        """Features whose rows are in the order of ``rows``."""
        place = np.full(len(labels), -1, dtype=np.int64)
        place[rows.train] = np.arange(len(rows.train))
        place[rows.validation] = np.arange(rows.count - len(rows.validation), rows.count)
        return cls(features, rows, labels, place)

    def blank(self, batch_size: int) -> Tensor:
        """A full batch of zeros, in the shape and memory format of ``training_batches``."""
        rows = np.zeros(batch_size, dtype=np.int64)
        return torch.zeros_like(self.features.gather(rows, self.labels.device))

    def gather(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Features and labels of images as they are, as ``batches.gather`` takes and returns
        images."""
        device = self.labels.device
        index = torch.from_numpy(chosen).to(device, non_blocking=True)
        return self.features.gather(self.place[chosen], device), self.labels[index]

    def training_batches(
        self, epoch: Epoch, batch_size: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches, in the order of ``batches.training_batches``."""
        rows, chosen = self.place[epoch.order], epoch.order
        if epoch.flips is not None:
            rows = rows + epoch.flips * len(self.rows.train)
        images_in_all, device = len(chosen), self.labels.device
        for number in range(start, batches.count(images_in_all, batch_size)):
            part = np.arange(number * batch_size, min((number + 1) * batch_size, images_in_all))
            if epoch.flips is not None:
                flips = epoch.flips[part]
                part = np.concatenate([part[flips], part[~flips]])
            index = torch.from_numpy(chosen[part]).to(device, non_blocking=True)
            yield self.features.gather(rows[part], device), self.labels[index]


def write(folder: Path, rows: int, outputs: Iterator[Tensor], seconds: Callable[[], float]) -> str:
    """Writes features, which then outlive a power cut, and returns their digest.

    Args:
        folder: where the files go; it exists.
        rows: how many there will be in all.
        outputs: a model's outputs for the next rows, float32 or bfloat16, of shape (some,
            channels, height, width) or (some, values), on any device.
        seconds: what it took, asked at the end.

    Raises:
        OSError: they cannot be written, or would take too much of what is free on the disk.
    """
    digest = hashlib.sha256()
    dtype, shape = torch.float32, list[int]()
    # Written, not memory-mapped: where the disk is full, a map kills the process by SIGBUS.
    with (folder / _ARRAY).open("wb") as file:
        for number, output in enumerate(outputs):
            values = output.permute(0, 2, 3, 1) if output.ndim == 4 else output
            if number == 0:
                dtype, shape = values.dtype, list(values.shape[1:])
                _require_room(folder, rows * values[0].nbytes)
                np.lib.format.write_array_header_1_0(
                    file,
                    {
                        "descr": _STORED[dtype].str,
                        "fortran_order": False,
                        "shape": (rows, *shape),
                    },
                )
            bits = values.contiguous().cpu()
            bits = bits.view(torch.int16) if dtype == torch.bfloat16 else bits
            data = bits.numpy().data
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    about = {
        "format": FORMAT,
        "type": str(dtype),
        "shape": [rows, *shape],
        "digest": digest.hexdigest(),
        "seconds": seconds(),
    }
    write_text(folder / _ABOUT, json.dumps(about))
    return digest.hexdigest()


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > _SHARE * free:
        raise OSError(
            errno.ENOSPC,
            f"they take {needed / 1e9:.2g} GB, more than half of the {free / 1e9:.2g} GB free",
        )


def read(folder: Path, verify: bool) -> Features | None:
    """The features in a folder; None if there are none, or if the files are damaged.

    Args:
        folder: as ``write`` left it.
        verify: whether they are read whole and compared with their digest. Without it, only damage
            that keeps the files from being opened is noticed.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        array = np.load(folder / _ARRAY, mmap_mode="c")
        dtype = _TYPES[about["type"]]
        if about["format"] != FORMAT or array.dtype != _STORED[dtype]:
            return None
        if list(array.shape) != about["shape"] or (verify and _digest(array) != about["digest"]):
            return None
        bits = torch.from_numpy(array)
        values = bits.view(dtype) if bits.dtype != dtype else bits
        return Features(values, str(about["digest"]), float(about["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _digest(array: NDArray[np.generic]) -> str:
    digest = hashlib.sha256()
    step = max(1, _AT_ONCE * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[start : start + step]).data)
    return digest.hexdigest()


FEATURES = Kind("the outputs of the frozen stages", "computing them again", (_ARRAY, _ABOUT), read)
