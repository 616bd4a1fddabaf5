"""A recipe's model, weights and head: which go together; no torch import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.trainer.limits import one_of
from tuneoff.trainer.models import resolve
from tuneoff.trainer.models.registry import (
    HEADS,
    IMAGENET_WEIGHTS,
    padding_either_way,
    with_memory_efficient_form,
)
from tuneoff.trainer.registry import PADDINGS, normalisation

if TYPE_CHECKING:
    from tuneoff.trainer.recipe import Recipe

AUTO = "auto"
"""The value of options that are chosen by the weights."""


def check(recipe: Recipe) -> None:
    """ValueError, of one line, for a model, weights or a head that cannot be or do not go
    together."""
    resolve.check(recipe.model, recipe.model_options)
    HEADS.check(recipe.head)
    if recipe.normalise != AUTO:
        normalisation(recipe.normalise)
    one_of("padding", recipe.padding, (AUTO, *PADDINGS))
    if not recipe.weights:
        raise ValueError('weights = "" is empty; write "none", "imagenet" or a file\'s path')
    if HEADS.entry(recipe.head).needs_imagenet and recipe.weights == "none":
        names = ", ".join(f'"{name}"' for name in IMAGENET_WEIGHTS)
        raise ValueError(
            f'head = "{recipe.head}" needs weights = {names} or a file of ImageNet\'s classes'
        )
    if resolve.own(recipe.model) and recipe.weights in IMAGENET_WEIGHTS:
        raise ValueError(
            f'weights = "{recipe.weights}" are none of {recipe.model}; name a file of its '
            'state dict, or set weights = "none" and let it load what it begins with'
        )
    entry = resolve.entry(recipe.model)
    if recipe.padding not in (AUTO, entry.padding) and not entry.pads_either_way:
        raise ValueError(
            f'padding = "{recipe.padding}" is not for {recipe.model}, but for: '
            f"{', '.join(padding_either_way())}"
        )
    if recipe.memory_efficient and not entry.recomputed_norms:
        raise ValueError(
            f"memory_efficient = true does nothing for {recipe.model}; it is for: "
            f"{', '.join(with_memory_efficient_form())}"
        )
