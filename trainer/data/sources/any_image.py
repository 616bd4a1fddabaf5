"""One image in any of the forms in which Python code has it, to 8-bit RGB pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.decode import CannotDecodeError, Pixels

_CHANNELS = (1, 3, 4)


def rgb(image: Any) -> Pixels:
    """The pixels of an image; grey ones become RGB, and an alpha channel is left out.

    Args:
        image: a PIL image, a NumPy array or a torch tensor: (height, width), or with 1, 3 or 4
            channels, which stand last or first. Whole numbers from 0 to 255, or fractions from 0
            to 1.

    Returns:
        uint8 array of shape (height, width, 3).

    Raises:
        CannotDecodeError: it is something else.
    """
    if isinstance(image, Image.Image):
        return decode.rgb(image)
    array = as_array(image)
    if array is None:
        raise CannotDecodeError(
            f"it is of type {type(image).__name__}, and no PIL image, array or tensor"
        )
    return of_array(array, channels_first=is_tensor(image))


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor. Torch itself is not needed for that."""
    return hasattr(value, "detach") and hasattr(value, "numpy")


def as_array(value: Any) -> NDArray[Any] | None:
    """A NumPy array or torch tensor as an array; None for anything else."""
    if isinstance(value, np.ndarray):
        return value
    if is_tensor(value):
        on_cpu = value.detach().cpu()
        try:
            found: NDArray[Any] = on_cpu.numpy()
        except TypeError:  # bfloat16, which NumPy does not know
            found = on_cpu.float().numpy()
        return found
    return None


def of_array(array: NDArray[Any], channels_first: bool) -> Pixels:
    """As ``rgb``, for an array.

    Args:
        array: the image.
        channels_first: where both its first and its last axis could be that of the channels.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    first, last = (array.ndim == 3 and array.shape[axis] in _CHANNELS for axis in (0, 2))
    if not (first or last) or 0 in array.shape:
        raise CannotDecodeError(
            f"its shape is {array.shape}, and not (height, width), (height, width, 3) or "
            "(3, height, width)"
        )
    if first and (channels_first or not last):
        array = array.transpose(1, 2, 0)
    array = _of_8_bits(array)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def _of_8_bits(array: NDArray[Any]) -> Pixels:
    if array.dtype == np.uint8:
        return array
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            raise CannotDecodeError("it has values that are NaN or infinite")
        if low < 0 or high > 1:
            raise CannotDecodeError(
                f"it has fractions from {low:.3g} to {high:.3g}; give 0 to 1 without "
                "normalisation, which the model's trainer does, or uint8"
            )
        rounded: Pixels = np.rint(array * 255).astype(np.uint8)
        return rounded
    if array.dtype.kind not in "iu":
        raise CannotDecodeError(f"its values are of type {array.dtype}; give uint8")
    if low < 0 or high > 255:
        raise CannotDecodeError(f"it has values from {low} to {high}; give 0 to 255")
    return array.astype(np.uint8)
