"""Decoded images in one array on disk, made once however many processes start together."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from tuneoff.trainer.errors import DataError

log = logging.getLogger(__name__)

FORMAT = 2

# Bytes of images written and hashed at once: for each image alone, this thread and those that
# decode would spend their time on waiting for each other.
_PIECE = 2**20


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
        digest: SHA-256 of all of these, hexadecimal.
        hashes: uint64 array of shape (images,): ``pixel_hash`` of each image.
        titles: names of the classes for people, in label order: "goldfish, Carassius auratus";
            ``classes`` where the data set has no others.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test: NDArray[np.bool_]
    classes: tuple[str, ...]
    digest: str
    hashes: NDArray[np.uint64]
    titles: tuple[str, ...]


def pixel_hash(image: NDArray[np.uint8]) -> int:
    """64 bits of the SHA-256 of an image's pixels.

    The chance that any two different images of 100,000 have the same is 3e-10.
    """
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(image).data).digest()[:8], "little")


class PackWriter:
    """Writes a pack image by image; the first image fixes the size of all."""

    def __init__(self, folder: Path, classes: tuple[str, ...], titles: tuple[str, ...]) -> None:
        self._folder = folder
        self._classes = classes
        self._titles = titles
        self._size: tuple[int, int] | None = None
        self._labels: list[int] = []
        self._test: list[bool] = []
        self._hashes: list[int] = []
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._file: BinaryIO = (folder / "images.npy").open("wb")

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
        """Appends one image, uint8 of shape (height, width, 3), and its ``pixel_hash``."""
        if self._size is None:
            self._size = (image.shape[0], image.shape[1])
            self._write_header()
        if image.shape != (*self._size, 3):
            raise ValueError(f"image of shape {image.shape} in a pack of {self._size}")
        self._waiting += np.ascontiguousarray(image).data
        if len(self._waiting) >= _PIECE:
            self._flush()
        self._labels.append(label)
        self._test.append(test)
        self._hashes.append(pixel_hash(image) if hashed is None else hashed)

    def finish(self) -> str:
        """Completes the files; the pack can be loaded afterwards. Returns its digest."""
        self._flush()
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)
        self._file.flush()
        labels = np.array(self._labels, dtype=np.int64)
        test = np.array(self._test, dtype=np.bool_)
        hashes = np.array(self._hashes, dtype=np.uint64)
        np.save(self._folder / "labels.npy", labels)
        np.save(self._folder / "test.npy", test)
        np.save(self._folder / "hashes.npy", hashes)
        digest = _finish_digest(self._hash, self._shape, labels, test, self._classes)
        about = {
            "format": FORMAT,
            "classes": self._classes,
            "titles": self._titles,
            "digest": digest,
            "rest": _digest_of_rest(hashes, self._titles),
        }
        (self._folder / "pack.json").write_text(json.dumps(about), encoding="utf-8")
        return digest

    def _flush(self) -> None:
        # write() and not a memory map: a full disk is then an OSError and not a SIGBUS.
        self._file.write(self._waiting)
        self._hash.update(self._waiting)
        self._waiting.clear()

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        height, width = self._size or (0, 0)
        return len(self._labels), height, width, 3

    def _write_header(self) -> None:
        # NumPy pads the header so that the first axis can grow: the length stays the same.
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        )


def load_or_build(
    cache: Path,
    key: str,
    classes: tuple[str, ...],
    build: Callable[[PackWriter], None],
    titles: tuple[str, ...] | None = None,
) -> Pack:
    """The pack stored under a key, built first if it is missing or damaged.

    Of several processes that ask together, one builds and the others wait for it.

    Args:
        cache: folder of all packs; made if missing.
        key: names the source and everything that changes its pixels; a valid file name.
        classes: names of the classes, in label order.
        build: adds every image to the writer; what it raises passes through.
        titles: names of the classes for people; ``classes`` unless given.

    Raises:
        DataError: the pack cannot be written.
    """
    folder = cache / key
    try:
        cache.mkdir(parents=True, exist_ok=True)
        pack = _load(folder)
        if pack is None:
            with FileLock(cache / f"{key}.lock"):
                pack = _load(folder)  # made while we waited?
                if pack is None:
                    digest = _build(cache, folder, classes, titles or classes, build)
                    pack = _load(folder, digest)
    except OSError as error:
        raise DataError(
            f"the decoded images cannot be kept in {cache} ({error.strerror or error}); "
            "free some space or choose another cache folder"
        ) from error
    if pack is None:
        raise DataError(f"{folder} is damaged right after it was written; check the disk")
    return pack


def _build(
    cache: Path,
    folder: Path,
    classes: tuple[str, ...],
    titles: tuple[str, ...],
    build: Callable[[PackWriter], None],
) -> str:
    if folder.exists():
        log.warning("%s is damaged: decoding again", folder)
        shutil.rmtree(folder)
    # Left by a process that was killed; nobody else is making this pack, for we hold its lock.
    for left in cache.glob(f"making-{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"making-{folder.name}-") as made:
        inner = Path(made, "pack")
        inner.mkdir()
        with PackWriter(inner, classes, titles) as writer:
            build(writer)
            digest = writer.finish()
        inner.rename(folder)
    return digest


def _load(folder: Path, written: str | None = None) -> Pack | None:
    """The pack in a folder; None if there is none or it is damaged.

    Args:
        written: the digest, if this process has just written the images: they would come back
            from its own memory and not from the disk, so reading them again shows nothing.
    """
    if not folder.exists():
        return None
    try:
        about = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="c")
        labels = np.load(folder / "labels.npy")
        test = np.load(folder / "test.npy")
        hashes = np.load(folder / "hashes.npy")
        classes, titles = tuple(about["classes"]), tuple(about["titles"])
        found = written
        if found is None:
            digest = hashlib.sha256()
            for start in range(0, len(images), 4096):
                digest.update(images[start : start + 4096].data)
            found = _finish_digest(digest, images.shape, labels, test, classes)
        if found != about["digest"] or _digest_of_rest(hashes, titles) != about["rest"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return Pack(images, labels, test, classes, found, hashes, titles)


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
    # Apart from the digest above, which names the images wherever a study was created.
    digest = hashlib.sha256(hashes.tobytes())
    digest.update(json.dumps(list(titles)).encode())
    return digest.hexdigest()
