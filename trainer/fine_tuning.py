"""A recipe's options of fine-tuning: which go together, and which stages they freeze when; no torch
import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.trainer.limits import at_least, shown
from tuneoff.trainer.models import resolve

if TYPE_CHECKING:
    from tuneoff.trainer.recipe import Recipe


def check(recipe: Recipe) -> None:
    """ValueError, of one line, for options of fine-tuning that cannot be or do not go together."""
    for name in ("frozen_stages", "unfreeze_every", "head_lr_factor", "l2_sp"):
        at_least(name, getattr(recipe, name), 0)
    *stages, head = resolve.entry(recipe.model).stage_names
    if recipe.frozen_stages > len(stages):
        raise ValueError(
            f"frozen_stages = {shown(recipe.frozen_stages)}: below its {head}, {recipe.model} has "
            f"{len(stages)} stage{'s'[: len(stages) > 1]} ({', '.join(stages)}); "
            f"set at most {len(stages)}"
        )
    if not recipe.head_lr_factor > 0:
        raise ValueError(f"head_lr_factor = {recipe.head_lr_factor!r} must be above 0")
    if not 0 < recipe.layer_lr_decay <= 1:
        raise ValueError(
            f"layer_lr_decay = {shown(recipe.layer_lr_decay)} must be above 0 and at most 1"
        )
    if recipe.l2_sp and recipe.weights == "none":
        raise ValueError(
            f'l2_sp = {recipe.l2_sp!r} pulls towards pretrained weights, and weights = "none" '
            "has none; name weights, or set weight_decay instead"
        )
    if recipe.frozen_norms and recipe.weights == "none":
        raise ValueError(
            "frozen_norms = true keeps the statistics that come with weights, and weights = "
            '"none" has none; name weights, or take it out'
        )
    if recipe.memory_efficient and (recipe.frozen_stages or recipe.unfreeze_every):
        name = "frozen_stages" if recipe.frozen_stages else "unfreeze_every"
        raise ValueError(
            f"memory_efficient = true does not go with {name}, as the first layer above frozen "
            "ones would update its statistics wrongly; take one of them out"
        )


def frozen_in(recipe: Recipe, epoch: int) -> int:
    """How many of the first stages stay as they are in an epoch, counted from 1.

    In the first ``frozen_epochs`` (or, without these, the first ``unfreeze_every``) only the head
    trains. Then all stages above the first ``frozen_stages`` do, or with ``unfreeze_every`` the one
    next to the head, and one more after each ``unfreeze_every`` epochs.
    """
    backbone = len(resolve.entry(recipe.model).stage_names) - 1
    every = recipe.unfreeze_every
    since = epoch - 1 - (recipe.frozen_epochs or every)  # epochs since the first stage thawed
    if since < 0:
        return backbone
    thawed = 1 + since // every if every else backbone
    return max(recipe.frozen_stages, backbone - thawed)


def frozen_throughout(recipe: Recipe) -> int:
    """How many of the first stages stay as they are in all epochs."""
    return frozen_in(recipe, recipe.epochs)


def trains_head_alone(recipe: Recipe) -> str:
    """The option for which only the head trains in all epochs, as in "frozen_stages = 3"; "" if
    other stages train too."""
    backbone = len(resolve.entry(recipe.model).stage_names) - 1
    if frozen_throughout(recipe) < backbone:
        return ""
    if recipe.frozen_stages == backbone:
        return f"frozen_stages = {backbone}"
    name = "frozen_epochs" if recipe.frozen_epochs else "unfreeze_every"
    return f"{name} = {recipe.epochs}"
