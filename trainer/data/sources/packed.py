"""Packs a data set that is given as Python values, see ``given``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tuneoff.messages import printable
from tuneoff.trainer.data import cache, decode, pack
from tuneoff.trainer.data.decode import Pixels
from tuneoff.trainer.data.pack import Pack, PackWriter
from tuneoff.trainer.data.packing import LARGEST_STORED, Packing
from tuneoff.trainer.data.sources.base import TEST_SEED, TEST_SHARE
from tuneoff.trainer.data.sources.examples import Broken, Split, look
from tuneoff.trainer.data.sources.given import Given
from tuneoff.trainer.data.sources.labels import Label, numbered
from tuneoff.trainer.data.splits import stratified
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

READING = 1
"""Number of the rules by which values become pixels and labels; see ``base.READING``."""

_PROGRESS_EVERY = 256  # images


def identity_of(given: Given) -> str:
    """A string that changes when images or labels do, as far as ``Split.identity`` looks."""
    return repr((given.classes, [(n, split.identity()) for n, split in given.splits.items()]))


def pack_given(
    source: DataSource, identity: str, get: Callable[[], Given], said: str, packing: Packing
) -> Pack:
    """The decoded images of a data set, from the cache if they are there.

    Args:
        source: gives the data set's name, ``image_size`` and ``corrupt``.
        identity: changes whenever the data do.
        get: the data; called only if they are not in the cache.
        said: the data set, as messages call it.
        packing: where decoded images are kept.

    Raises:
        DataError: the data cannot be used.
    """
    parts = (pack.FORMAT, READING, source.name, identity, source.corrupt, source.image_size)
    name = "".join(each if each.isalnum() else "-" for each in source.name)[:40]
    key = f"{name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"

    def build(folder: Path) -> str:
        given = get()
        with decode.quiet():
            try:
                return _write(folder, given, source, said, packing, None)
            except _OtherSize:
                side = source.image_size or 0
                return _write(folder, given, source, said, packing, (side, side))

    return cache.load_or_build(packing.cache, key, build, verify=packing.verify)


class _OtherSize(Exception):
    """Images have to be scaled, as not all have the size that they are to be stored in."""


def _write(
    folder: Path,
    given: Given,
    source: DataSource,
    said: str,
    packing: Packing,
    size: tuple[int, int] | None,
) -> str:
    """Writes a pack; returns its digest.

    Args:
        size: (height, width) to which all images are scaled and cut; None if all have the size of
            the first.

    Raises:
        _OtherSize: ``size`` is None, and they have not, or ``DataSource.image_size`` asks for
            another one as it does of folders.
        DataError: the data cannot be used.
    """
    labels: list[Label] = []
    test: list[bool] = []
    left_out: list[str] = []
    done, total = 0, sum(split.length for split in given.splits.values())
    progress = packing.progress or (lambda done, total: None)
    first: Pixels | None = None
    with PackWriter(folder, ()) as writer:
        for name, split in given.splits.items():
            for number in range(split.length):
                where = f"{said}: {name} image {number}"
                if done % _PROGRESS_EVERY == 0:
                    progress(done, total)
                done += 1
                try:
                    pixels, label = _read(split, number, where)
                except Broken as error:
                    _check_length(split, f"{said}: the length of {name}")
                    if source.corrupt == "refuse":
                        raise DataError(f"{where} cannot be used: {error}") from error
                    left_out.append(f"{name} image {number} ({error})")
                    continue
                if size is None:
                    first = pixels if first is None else first
                    _check_size(pixels, first, source, where)
                writer.add(pixels if size is None else decode.fit(pixels, *size), 0, False)
                labels.append(label)
                test.append(name == "test")
            _check_length(split, f"{said}: the length of {name}")
        progress(total, total)
        if not labels:
            raise DataError(f"{said}: none of the {total} images can be used: {left_out[0]}")
        numbers, classes = numbered(labels, test, given.classes, said)
        chosen = np.array(test)
        if "test" not in given.splits:
            chosen = stratified(numbers, TEST_SHARE, "own-test", TEST_SEED)
        writer.label(numbers.tolist(), chosen.tolist(), classes)
        return writer.finish((*_noted(left_out, total), *given.notes))


def _read(split: Split, number: int, where: str) -> tuple[Pixels, Label]:
    pixels, label = split.read(number)
    before = split.seen().get(number)
    if before is not None and before != look(pixels, label):
        raise DataError(
            f"{where} is another one when it is read again; take random transforms out, as "
            "tuneoff brings its own (flip, crop_padding...)"
        )
    return pixels, label


def _check_length(split: Split, said: str) -> None:
    if len(split) != split.length:
        raise DataError(
            f"{said} changed from {split.length} to {len(split)} while it was read; it has to stay "
            "the same"
        )


def _check_size(pixels: Pixels, first: Pixels, source: DataSource, where: str) -> None:
    height, width = pixels.shape[:2]
    side = source.image_size
    if side is None:
        if pixels.shape != first.shape:
            raise DataError(
                f"{where} has {width} x {height} pixels, the first {first.shape[1]} x "
                f"{first.shape[0]}; set image_size"
            )
        if height * width > LARGEST_STORED:
            raise DataError(
                f"{where} has {width} x {height} pixels, too many to be stored as they are; set "
                "image_size"
            )
        return
    shrinks = height * width > max(side**2, decode.LARGE_IMAGE)
    if pixels.shape != first.shape or height != width or shrinks:
        raise _OtherSize


def _noted(left_out: Sequence[str], total: int) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (printable(f"{len(left_out)} of {total} images cannot be used and are left out; the "
                      f"first is {left_out[0]}"),)  # fmt: skip
