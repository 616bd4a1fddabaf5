"""One encoded image to RGB pixels, which are the same whichever decoder is installed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tuneoff.messages import first_line
from tuneoff.trainer.data.formats import FORMATS
from tuneoff.trainer.data.room import Room

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

LARGEST_IMAGE = 64_000_000
"""Pixels. Larger images are refused: a small file can decode to more than memory holds."""

LARGE_IMAGE = 2**20
"""Pixels. Larger images wait for room to be decoded in, and JPEG files among them that are to be
scaled are scaled in part while they are decoded, as their format allows."""

DECODED_AT_ONCE = 2 * LARGEST_IMAGE
"""Pixels of large images that all threads of a process decode at the same time; Pillow takes four
bytes for each, and as many again where it has to convert them to RGB."""

Pixels = NDArray[np.uint8]


class CannotDecodeError(Exception):
    """The bytes are not an image that can be used; the message says why."""


_room = Room(DECODED_AT_ONCE)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Pillow's warnings: of large images, whose limit ``LARGEST_IMAGE`` replaces, and of
    odd metadata, which nobody reads here.

    Enter it around the threads that decode and not in them: filters of warnings are shared by all
    threads of the process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def decode(encoded: bytes, size: tuple[int, int] | None = None) -> Pixels:
    """The pixels of an encoded image; grey images become RGB. EXIF orientation is not applied, and
    of several frames or pages it is the first.

    Threads may decode at the same time: both decoders release the global interpreter lock.

    Args:
        encoded: the bytes of its file.
        size: (height, width) to which it is scaled and cut, as ``fit`` does it; None for its own.

    Returns:
        uint8 array of shape (height, width, 3).

    Raises:
        CannotDecodeError: the bytes are damaged, too large or of an unknown kind.
    """
    if simplejpeg is not None and encoded[:2] == b"\xff\xd8":
        # Pillow decides about images that simplejpeg refuses, so that the same images are accepted
        # with and without simplejpeg.
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
            if height * width <= LARGE_IMAGE:
                pixels: Pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB")
                return pixels if size is None else fit(pixels, *size)
        except ValueError:
            pass
    return _decode_with_pillow(encoded, size)


def size(encoded: bytes) -> tuple[int, int]:
    """(height, width), read from the image's header alone (CannotDecodeError as ``decode``)."""
    with _open(encoded) as image:
        return image.height, image.width


def fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """The image scaled until it just covers (height, width), and its middle cut out.

    Args:
        pixels: uint8 array of shape (any height, any width, 3).
        height: pixels.
        width: pixels.

    Returns:
        uint8 array of shape (height, width, 3).
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(_fit(Image.fromarray(pixels), height, width))


def rgb(image: Image.Image) -> Pixels:
    """The pixels of an image that Pillow has opened (CannotDecodeError as ``decode``)."""
    _refuse_more_bits(image)
    return _pixels(image, None)


def decoder_name() -> str:
    """The name of the library that decodes JPEG files here."""
    return "Pillow" if simplejpeg is None else "simplejpeg"


def _fit(
    image: Image.Image, height: int, width: int, content: tuple[float, float] | None = None
) -> Image.Image:
    """As ``fit``; ``content`` is the (width, height) of the image where not all of it counts."""
    whole_width, whole_height = content or image.size
    if (whole_width, whole_height) == (width, height):
        return image
    scale = max(height / whole_height, width / whole_width)
    cut_height, cut_width = height / scale, width / scale
    top, left = (whole_height - cut_height) / 2, (whole_width - cut_width) / 2
    return image.resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=(left, top, left + cut_width, top + cut_height),
    )


def _open(encoded: bytes) -> Image.Image:
    # Only these formats: Pillow would start Ghostscript for PostScript, whatever the file's name.
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise CannotDecodeError("not an image, or a damaged one") from error
    except Image.DecompressionBombError as error:
        raise CannotDecodeError(f"more than {_LIMIT}") from error
    except Exception as error:  # Pillow's readers fail in a dozen ways on damaged files
        raise CannotDecodeError(first_line(error)) from error
    if image.width * image.height > LARGEST_IMAGE:
        raise CannotDecodeError(f"{image.width} x {image.height} pixels, more than {_LIMIT}")
    return image


def _decode_with_pillow(encoded: bytes, size: tuple[int, int] | None) -> Pixels:
    with _open(encoded) as image:
        _refuse_more_bits(image)
        count = image.width * image.height
        if count <= LARGE_IMAGE:
            return _pixels(image, size)
        with _room.taken(count):
            content = None
            if size is not None:
                # By a half, a quarter or an eighth, and to twice the size at least, so that the
                # result hardly differs. Formats other than JPEG ignore this. Sides are rounded up.
                drafted = image.draft(None, (2 * size[1], 2 * size[0]))
                content = drafted and drafted[1][2:]
            return _pixels(image, size, content)


def _refuse_more_bits(image: Image.Image) -> None:
    if image.mode.startswith(("I", "F")):
        raise CannotDecodeError("it has more than 8 bits a channel; convert it to 8 bits")


def _pixels(
    image: Image.Image, size: tuple[int, int] | None, content: tuple[float, float] | None = None
) -> Pixels:
    try:
        # Pillow warns if a palette with transparent entries is converted without this detour.
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        if image.mode != "RGB":
            image = image.convert("RGB")
        return np.asarray(image if size is None else _fit(image, *size, content))
    except Exception as error:  # as in _open
        raise CannotDecodeError(first_line(error)) from error


_LIMIT = f"{LARGEST_IMAGE // 10**6} million, the limit"
