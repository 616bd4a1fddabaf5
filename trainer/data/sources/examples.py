"""The images of one split with their labels, in arrays or in a map-style data set of pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneoff.messages import first_line
from tuneoff.trainer.data.decode import CannotDecodeError, Pixels
from tuneoff.trainer.data.pack import pixel_hash
from tuneoff.trainer.data.sources import any_image
from tuneoff.trainer.data.sources.labels import Label, plain
from tuneoff.trainer.errors import DataError

IMAGES = ("image", "img", "images", "pixel_values")
LABELS = ("label", "labels", "target")
"""What the columns of images and labels are called, the usual name first."""

LOOKED_AT = 1000
"""Images of each split of a map-style data set that are looked at when a process starts, to see
whether the data are still those that were packed."""

_AT_ONCE = 2**26  # bytes that are hashed at once


class Broken(Exception):
    """An image or its label cannot be used; the message says why."""


class Split(Protocol):
    """The images of one split with their labels.

    Attributes:
        length: how many there were at first; ``len`` asks anew.
    """

    length: int

    def __len__(self) -> int: ...

    def read(self, number: int) -> tuple[Pixels, Label]:
        """The pixels, uint8 (height, width, 3), and the label of one image (Broken)."""

    def seen(self) -> Mapping[int, str]:
        """What was seen of some images by ``identity``, by their numbers."""

    def identity(self) -> str:
        """A string that changes when the images or labels do; see ``Pairs`` and ``Arrays``."""


class Arrays:
    """Images in one array; all of it counts for ``identity``."""

    def __init__(self, images: NDArray[Any], labels: Any, said: str, channels_first: bool) -> None:
        """
        Args:
            images: shape (images, height, width), or with an axis of channels at the end or after
                the first.
            labels: shape (images,), an array or a list.
            said: the split, as messages call it.
            channels_first: see ``any_image.of_array``.

        Raises:
            DataError: the shapes are others, or do not go together.
        """
        if images.ndim not in (3, 4):
            raise DataError(
                f"{said} images have shape {images.shape}; give (images, height, width) or "
                "(images, height, width, 3)"
            )
        try:
            found = any_image.as_array(labels)
            found = np.asarray(labels) if found is None else found
        except ValueError:  # lists of several lengths in it
            raise DataError(f"{said} labels differ in shape; give one for each image") from None
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim != 1 or len(found) != len(images):
            raise DataError(
                f"{said} labels have shape {found.shape}, and its images {images.shape}; give one "
                f"label for each image, as shape ({len(images)},)"
            )
        self._images, self._labels, self._first = images, found, channels_first
        self.length = len(images)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, number: int) -> tuple[Pixels, Label]:
        return _both(lambda: any_image.of_array(self._images[number], self._first),
                     self._labels[number])  # fmt: skip

    def seen(self) -> Mapping[int, str]:
        return {}

    def identity(self) -> str:
        digest = hashlib.sha256()
        for array in (self._images, self._labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            step = max(1, _AT_ONCE // max(1, array[:1].nbytes))
            for start in range(0, len(array), step):
                part = array[start : start + step]
                digest.update(repr(part.tolist()).encode() if part.dtype.hasobject
                              else np.ascontiguousarray(part).tobytes())  # fmt: skip
        return digest.hexdigest()


class Pairs:
    """A map-style data set, whose items are pairs of an image and a label, or tables that name
    them. Its length and up to ``LOOKED_AT`` images, spread evenly, count for ``identity``."""

    def __init__(self, items: Any, columns: tuple[str, str] | None = None) -> None:
        """
        Args:
            items: has a length, and an item for each number below it.
            columns: where items are tables, the names of image and label; found by their usual
                names unless given.
        """
        self._items, self._columns = items, columns
        self.length = len(items)
        self._seen: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._items)

    def read(self, number: int) -> tuple[Pixels, Label]:
        try:
            image, label = self._pair(self._items[number])
        except Broken:
            raise
        except Exception as error:  # a user's own code may raise anything
            raise Broken(f"{type(error).__name__}: {first_line(error)}") from error
        return _both(lambda: any_image.rgb(image), label)

    def seen(self) -> Mapping[int, str]:
        return self._seen

    def identity(self) -> str:
        count = self.length
        digest = hashlib.sha256(str(count).encode())
        for number in sorted({n * (count - 1) // max(1, LOOKED_AT - 1) for n in range(LOOKED_AT)}
                             if count > LOOKED_AT else range(count)):  # fmt: skip
            try:
                self._seen[number] = look(*self.read(number))
            except Broken as error:
                self._seen[number] = f"broken: {type(error).__name__}"
            digest.update(self._seen[number].encode())
        return digest.hexdigest()

    def _pair(self, item: Any) -> tuple[Any, Any]:
        if isinstance(item, Mapping):
            image, label = self._columns or _usual(item)
            return item[image], item[label]
        if isinstance(item, tuple | list) and len(item) == 2:
            return item[0], item[1]
        raise Broken(
            f"an item is of type {type(item).__name__}, and not a pair (image, label); let "
            "__getitem__ return both"
        )


def look(pixels: Pixels, label: Label) -> str:
    """What ``Split.seen`` keeps of an image."""
    return f"{pixels.shape}{pixel_hash(pixels):x}{label!r}"


def _both(image: Any, label: Any) -> tuple[Pixels, Label]:
    try:
        return image(), plain(label)
    except (CannotDecodeError, ValueError) as error:
        raise Broken(str(error)) from error


def _usual(item: Mapping[Any, Any]) -> tuple[str, str]:
    found = [next((name for name in names if name in item), None) for names in (IMAGES, LABELS)]
    if found[0] is None or found[1] is None:
        raise Broken(f"it has {', '.join(map(str, item))}; name the two columns image and label")
    return found[0], found[1]
