"""Models built as a recipe asks: the network, its weights, and a head for the classes at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tuneoff.messages import first_line
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.model_choice import AUTO
from tuneoff.trainer.models import making, resolve, weights
from tuneoff.trainer.models.dropout import replace_dropout
from tuneoff.trainer.models.padding import pad_same
from tuneoff.trainer.models.registry import HEADS, IMAGENET_WEIGHTS
from tuneoff.trainer.recipe import Recipe


def build(recipe: Recipe, classes: int, seed: int, titles: Sequence[str] = ()) -> nn.Module:
    """The recipe's model on the CPU, its weights loaded and its head made for ``classes``.

    Args:
        recipe: gives ``model``, ``weights``, ``head``, ``padding`` and ``memory_efficient``.
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
        recipe = weights.settle(recipe)
        state = weights.read(recipe).state
        model = skeleton(recipe, weights.outputs(recipe, state))
        weights.require_fit(recipe, model, state)
        model.load_state_dict(state, strict=False)
        HEADS.load(recipe.head)(model, recipe, classes, titles)
        return model


def check(recipe: Recipe, height: int, width: int, titles: Sequence[str] = ()) -> tuple[str, ...]:
    """Make sure that ``build`` will work, fetching ImageNet weights if need be, that the model
    takes images of this size, and that it has the layers that the recipe names.

    Cheap: shapes are compared, and an image is passed through, on a model without memory.

    Returns:
        What people should know about the weights, a line each.

    Raises:
        ModelError: the weights are missing, damaged or do not fit, the images are too small, or
            there is no such layer.
    """
    classes = max(2, len(titles))
    notes = []
    with torch.device("meta"):
        if recipe.weights == "none":
            model = skeleton(recipe, classes)
        else:
            notes.append(weights.about(recipe))
            recipe = weights.settle(recipe)
            found = weights.read(recipe)
            outputs = weights.outputs(recipe, found.state)
            model = skeleton(recipe, outputs)
            weights.require_fit(recipe, model, found.state)
            if found.note:
                notes.append(found.note)
            is_own = recipe.weights not in IMAGENET_WEIGHTS
            if is_own and outputs != classes and recipe.head == "new":
                notes.append(
                    f"{recipe.weights} has a head for {outputs} classes; a new one for {classes} "
                    "is initialised at random"
                )
            HEADS.load(recipe.head)(model, recipe, classes, titles)
        _require_layers(recipe, model)
        notes += norms_note(recipe, model)
        if resolve.entry(recipe.model).takes_any_size:
            return tuple(notes)
        side = recipe.start_size
        _require_outputs(recipe, model, side or height, side or width, classes)
    made_for = resolve.side(recipe.model)
    if made_for and made_for > max(height, width):
        notes.append(
            f"{recipe.model} was made for images of {made_for} x {made_for} pixels, and is given "
            f"{width} x {height}; with image_size = {made_for} it may do better, at a price"
        )
    return tuple(notes)


def norms_note(recipe: Recipe, model: nn.Module) -> tuple[str, ...]:
    """A line where ``frozen_norms`` is set for a model without batch normalisation."""
    if not recipe.frozen_norms or any(isinstance(m, _BatchNorm) for m in model.modules()):
        return ()
    return (f"frozen_norms = true has no effect: {recipe.model} has no batch normalisation",)


def _require_outputs(
    recipe: Recipe, model: nn.Module, height: int, width: int, classes: int
) -> None:
    """ModelError for a model that does not take such images, or returns something else than a row
    of logits for each. A reference's is looked at in training as in evaluation."""
    is_reference = not resolve.entry(recipe.model).head
    failed: Exception | None = None
    for training in (True, False) if is_reference else (True,):
        try:
            found = model.train(training)(torch.zeros(2, 3, height, width))
        except Exception as error:
            if not is_reference and not isinstance(error, RuntimeError):
                raise
            failed = error
            break
        if isinstance(found, Tensor) and tuple(found.shape) == (2, classes):
            continue
        if not isinstance(found, Tensor):
            what = f"a {type(found).__name__}; let it return the logits alone, in training too"
        else:
            what = (
                f"outputs of shape {tuple(found.shape)} for two images of {classes} classes; let "
                f"it return one row of logits for each, of shape (2, {classes})"
            )
        raise ModelError(f"{recipe.model} returns {what}")
    if failed is None:
        return None
    if is_reference and torch.get_default_device().type == "meta":
        # It may need the values of its tensors, which those without memory do not have.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            made = skeleton(recipe, classes)
            return _require_outputs(recipe, made, height, width, classes)
    option = "start_size" if recipe.start_size else "image_size"
    made_for = resolve.side(recipe.model)
    mend = f"set {option} = {made_for or '32 or more'}"
    if is_reference:
        why = f" ({type(failed).__name__}: {first_line(failed)})"
        mend = mend if made_for else "let it take float images of shape (batch, 3, height, width)"
    else:
        why = ""
    raise ModelError(
        f"{recipe.model} cannot take images of {width} x {height} pixels{why}; {mend}"
    ) from failed


def trains_in_bf16(model: str, height: int, width: int, device: torch.device) -> bool:
    """Whether a model's gradients are right in bf16 on images of this size in pixels.

    They are not on the CPU where a strided 3 x 3 convolution meets a 1 x 1 feature map: oneDNN
    leaves parts of its weights' gradient uninitialised (seen with torch 2.15, oneDNN 3.13). The
    last stage of a ResNet is such a convolution on images of up to 16 pixels.
    """
    return device.type != "cpu" or min(height, width) > resolve.entry(model).cpu_bf16_above


def skeleton(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's model with ``classes`` outputs, initialised at random on torch's default
    device; ``recipe.weights`` is not looked at."""
    entry = resolve.entry(recipe.model)
    more = {"memory_efficient": True} if recipe.memory_efficient else {}
    made = making.make(recipe.model, classes, recipe.model_options, **more)
    if recipe.memory_efficient:
        _halve_updates(made, entry.recomputed_norms)
    replace_dropout(made)
    if (entry.padding if recipe.padding == AUTO else recipe.padding) == "same":
        pad_same(made)
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
