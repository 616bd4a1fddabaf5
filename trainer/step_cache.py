"""What stays ready on the device between one trial of a worker and the next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tuneoff.trainer import optim
from tuneoff.trainer.capture import Recorder
from tuneoff.trainer.data import augment
from tuneoff.trainer.distributed import Ranks
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step import Stepper


class Warm:
    """Keeps the last run's stepper, whose captured step serves the next run of its kind.

    A capture takes as long as some dozens of steps: a run that needs none begins at once.
    """

    def __init__(self, record: Recorder | None) -> None:
        """
        Args:
            record: how steps are captured; None if they are not.
        """
        self._record = record
        self._kept: tuple[tuple[Recipe, int, torch.Size | None], Stepper] | None = None

    def stepper(
        self,
        model: nn.Module,
        recipe: Recipe,
        params: HyperParams,
        accumulation: int,
        ranks: Ranks,
        device: torch.device,
        blank: Callable[[], Tensor],
    ) -> Stepper:
        """A stepper at the start of a run.

        Args:
            model: with its first weights, on the CPU.
            recipe: with every "auto" resolved.
            params: the optimiser's numbers.
            accumulation: parts of each batch.
            ranks: the processes that share each batch.
            device: to train on.
            blank: makes images of the shape of a whole batch, on the device.
        """
        kept, self._kept = self._kept, None  # two models may not fit on the device together
        record = self._record if ranks.world == 1 else None
        images = None if record is None else blank()
        kind = (_kind(recipe, params), accumulation, images.shape if images is not None else None)
        if kept and kept[0] == kind and _same_shapes(kept[1].model, model):
            kept[1].begin(model, optim.sgd(model, recipe, params))
            self._kept = kept
            return kept[1]
        del kept
        model = ranks.prepare(model, device)
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        stepper = Stepper(model, optim.sgd(model, recipe, params), recipe, accumulation, ranks)
        if record is not None and images is not None:
            stepper.freeze(False)
            stepper.capture(images, augment.example(images, recipe), record)
            self._kept = (kind, stepper)
        return stepper


def _kind(recipe: Recipe, params: HyperParams) -> Recipe:
    """What of a recipe a captured step depends on; the rest is as by default."""
    return Recipe(
        model=recipe.model,
        memory_efficient=recipe.memory_efficient,
        nesterov=recipe.nesterov and params.momentum > 0,
        decay_norms=recipe.decay_norms,
        layer_decay=recipe.layer_decay,
        clip=recipe.clip,
        label_smoothing=recipe.label_smoothing,
        mixup=float(recipe.mixup > 0 or recipe.cutmix > 0),
        ema=recipe.ema,
        precision=recipe.precision,
    )


def _same_shapes(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(a.shape == b.shape for a, b in pairs)
