"""Decoded images with their labels, as a folder of arrays on disk. ``cache`` holds such folders."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneoff.files import replacing, write_text

FORMAT = 2

ARRAYS = ("images.npy", "labels.npy", "test.npy", "hashes.npy")
ABOUT = "pack.json"
FILES = (*ARRAYS, ABOUT)
"""The files of a pack's folder."""

# Bytes of images that are written and hashed at once. With one image at a time, the thread that
# writes and the threads that decode would mostly wait for each other.
_PIECE = 2**20
_AT_ONCE = 4096  # images that are read and hashed at once


class _Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Decoded images with their labels.

    Attributes:
        images: uint8 array of shape (images, height, width, 3), memory-mapped copy-on-write, so
            that processes on one machine share its memory.
        labels: int64 array of shape (images,).
        test: bool array of shape (images,), True for the test split.
        classes: names of the classes, in label order.
        digest: SHA-256 of all of the above, hexadecimal.
        hashes: uint64 array of shape (images,): ``pixel_hash`` of each image.
        titles: names of the classes for people, in label order: "goldfish, Carassius auratus";
            ``classes`` where the data set has no others.
        notes: what people should know about the images, a line each: which files are not used.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test: NDArray[np.bool_]
    classes: tuple[str, ...]
    digest: str
    hashes: NDArray[np.uint64]
    titles: tuple[str, ...]
    notes: tuple[str, ...] = ()


def pixel_hash(image: NDArray[np.uint8]) -> int:
    """64 bits of the SHA-256 of an image's pixels.

    The chance that any two different images of 100,000 have the same is 3e-10.
    """
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(image).data).digest()[:8], "little")


class PackWriter:
    """Writes a pack image by image; all images have the size of the first one."""

    def __init__(
        self, folder: Path, classes: tuple[str, ...], titles: tuple[str, ...] | None = None
    ) -> None:
        """
        Args:
            folder: where the files go; it exists.
            classes: names of the classes, in label order.
            titles: names of the classes for people; ``classes`` unless given.
        """
        self._folder = folder
        self._classes = classes
        self._titles = titles or classes
        self._size: tuple[int, int] | None = None
        self._labels: list[int] = []
        self._test: list[bool] = []
        self._hashes: list[int] = []
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._file: BinaryIO = (folder / ARRAYS[0]).open("wb")

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(
        self, image: NDArray[np.uint8], label: int, test: bool, hashed: int | None = None
    ) -> None:
        """Appends one image.

        Args:
            image: uint8 array of shape (height, width, 3).
            label: number of its class.
            test: whether it belongs to the test split.
            hashed: its ``pixel_hash``, computed here unless given.

        Raises:
            ValueError: the image has another size than the first one.
        """
        if self._size is None:
            self._size = (image.shape[0], image.shape[1])
            self._write_header()
        if image.shape != (*self._size, 3):
            raise ValueError(
                f"an image of shape {image.shape} does not fit into a pack of images of "
                f"{self._size} pixels"
            )
        self._waiting += np.ascontiguousarray(image).data
        if len(self._waiting) >= _PIECE:
            self._flush()
        self._labels.append(label)
        self._test.append(test)
        self._hashes.append(pixel_hash(image) if hashed is None else hashed)

    def label(self, labels: Sequence[int], test: Sequence[bool], classes: tuple[str, ...]) -> None:
        """Says of all images, which were added already, what was not known before.

        Args:
            labels: numbers of their classes.
            test: whether each belongs to the test split.
            classes: names of the classes, in label order.

        Raises:
            ValueError: they are not as many as the images.
        """
        if not len(labels) == len(test) == len(self._labels):
            raise ValueError(f"{len(labels)} labels for {len(self._labels)} images")
        self._labels, self._test = list(labels), list(test)
        self._classes = self._titles = classes

    def finish(self, notes: Sequence[str] = ()) -> str:
        """Completes the files, which then outlive a power cut, and returns the pack's digest.

        Args:
            notes: see ``Pack``.
        """
        self._flush()
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)
        self._file.flush()
        os.fsync(self._file.fileno())
        labels = np.array(self._labels, dtype=np.int64)
        test = np.array(self._test, dtype=np.bool_)
        hashes = np.array(self._hashes, dtype=np.uint64)
        for name, array in zip(ARRAYS[1:], (labels, test, hashes), strict=True):
            with replacing(self._folder / name) as file:
                np.save(file, array)
        digest = _finish_digest(self._hash, self._shape, labels, test, self._classes)
        about = {
            "format": FORMAT,
            "classes": self._classes,
            "titles": self._titles,
            "digest": digest,
            "rest": _digest_of_rest(hashes, self._titles),
            "notes": list(notes),
        }
        write_text(self._folder / ABOUT, json.dumps(about))
        return digest

    def _flush(self) -> None:
        # Written, not memory-mapped: where the disk is full, a map kills the process by SIGBUS.
        self._file.write(self._waiting)
        self._hash.update(self._waiting)
        self._waiting.clear()

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        height, width = self._size or (0, 0)
        return len(self._labels), height, width, 3

    def _write_header(self) -> None:
        # NumPy pads the header so that the first axis can grow: the final header, written over
        # this one when the number of images is known, has the same length.
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        )


def read(folder: Path, verify: bool) -> Pack | None:
    """The pack in a folder; None if there is none, or if its files are damaged.

    Args:
        folder: as a ``PackWriter`` left it.
        verify: whether the images are read, and everything is compared with the digests that were
            computed when it was written. Without it, only damage that keeps the files from being
            opened is noticed.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        images = np.load(folder / ARRAYS[0], mmap_mode="c")
        labels, test, hashes = (np.load(folder / name) for name in ARRAYS[1:])
        classes, titles = tuple(about["classes"]), tuple(about["titles"])
        notes = tuple(about.get("notes", ()))  # earlier versions wrote none
        pack = Pack(images, labels, test, classes, about["digest"], hashes, titles, notes)
        if verify and (
            _digest(pack) != pack.digest or _digest_of_rest(hashes, titles) != about["rest"]
        ):
            return None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return pack


def _digest(pack: Pack) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(pack.images), _AT_ONCE):
        digest.update(pack.images[start : start + _AT_ONCE].data)
    return _finish_digest(digest, pack.images.shape, pack.labels, pack.test, pack.classes)


def _finish_digest(
    digest: _Hash,
    shape: tuple[int, ...],
    labels: NDArray[np.int64],
    test: NDArray[np.bool_],
    classes: tuple[str, ...],
) -> str:
    digest.update(labels.tobytes())
    digest.update(test.tobytes())
    digest.update(json.dumps([list(shape), list(classes)]).encode())
    return digest.hexdigest()


def _digest_of_rest(hashes: NDArray[np.uint64], titles: tuple[str, ...]) -> str:
    # Not part of the digest above: studies keep that one to recognise their data, and it must not
    # change when a pack tells more about the same images.
    digest = hashlib.sha256(hashes.tobytes())
    digest.update(json.dumps(list(titles)).encode())
    return digest.hexdigest()
