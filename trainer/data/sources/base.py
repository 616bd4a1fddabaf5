"""What a data set's file is made of: a function that is a ``Source``.

Most data sets are files. Their function calls ``pack_files`` with another one, which lists the
files with their labels and is called only if the cache does not have the decoded images yet.
``registry`` holds the functions by name, with what else is known of each data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tuneoff.messages import printable
from tuneoff.trainer.data import cache, decode, pack
from tuneoff.trainer.data.files import Files, identity
from tuneoff.trainer.data.formats import decodable, is_image
from tuneoff.trainer.data.pack import Pack, PackWriter
from tuneoff.trainer.data.packing import Packing, decoded, first_size, one_size
from tuneoff.trainer.data.registry import DATASETS
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

READING = 2
"""Number of the rules by which files are chosen and decoded. Whoever changes them raises it, so
that packs that were made by other rules are made again."""

Source = Callable[[DataSource, Packing], Pack]
"""Returns the decoded images of a data set, from the cache if they are there.

``DataSource.validation``, ``split_seed`` and ``duplicates`` do not matter to it: it only says which
images are for the test. It raises DataError, with one line that says what is wrong, where, and what
to do, if the data set is missing, damaged or not what it says it is.
"""

TEST_SHARE = 0.2
"""Share of the images that become the test split where a data set has none."""
TEST_SEED = 0
"""Seed of that choice: the same for every study, so that their test errors can be compared."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of a data set, not yet decoded.

    Attributes:
        name: of its file, within the data set's ``Files``.
        label: number of its class.
        test: whether it belongs to the test split.
    """

    name: str
    label: int
    test: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """Every image of a data set.

    Attributes:
        files: hold the images.
        classes: names of the classes, in the order of the labels.
        images: in the order in which they are stored.
        titles: names of the classes for people, likewise; None if there are no others.
        notes: which files are not used, and why; a line each.
    """

    files: Files
    classes: tuple[str, ...]
    images: tuple[Listed, ...]
    titles: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def pack_files(
    source: DataSource,
    path: Path,
    list_images: Callable[[Path], Listing],
    packing: Packing,
    known: str | None = None,
) -> Pack:
    """The decoded images of a folder or zip file, from the cache if they are there.

    To list the 100,000 members of a zip file takes seconds, so that is not done if they are.

    Args:
        source: gives the data set's name, ``image_size`` and ``corrupt``.
        path: the folder or zip file.
        list_images: opens and lists it; what it raises passes through.
        packing: where decoded images are kept, and how they are decoded.
        known: changes whenever the images do; ``files.identity`` unless given.

    Raises:
        DataError: an image is missing or damaged, or has another size than the others have.
    """
    scaled = DATASETS.entry(source.name).scaled
    # Everything that decides which pixels are stored. How they are split later is not among it.
    parts = (
        *(pack.FORMAT, READING, decodable(), source.name),
        *(known or identity(path), source.corrupt),
        source.image_size if scaled else None,
    )
    key = f"{source.name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"

    return cache.load_or_build(
        packing.cache,
        key,
        lambda folder: _write(folder, source, list_images(path), packing, scaled),
        verify=packing.verify,
    )


def _write(
    folder: Path, source: DataSource, listing: Listing, packing: Packing, scaled: bool
) -> str:
    """Decodes the images of a listing into a pack in a folder; returns the pack's digest."""
    files, names = listing.files, [image.name for image in listing.images]
    with (
        PackWriter(folder, listing.classes, listing.titles) as writer,
        decode.quiet(),
        ThreadPoolExecutor(packing.threads) as pool,
    ):
        if scaled:
            size = one_size(files, names, source.image_size, pool, packing.threads)
        else:
            size = first_size(files, names)
        unreadable: list[tuple[str, str]] = []
        found = decoded(files, names, size, scaled, source.corrupt, packing, pool)
        for image, one in zip(listing.images, found, strict=True):
            if isinstance(one, str):
                unreadable.append((image.name, one))
            else:
                writer.add(one[0], image.label, image.test, hashed=one[1])
        return writer.finish((*_left_out(unreadable, len(names)), *listing.notes))


def _left_out(unreadable: Sequence[tuple[str, str]], images: int) -> Iterator[str]:
    """The note about images that cannot be decoded."""
    if unreadable:
        name, why = unreadable[0]
        yield printable(
            f"{len(unreadable)} of {images} images cannot be decoded and are left out; the first "
            f"is {name} ({why})"
        )


def path_of(source: DataSource) -> Path:
    """The data set's zip file or folder."""
    return Path(source.path or "").expanduser()


def images_below(files: Files, root: str) -> list[str]:
    """The names of the images whose names begin with ``root``, sorted."""
    return [name for name in files.names if name.startswith(root) and is_image(name)]


def text_of(files: Files, name: str) -> str:
    """A file as text (DataError if it cannot be read or is not UTF-8)."""
    try:
        return files.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{files.where}: {name} is not text; fetch it again") from error
