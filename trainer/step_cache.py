"""The captured training step of one run, kept for the next run of a worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tuneoff import references
from tuneoff.trainer import fine_tuning, optim
from tuneoff.trainer.affects import Affects, affected
from tuneoff.trainer.capture import Recorder
from tuneoff.trainer.data import augment
from tuneoff.trainer.distributed import Ranks
from tuneoff.trainer.models import stages
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step import Stepper, whole_model


class StepCache:
    """Keeps the last run's stepper, whose captured step serves the next run of the same kind.

    A capture takes as long as some dozens of steps; a run that finds one begins at once.
    """

    def __init__(self, record: Recorder | None) -> None:
        """
        Args:
            record: how steps are captured; None if they are not, so that nothing is kept.
        """
        self._record = record
        self._kept: tuple[dict[str, Any], Stepper] | None = None

    def stepper(
        self,
        model: nn.Module,
        recipe: Recipe,
        params: HyperParams,
        accumulation: int,
        ranks: Ranks,
        device: torch.device,
        blank: Callable[[], Tensor],
        frozen: int = 0,
    ) -> Stepper:
        """A stepper at the start of a run.

        Args:
            model: with its first weights, on the CPU.
            recipe: with every "auto" resolved.
            params: the optimiser's numbers.
            accumulation: parts into which each batch is divided.
            ranks: the processes that share each batch.
            device: to train on.
            blank: makes images of the shape of a whole batch, on the device; or outputs of the
                frozen stages that are not computed.
            frozen: stages that are not computed, because their outputs are kept.
        """
        kept, self._kept = self._kept, None  # two models may not fit on the device together
        # What is captured is a step of SGD on a loss that we know; others run as they are.
        known = recipe.optimizer == "sgd" and not references.is_reference(recipe.loss)
        record = self._record if ranks.world == 1 and known else None
        images = None if record is None else blank()
        kind = _kind(recipe, params, accumulation, images) | {"frozen": frozen}
        if kept and kept[0] == kind and _same_shapes(kept[1].model, model):
            kept[1].begin(model, optim.sgd(model, recipe, params))
            self._kept = kept
            return kept[1]
        del kept
        model = ranks.prepare(model, device)
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        rest = partial(stages.after, name=recipe.model, frozen=frozen) if frozen else whole_model
        optimizer = optim.optimizer(model, recipe, params)
        stepper = Stepper(model, optimizer, recipe, accumulation, ranks, rest)
        if record is not None and images is not None:
            stepper.capture(images, augment.example(images, recipe), record)
            self._kept = (kind, stepper)
        return stepper


def _kind(
    recipe: Recipe, params: HyperParams, accumulation: int, images: Tensor | None
) -> dict[str, Any]:
    """What a captured step depends on: what the recipe says, and the shape of its images.

    Of some fields less than their value counts. Without momentum Nesterov's form is the plain one,
    and images and targets are mixed outside the step, which only sees that there are two targets.
    The rate, momentum and L2 strengths of each group of parameters are read from the device in each
    step, and the weights to which L2-SP pulls are there too.
    """
    mixes = recipe.mixup > 0 or recipe.cutmix > 0
    return affected(recipe, Affects.STEP) | {
        "nesterov": recipe.nesterov and params.momentum > 0,
        "mixup": mixes,
        "cutmix": mixes,
        "frozen_throughout": fine_tuning.frozen_throughout(recipe),
        "head_lr_factor": optim.by_stage(recipe),
        "layer_lr_decay": optim.by_stage(recipe),
        "l2_sp": recipe.l2_sp > 0,
        "accumulation": accumulation,  # more than the recipe's where memory did not suffice
        "images": None if images is None else images.shape,
    }


def _same_shapes(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(a.shape == b.shape for a, b in pairs)
