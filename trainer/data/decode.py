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

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")

LARGEST_IMAGE = 64_000_000
"""Pixels. Larger images are refused: a small file can decode to more than memory holds."""

Pixels = NDArray[np.uint8]


class CannotDecodeError(Exception):
    """The bytes are not an image that can be used; the message says why."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Pillow's warning of large images, whose limit ``LARGEST_IMAGE`` replaces.

    Enter it around the threads that decode and not in them: filters of warnings are shared by all
    threads of the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode(encoded: bytes) -> Pixels:
    """The pixels of an encoded image; grey images become RGB. EXIF orientation is not applied.

    Threads may decode at the same time: both decoders release the global interpreter lock.

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
            if height * width <= LARGEST_IMAGE:
                pixels: Pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB")
                return pixels
        except ValueError:
            pass
    return _decode_with_pillow(encoded)


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
    old_height, old_width = pixels.shape[:2]
    scale = max(height / old_height, width / old_width)
    cut_height, cut_width = height / scale, width / scale
    top, left = (old_height - cut_height) / 2, (old_width - cut_width) / 2
    fitted = Image.fromarray(pixels).resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=(left, top, left + cut_width, top + cut_height),
    )
    return np.asarray(fitted)


def _open(encoded: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError as error:
        raise CannotDecodeError("not an image, or a damaged one") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CannotDecodeError(first_line(error)) from error
    if image.width * image.height > LARGEST_IMAGE:
        raise CannotDecodeError(f"{image.width} x {image.height} pixels are too many")
    return image


def _decode_with_pillow(encoded: bytes) -> Pixels:
    with _open(encoded) as image:
        if image.mode.startswith(("I", "F")):
            raise CannotDecodeError("it has more than 8 bits a channel; convert it to 8 bits")
        try:
            # Pillow warns if a palette with transparent entries is converted without this detour.
            if image.mode == "P" and "transparency" in image.info:
                return np.asarray(image.convert("RGBA").convert("RGB"))
            return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise CannotDecodeError(first_line(error)) from error


def decoder_name() -> str:
    """The name of the library that decodes JPEG files here."""
    return "Pillow" if simplejpeg is None else "simplejpeg"
