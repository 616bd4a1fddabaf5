"""SqueezeNet 1.1 as its authors published it, in the form in which the package ndf carries it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.registry import NORMALISATIONS

# What the authors subtracted from pixels of 0 to 255, in the order red, green, blue. They gave
# their network blue first.
_CAFFE_MEAN = (123.68, 116.779, 103.939)

# torchvision's numbers of the layers that Caffe calls fire2 to fire9; pooling lies between.
_FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
_PARTS = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}


def read(path: Path) -> dict[str, Tensor]:
    """The weights as float32 tensors, with the names and the inputs of torchvision's model.

    The file is a pickle of a dict: for each layer [kernel, bias], arrays of shapes (height, width,
    inputs, outputs) and (outputs,). The first convolution wants pixels of 0 to 255, blue first,
    less a mean; it is changed to take red first, normalised by ImageNet's mean and deviation. That
    is exact, as the first convolution has no padding.

    Raises:
        ModelError: the file cannot be read, is something else or holds more than arrays.
    """
    try:
        with path.open("rb") as file:
            layers = _Arrays(file).load()
        state = {}
        for layer, (kernel, bias) in layers.items():
            name = _name(layer)
            state[f"{name}.weight"] = np.asarray(kernel, np.float64).transpose(3, 2, 0, 1)
            state[f"{name}.bias"] = np.asarray(bias, np.float64)
        _take_normalised(state)
    except OSError as error:
        raise ModelError(f"weights file {path} cannot be read ({error.strerror})") from error
    except Exception as error:  # an unpickler fails in a dozen ways on foreign files
        raise ModelError(f"{path} is not the SqueezeNet of the package ndf") from error
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()}


def _take_normalised(state: dict[str, NDArray[np.float64]]) -> None:
    known = NORMALISATIONS.entry("imagenet")
    deviations, means = np.array(known.std), np.array(known.mean)
    kernel = state["features.0.weight"][:, ::-1]  # now red comes first
    state["features.0.weight"] = kernel * (255 * deviations)[:, None, None]
    state["features.0.bias"] += kernel.sum((2, 3)) @ (255 * means - np.array(_CAFFE_MEAN))


def _name(layer: str) -> str:
    outer = {"conv1": "features.0", "conv10": "classifier.1"}
    if layer in outer:
        return outer[layer]
    fire, part = layer.split("/")
    return f"features.{_FIRES[int(fire.removeprefix('fire'))]}.{_PARTS[part]}"


class _Arrays(pickle.Unpickler):
    """Reads arrays and plain values, and runs no other code: "numpy.core" is where NumPy 1 had what
    is now "numpy._core"."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
