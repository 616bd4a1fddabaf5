"""One encoded image to RGB pixels, the same pixels whichever decoder is installed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")

LARGEST_IMAGE = 64_000_000

Pixels = NDArray[np.uint8]


class CannotDecodeError(Exception):
    """The bytes are not an image that can be used; the message says why."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Pillow's warning of large images, for ``LARGEST_IMAGE`` speaks for it.

    To be entered around the threads that decode and not in them: warning filters are the whole
    process's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode(encoded: bytes) -> Pixels:
    """The pixels of an encoded image; grey images become RGB. EXIF orientation is not applied.

    Threads may decode at the same time: both decoders let go of the interpreter.

    Returns:
        uint8 array of shape (height, width, 3).

    Raises:
        CannotDecodeError: the bytes are damaged, too large or of an unknown kind.
    """
    if simplejpeg is not None and encoded[:2] == b"\xff\xd8":
        # What simplejpeg refuses is judged by Pillow, so that both set-ups take the same images.
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
            if height * width <= LARGEST_IMAGE:
                pixels: Pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB")
                return pixels
        except ValueError:
            pass
    return _decode_with_pillow(encoded)


def size(encoded: bytes) -> tuple[int, int]:
    """(height, width) from the header alone (CannotDecodeError as ``decode``)."""
    with _open(encoded) as image:
        return image.height, image.width


def fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """The image scaled until it covers (height, width), and its middle cut out.

    Args:
        pixels: uint8 array of shape (any height, any width, 3).

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
        raise CannotDecodeError(_one_line(error)) from error
    if image.width * image.height > LARGEST_IMAGE:
        raise CannotDecodeError(f"{image.width} x {image.height} pixels are too many")
    return image


def _decode_with_pillow(encoded: bytes) -> Pixels:
    with _open(encoded) as image:
        if image.mode.startswith(("I", "F")):
            raise CannotDecodeError("more than 8 bits a channel; convert it to 8 bits")
        try:
            # Pillow asks for this detour where a palette has transparent entries.
            if image.mode == "P" and "transparency" in image.info:
                return np.asarray(image.convert("RGBA").convert("RGB"))
            return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise CannotDecodeError(_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def decoder_name() -> str:
    """Which decoder reads JPEG files here, for the record."""
    return "Pillow" if simplejpeg is None else "simplejpeg"
