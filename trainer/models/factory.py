"""Models built as a recipe asks: the network, its weights, and a head for the classes at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import weights
from tuneoff.trainer.models.registry import HEADS, MODELS
from tuneoff.trainer.recipe import Recipe


def build(recipe: Recipe, classes: int, seed: int, titles: Sequence[str] = ()) -> nn.Module:
    """The recipe's model on the CPU, its weights loaded and its head made for ``classes``.

    Args:
        recipe: gives ``model``, ``weights``, ``head`` and ``memory_efficient``.
        classes: number of outputs.
        seed: of whatever is initialised at random: all of it, or only a new head.
        titles: the classes in words, in label order; for ``head = "imagenet"``.

    Returns:
        A module that maps float (batch, 3, height, width) to (batch, classes).

    Raises:
        ModelError: the weights are missing, damaged or do not fit.
    """
    # torch and torchvision initialise from the global generator, whose state must not change.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.weights == "none":
            return skeleton(recipe, classes)
        state = weights.read(recipe)
        model = skeleton(recipe, weights.outputs(recipe, state))
        weights.require_fit(recipe, model, state)
        model.load_state_dict(state, strict=False)
        HEADS.load(recipe.head)(model, recipe, classes, titles)
        return model


def check(recipe: Recipe, height: int, width: int, titles: Sequence[str] = ()) -> None:
    """Make sure that ``build`` will work, fetching ImageNet weights if need be, that the model
    takes images of this size, and that it has the layers that the recipe names.

    Cheap: shapes are compared, and an image is passed through, on a model without memory.

    Raises:
        ModelError: the weights are missing, damaged or do not fit, the images are too small, or
            there is no such layer.
    """
    classes = max(2, len(titles))
    with torch.device("meta"):
        if recipe.weights == "none":
            model = skeleton(recipe, classes)
        else:
            state = weights.read(recipe)
            model = skeleton(recipe, weights.outputs(recipe, state))
            weights.require_fit(recipe, model, state)
            HEADS.load(recipe.head)(model, recipe, classes, titles)
        _require_layers(recipe, model)
        if MODELS.entry(recipe.model).takes_any_size:
            return
        side = recipe.start_size
        try:
            model(torch.empty(2, 3, side or height, side or width))
        except RuntimeError as error:
            raise ModelError(
                f"{recipe.model} cannot take images of {side or width} x {side or height} pixels; "
                f"set {'start_size' if side else 'image_size'} = 32 or more"
            ) from error


def trains_in_bf16(model: str, height: int, width: int, device: torch.device) -> bool:
    """Whether a model's gradients are right in bf16 on images of this size in pixels.

    They are not on the CPU where a strided 3 x 3 convolution meets a 1 x 1 feature map: oneDNN
    leaves parts of its weights' gradient uninitialised (seen with torch 2.15, oneDNN 3.13). The
    last stage of a ResNet is such a convolution on images of up to 16 pixels.
    """
    return device.type != "cpu" or min(height, width) > MODELS.entry(model).cpu_bf16_above


def skeleton(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's model with ``classes`` outputs, initialised at random on torch's default
    device; ``recipe.weights`` is not looked at."""
    # Loaded here and not above: importing torchvision takes seconds, and the proxies do without.
    make = MODELS.load(recipe.model)
    if not recipe.memory_efficient:
        return cast(nn.Module, make(num_classes=classes))
    made = cast(nn.Module, make(num_classes=classes, memory_efficient=True))
    _halve_updates(made, MODELS.entry(recipe.model).recomputed_norms)
    return made


def _halve_updates(model: nn.Module, ending: str) -> None:
    """Make up for batch normalisations that update their statistics twice in each step, because
    the backward pass computes them again: two updates with 1 - sqrt(1 - momentum) are one with
    momentum."""
    for name, module in model.named_modules():
        if name.endswith(ending) and isinstance(module, nn.BatchNorm2d):
            module.momentum = 1 - math.sqrt(1 - (module.momentum or 0.0))


def _require_layers(recipe: Recipe, model: nn.Module) -> None:
    names = [name for name, _ in model.named_parameters()]
    for prefix in recipe.layer_decay:
        if not any(starts_with(name, prefix) for name in names):
            layers = ", ".join(name for name, _ in model.named_children())
            raise ModelError(
                f"layer_decay: {recipe.model} has no layer {prefix!r}; it has: {layers}"
            )


def starts_with(name: str, prefix: str) -> bool:
    """Whether a dotted name lies at or below another: "layer1.0.conv1" below "layer1"."""
    return f"{name}.".startswith(f"{prefix}.")
