"""A model's tensors out of a file that somebody saved, in whichever of the usual ways."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuneoff.trainer.errors import ModelError

# Keys under which training scripts keep the model beside its optimiser: first its own weights, then
# their moving average.
_OWN = ("state_dict", "model_state_dict", "model", "module", "net")
_AVERAGED = ("state_dict_ema", "model_ema", "ema")
_DEPTH = 3  # dicts within dicts

# What wrappers put before the names of all tensors: DistributedDataParallel and AveragedModel,
# FullyShardedDataParallel, and modules of Lightning.
_PREFIXES = ("module.", "_fsdp_wrapped_module.", "model.", "net.")
_COMPILED = re.compile(r"(^|\.)_orig_mod\.")  # torch.compile, of the model or of a part of it
_COUNTER = "n_averaged"  # AveragedModel's own

_HOW = "save one with torch.save(model.state_dict())"


@dataclass(frozen=True, slots=True, eq=False)
class StateFile:
    """A model's state dict from a file.

    Attributes:
        state: the tensors, on the CPU, by their names in the model itself.
        note: which of several models in the file this is; "" if there is one.
    """

    state: Mapping[str, Tensor]
    note: str = ""


def read_state(path: Path) -> StateFile:
    """The state dict in a file, by itself or in a training script's checkpoint.

    Raises:
        ModelError: there is none, it cannot be read, it is damaged, or it has values that are not
            finite.
    """
    found, note = _unwrapped(_load(path), path)
    state = _unprefixed(found)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise ModelError(
                f"{path}: {name} has values that are not finite, as after a training that "
                "diverged; take an earlier checkpoint"
            )
    return StateFile(state, note)


def _load(path: Path) -> Any:
    try:
        # Scripts keep their command line beside the model, and a Namespace runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except OSError as error:
        raise ModelError(f"weights file {path} cannot be read ({error.strerror})") from error
    except Exception as error:  # torch's unpickler fails in a dozen ways on foreign files
        if isinstance(error, pickle.UnpicklingError) and "Unsupported global" in str(error):
            raise ModelError(
                f"{path} holds Python objects besides tensors, which could run code and are not "
                f"loaded; {_HOW}"
            ) from error
        raise ModelError(f"{path} is damaged or not a state dict; {_HOW}") from error


def _unwrapped(found: Any, path: Path) -> tuple[Mapping[str, Tensor], str]:
    """The state dict in what was saved, and which of several it is."""
    for _ in range(_DEPTH):
        if _is_state(found):
            return found, ""
        if not isinstance(found, Mapping):
            break
        keys = [key for key in (*_OWN, *_AVERAGED) if isinstance(found.get(key), Mapping)]
        if not keys:
            break
        if len(keys) > 1 and _is_state(found[keys[0]]):
            return found[keys[0]], f"{path} holds {', '.join(keys)}; {keys[0]} is loaded"
        found = found[keys[0]]
    raise ModelError(f"{path} is not a state dict, nor has it one among its keys; {_HOW}")


def _is_state(found: Any) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    )


def _unprefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what wrappers of the model put before their names."""
    named = {_COMPILED.sub(r"\1", name): tensor for name, tensor in state.items()}
    while True:
        names = [name for name in named if name != _COUNTER]
        prefix = next((p for p in _PREFIXES if all(n.startswith(p) for n in names)), None)
        if not names or prefix is None:
            return named
        named = {name.removeprefix(prefix): named[name] for name in names}


def _is_finite(tensor: Tensor) -> bool:
    # Numbers of 8 bits have no isfinite of their own.
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(wide).all())
