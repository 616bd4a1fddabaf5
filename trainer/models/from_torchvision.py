"""Any classification model of torchvision's, by its name there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from torch import Tensor, nn
from torchvision import models

from tuneoff.registry import nearest
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.registry import normalisation_of

# Of Inception's kind, which gives a tuple of three outputs in training unless told otherwise.
_SETTINGS: Mapping[str, Any] = {
    "aux_logits": False,
    "init_weights": True,
    # Its weights were trained on images from -1 to 1, and this makes them of ImageNet's.
    "transform_input": True,
}
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def make(name: str, classes: int, options: Mapping[str, Any]) -> nn.Module:
    """A model with ``classes`` outputs, initialised at random.

    Raises:
        ModelError: torchvision has none of that name.
    """
    build = models.get_model_builder(_known(name))
    settings = dict(_SETTINGS) if name in ("googlenet", "inception_v3") else {}
    return cast(nn.Module, build(num_classes=classes, **settings | dict(options)))


def published(name: str) -> Mapping[str, str]:
    """Its weights, by what ``Recipe.weights`` calls them, as ``torchvision.models.get_weight``
    takes them.

    "imagenet" are the first ones that were published (IMAGENET1K_V1), as for the registered models;
    where there are none of that name, torchvision's default. "imagenet-v2" are IMAGENET1K_V2.
    """
    weights = models.get_model_weights(_known(name))
    members = weights.__members__
    first = members.get("IMAGENET1K_V1") or members.get("DEFAULT")
    found = {"imagenet": first, "imagenet-v2": members.get("IMAGENET1K_V2")}
    return {key: f"{weights.__name__}.{w.name}" for key, w in found.items() if w is not None}


def normalise(name: str) -> str:
    """How its weights want images, as ``Recipe.normalise``."""
    wanted = _transforms(name)
    if not wanted:
        return "imagenet"
    return normalisation_of(tuple(wanted["mean"]), tuple(wanted["std"]))


def side(name: str) -> int:
    """The side in pixels of the images that it was trained on."""
    return int(_transforms(name).get("crop_size", 0))


@cache
def _transforms(name: str) -> Mapping[str, Any]:
    """The settings of the preprocessing that belongs to its weights "imagenet"; or none."""
    found = published(name)
    if not found:
        return {}
    transforms = models.get_weight(found["imagenet"]).transforms
    return {
        key: parameter.default
        for key, parameter in inspect.signature(transforms).parameters.items()
        if key in ("mean", "std", "crop_size")
    }


def without_auxiliary(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the auxiliary classifiers of Inception's kind, which are not built."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(_AUXILIARY)}


def _known(name: str) -> str:
    known = models.list_models(module=models)
    if name not in known:
        near = nearest(name, known)
        hint = f'did you mean "torchvision:{near}"? ' if near else ""
        raise ModelError(
            f"torchvision has no classification model {name!r}; {hint}"
            "torchvision.models.list_models() names all"
        )
    return name
