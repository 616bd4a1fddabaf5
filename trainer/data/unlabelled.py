"""Images without labels, to be predicted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuneoff.messages import printable
from tuneoff.trainer.data import decode
from tuneoff.trainer.data.files import FileTooLargeError, open_files, read_file
from tuneoff.trainer.data.formats import is_foreign, is_image
from tuneoff.trainer.data.sources.base import images_below
from tuneoff.trainer.data.sources.tiny_imagenet import find_root, inner_path
from tuneoff.trainer.errors import DataError

_DIGITS = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Images to predict.

    Attributes:
        names: file names in natural order (test_2 before test_10), as ``printable`` has them, so
            that each takes one line in whatever file they are written to.
        images: yields uint8 arrays of shape (height, width, 3), in the order of ``names``, for a
            height and a width in pixels to which the images are scaled and cropped.
    """

    names: tuple[str, ...]
    images: Callable[[int, int], Iterator[decode.Pixels]]


def unlabelled(path: Path) -> Unlabelled:
    """The images to predict at a path.

    Args:
        path: an image, a folder or zip file of images, or Tiny ImageNet (zip file or folder), of
            which only the official test images are taken.

    Raises:
        DataError: there are no images, or some of a format that cannot be decoded here, or (from
            ``images``) one cannot be decoded.
    """
    if path.is_file() and is_image(path.name):

        def one(height: int, width: int) -> Iterator[decode.Pixels]:
            yield _decode(partial(read_file, path), str(path), height, width)

        return Unlabelled((printable(path.name),), one)
    if path.is_file() and is_foreign(path.name):
        raise DataError(f"{path} cannot be decoded here; convert it to JPEG or PNG")
    files = open_files(inner_path(path))
    root = find_root(files)
    below = "" if root is None else f"{root}test/"
    names = images_below(files, below)
    foreign = [name for name in files.names if name.startswith(below) and is_foreign(name)]
    if foreign:
        raise DataError(
            f"{path} has {len(foreign)} images in formats that cannot be decoded here, such as "
            f"{foreign[0]}; convert them to JPEG or PNG, or remove them"
        )
    if not names:
        raise DataError(f"{path} has no images to predict; give a folder that has some")
    names.sort(key=_natural)

    def images(height: int, width: int) -> Iterator[decode.Pixels]:
        for name in names:
            yield _decode(partial(files.read, name), f"{files.where}: {name}", height, width)

    return Unlabelled(tuple(map(printable, names)), images)


def _decode(read: Callable[[], bytes], name: str, height: int, width: int) -> decode.Pixels:
    try:
        with decode.quiet():
            return decode.decode(read(), (height, width))
    except (decode.CannotDecodeError, FileTooLargeError) as error:
        raise DataError(f"{name} cannot be decoded ({error}); fix or remove it") from error


def _natural(name: str) -> list[tuple[int, str]]:
    # A number is compared by its length without leading zeros, and then by its digits.
    parts = [(part, part.lstrip("0")) for part in re.split(r"([0-9]+)", name)]
    return [(len(n), n) if p[:1] in _DIGITS else (-1, p) for p, n in parts]
