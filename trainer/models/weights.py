"""Weights to start from: torchvision's published ones, fetched and verified, or a file."""

from __future__ import annotations

import hashlib
import re
import urllib.error
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tuneoff.once import made_once
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models.registry import IMAGENET_WEIGHTS, MODELS, pretrained
from tuneoff.trainer.recipe import Recipe

# DenseNet's published weights carry names from before torch 0.4 ("denselayer1.norm.1.weight").
_OLD_DENSENET_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def read(recipe: Recipe) -> Mapping[str, Tensor]:
    """The state dict that ``recipe.weights`` names, which is not "none"; on the CPU.

    Raises:
        ModelError: there is none, it cannot be fetched or read, or it is damaged.
    """
    if recipe.weights not in IMAGENET_WEIGHTS:
        return _read_state(Path(recipe.weights).expanduser())
    if recipe.weights not in MODELS.entry(recipe.model).imagenet:
        instead = '"imagenet"' if recipe.model in pretrained() else '"none"'
        raise ModelError(
            f"there are no weights {recipe.weights!r} for model {recipe.model!r}; set weights = "
            f"{instead} or use one of: {', '.join(pretrained(recipe.weights))}"
        )
    return _read_state(_imagenet_file(imagenet_url(recipe.model, recipe.weights)))


def outputs(recipe: Recipe, state: Mapping[str, Tensor]) -> int:
    """How many classes the head in a state dict has (ModelError if it has no head)."""
    name = f"{MODELS.entry(recipe.model).head}.weight"
    if name not in state or state[name].ndim != 2:
        raise ModelError(
            f"{recipe.weights} has no matrix {name}, the head of {recipe.model}; use weights of "
            "this model"
        )
    return len(state[name])


def require_fit(recipe: Recipe, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """ModelError if a state dict has other tensors than the model, or tensors of other shapes."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        # Weights from before torch 0.4.1 have no such counters, and nothing depends on them.
        if name.endswith("num_batches_tracked"):
            continue
        if name not in state:
            raise ModelError(
                f"{recipe.weights} has no tensor {name}, which {recipe.model} needs; use weights "
                "of this model"
            )
        if state[name].shape != tensor.shape:
            raise ModelError(
                f"{recipe.weights}: {name} has shape {tuple(state[name].shape)}, but in "
                f"{recipe.model} it has {tuple(tensor.shape)}; use weights of this model"
            )
    for name in state:
        if name not in wanted:
            raise ModelError(
                f"{recipe.weights} has a tensor {name}, but {recipe.model} has none of that name; "
                "use weights of this model"
            )


def imagenet_url(model: str, weights: str = "imagenet") -> str:
    """Where torchvision publishes a model's ImageNet weights."""
    from torchvision.models import get_weight

    return str(get_weight(MODELS.entry(model).imagenet[weights]).url)


def imagenet_problem(model: str) -> str:
    """Why a model's V1 weights cannot be used without a download; "" if they can."""
    path = _imagenet_path(imagenet_url(model))
    if not path.exists():
        return f"not at {path}; fetched when first needed"
    try:
        _imagenet_file(imagenet_url(model))
    except ModelError as error:
        return str(error)
    return ""


def _read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except OSError as error:
        raise ModelError(f"weights file {path} cannot be read ({error.strerror})") from error
    except Exception as error:  # torch's unpickler fails in a dozen ways on foreign files
        raise ModelError(
            f"{path} is damaged or not a state dict; save one with torch.save(model.state_dict())"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ModelError(
            f"{path} is not a state dict; save one with torch.save(model.state_dict())"
        )
    return OrderedDict((_OLD_DENSENET_NAME.sub(r"\1\2", name), t) for name, t in state.items())


def _imagenet_file(url: str) -> Path:
    """The weights' file in torch's cache (TORCH_HOME), fetched if missing, its hash checked."""
    path = _imagenet_path(url)
    prefix = path.stem.rsplit("-", 1)[-1]
    try:
        made_once(
            lambda: path if path.exists() else None,
            lambda: _fetch(url, path, prefix),
            lock=Path(f"{path}.lock"),
        )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"{url} cannot be fetched ({reason}); fetch it elsewhere and put it at {path}"
        ) from error
    # torch.hub trusts whatever lies in its cache.
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(prefix):
        raise ModelError(
            f"{path} is damaged or another file: its SHA-256 starts with {found[: len(prefix)]}, "
            f"not {prefix}; remove it and start again"
        )
    return path


def _imagenet_path(url: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])


def _fetch(url: str, path: Path, prefix: str) -> Path:
    torch.hub.download_url_to_file(url, str(path), prefix, progress=False)
    return path
