"""Encoded images to pixels of one size, by several threads, in the order of the images."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.decode import Pixels
from tuneoff.trainer.data.files import LARGEST_FILE, Files, FileTooLargeError
from tuneoff.trainer.data.pack import pixel_hash
from tuneoff.trainer.data.room import Room
from tuneoff.trainer.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with the number of images decoded so far and the number of all."""

_LARGE_FILE = 4 * 2**20  # bytes; larger files wait for room to be read in
_room = Room(2 * LARGEST_FILE)  # bytes of large files that are read at the same time

LARGEST_STORED = 2**22
"""Pixels of an image that is stored at its own size."""

_PROGRESS_EVERY = 256  # images
_CHUNK = 32  # images that a thread takes at a time, or fewer if they are large
_IN_HAND = 256 * 2**20  # bytes of decoded images that wait until it is their turn
_MOST_THREADS = 8  # more of them only wait for Python's global interpreter lock


@dataclass(frozen=True, slots=True)
class Packing:
    """Where decoded images are kept, and how images are decoded that are not there yet.

    Attributes:
        cache: folder that keeps decoded images.
        progress: told how far decoding is.
        threads: number of threads that read and decode. The result does not depend on it.
        verify: whether images that are kept already are read whole and checked against their
            digest, though they have not changed since that was last done.
    """

    cache: Path
    progress: Progress | None
    threads: int
    verify: bool = False


def default_threads() -> int:
    """As many threads as this process may use CPU cores, up to 8."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


def one_size(
    files: Files,
    names: Sequence[str],
    image_size: int | None,
    pool: ThreadPoolExecutor,
    threads: int,
) -> tuple[int, int]:
    """The (height, width) in which images that may differ in size are stored.

    Images that all have the same size keep it, unless they are not square although ``image_size``
    asks for squares, or are larger than it and than ``decode.LARGE_IMAGE``. What cannot be decoded
    does not count.

    Args:
        files: holds the images.
        names: of the images.
        image_size: side in pixels to which images of different sizes are scaled.
        pool: whose threads read.
        threads: their number.

    Raises:
        DataError: ``image_size`` is None, and the sizes differ or are above ``LARGEST_STORED``; or
            nothing can be decoded.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    for size in _in_order(lambda name: _size(files, name), names, pool, threads):
        if size is not None:
            sizes[size] += 1
    if not sizes:
        raise _none_decodes(files, names)
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if image_size is None and height * width > LARGEST_STORED:
            raise DataError(
                f"{files.where} has images of {width} x {height} pixels, too many to be stored as "
                "they are; set image_size"
            )
        shrinks = image_size is not None and height * width > max(image_size**2, decode.LARGE_IMAGE)
        if image_size is None or (height == width and not shrinks):
            return height, width
    if image_size is None:
        (a, b), (c, d) = [size for size, _ in sizes.most_common(2)]
        raise DataError(
            f"{files.where} has images of different sizes, such as {b} x {a} and {d} x {c} "
            "pixels; set image_size"
        )
    return image_size, image_size


def first_size(files: Files, names: Sequence[str]) -> tuple[int, int]:
    """The (height, width) of the first image that can be decoded (DataError if none can)."""
    for name in names:
        size = _size(files, name)
        if size is not None:
            return size
    raise _none_decodes(files, names)


def decoded(
    files: Files,
    names: Sequence[str],
    size: tuple[int, int],
    scaled: bool,
    corrupt: str,
    packing: Packing,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Pixels, int] | str]:
    """The pixels of each image and their ``pixel_hash``, in the order of ``names``.

    Args:
        files: holds the images.
        names: of the images.
        size: (height, width) of what is yielded.
        scaled: whether images of other sizes are scaled and cropped to it; they are refused if not.
        corrupt: what becomes of an image that cannot be decoded: "refuse" raises DataError, "skip"
            yields the reason in its place.
        packing: gives the number of threads and what is told how far decoding is.
        pool: those threads.

    Raises:
        DataError: an image cannot be read, cannot be decoded, or has another size. Of several such
            images the first one is named, whatever the threads do.
    """

    def decode_bytes(encoded: bytes) -> Pixels:
        return decode.decode(encoded, size if scaled else None)

    def decode_one(name: str) -> tuple[Pixels, int] | str:
        try:
            pixels = _read(files, name, decode_bytes)
        except (decode.CannotDecodeError, FileTooLargeError) as error:
            if corrupt == "refuse":
                raise DataError(
                    f"{files.where}: {name} cannot be decoded ({error}); fix or remove it, "
                    'or set corrupt = "skip"'
                ) from error
            return str(error)
        if pixels.shape[:2] != size:
            raise DataError(
                f"{files.where}: {name} has {pixels.shape[1]} x {pixels.shape[0]} pixels, the "
                f"images before it {size[1]} x {size[0]}; fetch it again"
            )
        return pixels, pixel_hash(pixels)

    progress = packing.progress or (lambda done, total: None)
    waiting = 2 * packing.threads * 3 * size[0] * size[1]  # bytes, with one image in each chunk
    chunk = min(_CHUNK, max(1, _IN_HAND // waiting))
    found = _in_order(decode_one, names, pool, packing.threads, chunk)
    for done, image in enumerate(found):
        if done % _PROGRESS_EVERY == 0:
            progress(done, len(names))
        yield image
    progress(len(names), len(names))


def _read(files: Files, name: str, work: Callable[[bytes], R]) -> R:
    """What is made of the bytes of an image's file; large files wait for room to be read in."""
    size = files.size(name)
    if size <= _LARGE_FILE:
        return work(files.read(name))
    with _room.taken(size):
        return work(files.read(name))


def _size(files: Files, name: str) -> tuple[int, int] | None:
    try:
        return _read(files, name, decode.size)
    except (decode.CannotDecodeError, FileTooLargeError):
        return None  # reported or skipped when its turn to be decoded comes


def _none_decodes(files: Files, names: Sequence[str]) -> DataError:
    return DataError(
        f"{files.where}: {names[0]} is not an image, nor is any other of its {len(names)} image "
        "files; check what is in them"
    )


def _in_order(
    work: Callable[[T], R],
    items: Sequence[T],
    pool: ThreadPoolExecutor,
    threads: int,
    size: int = _CHUNK,
) -> Iterator[R]:
    """Yields ``work(item)`` for each item, in the order of the items.

    The threads are at most two chunks of ``size`` items each ahead of what was yielded, so that
    memory stays small.
    If several items raise, the error of the first of them is raised.
    """

    def chunk(start: int) -> tuple[list[R], Exception | None]:
        done: list[R] = []
        try:
            done.extend(work(item) for item in items[start : start + size])
        except Exception as error:
            return done, error
        return done, None

    starts = iter(range(0, len(items), size))
    ahead: deque[Future[tuple[list[R], Exception | None]]] = deque()
    try:
        while True:
            ahead.extend(pool.submit(chunk, s) for s in islice(starts, 2 * threads - len(ahead)))
            if not ahead:
                return
            done, error = ahead.popleft().result()
            yield from done
            if error is not None:
                raise error
    finally:
        for waiting in ahead:
            waiting.cancel()
