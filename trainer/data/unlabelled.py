"""Images without labels, to be predicted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.files import open_files
from tuneoff.trainer.data.sources.base import images_below, is_image
from tuneoff.trainer.data.sources.tiny_imagenet import find_root, inner_path
from tuneoff.trainer.errors import DataError


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Images to predict.

    Attributes:
        names: file names, in natural order (test_2 before test_10).
        images: yields uint8 arrays of shape (height, width, 3), in the order of ``names``.
    """

    names: tuple[str, ...]
    images: Callable[[], Iterator[decode.Pixels]]


def unlabelled(path: Path) -> Unlabelled:
    """The images to predict at a path.

    Args:
        path: an image, a folder or zip file of images, or Tiny ImageNet (zip file or folder), of
            which only the official test images are taken.

    Raises:
        DataError: there are no images, or (from ``images``) one cannot be decoded.
    """
    if path.is_file() and is_image(path.name):
        return Unlabelled((path.name,), lambda: iter([_decode(path.read_bytes(), path)]))
    files = open_files(inner_path(path))
    root = find_root(files)
    names = images_below(files, "" if root is None else f"{root}test/")
    if not names:
        raise DataError(f"{path} has no images to predict; give a folder that has some")
    names.sort(key=_natural)

    def images() -> Iterator[decode.Pixels]:
        for name in names:
            yield _decode(files.read(name), f"{files.where}: {name}")

    return Unlabelled(tuple(names), images)


def _decode(encoded: bytes, name: object) -> decode.Pixels:
    try:
        with decode.quiet():
            return decode.decode(encoded)
    except decode.CannotDecodeError as error:
        raise DataError(f"{name} cannot be decoded ({error}); fix or remove it") from error


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"([0-9]+)", name)]
