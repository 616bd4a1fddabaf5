"""One optimiser step: forward, backward, update, moving average. On a GPU the first three are
captured once and replayed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from tuneoff.trainer import capture, fine_tuning, losses, optim
from tuneoff.trainer.capture import Recorder
from tuneoff.trainer.checkpoint import Checkpoint
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.distributed import Ranks
from tuneoff.trainer.models import freezing
from tuneoff.trainer.optim import Sgd
from tuneoff.trainer.recipe import Recipe

Part = Callable[[nn.Module], nn.Module]
"""Takes a model and returns a part of it, or all, that holds its own modules."""


def whole_model(model: nn.Module) -> nn.Module:
    """The model itself."""
    return model


class MovingAverage:
    """An exponential moving average of a model's parameters and statistics.

    Attributes:
        model: a copy of the model that has the averages in their place. Counters, which are whole
            numbers, are those of the model itself.
    """

    def __init__(self, model: nn.Module) -> None:
        """Begins with what the model has now."""
        self.model = copy.deepcopy(model)
        pairs = list(zip(_state(self.model), _state(model), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        others = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._averages, self._values = [a for a, _ in floats], [b for _, b in floats]
        self._counters, self._counts = [a for a, _ in others], [b for _, b in others]

    def follow(self, weight: float) -> None:
        """Moves every average towards the model's present value by ``weight``, 0 to 1.

        This takes two operators whatever the number of tensors, because on a GPU a small model's
        step takes little longer than the launch of its kernels.
        """
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._values, weight)
            if self._counters:
                torch._foreach_copy_(self._counters, self._counts)


def _state(model: nn.Module) -> list[Tensor]:
    # These tensors stay the model's own: whatever loads other values copies them into place.
    return list(model.state_dict().values())


class Stepper:
    """A model with its optimiser, and what one step does to them.

    Attributes:
        model: trained in place, on the device, channels_last.
        average: its moving average (``Recipe.ema``); None without.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        accumulation: int,
        ranks: Ranks,
        part: Part = whole_model,
    ) -> None:
        """
        Args:
            model: on the device.
            optimizer: of its parameters.
            recipe: with every "auto" resolved.
            accumulation: parts of each batch.
            ranks: the processes that share each batch.
            part: which part of a model steps compute; the rest stays as it is.
        """
        self.model = model
        self.optimizer = optimizer
        self.average = MovingAverage(model) if recipe.ema else None
        self._recipe = recipe
        self._accumulation = accumulation
        self._loss = losses.loss_of(recipe)
        self._ranks = ranks
        self._bf16 = recipe.precision == "bf16"
        self._parameters = list(model.parameters())
        self._part = part
        self._forward: Callable[[Tensor], Tensor] = ranks.wrap(part(model))
        self._captured: capture.Captured | None = None
        self._frozen_throughout = fine_tuning.frozen_throughout(recipe)
        self._frozen = 0  # stages; every parameter gets gradients in a new model

    @property
    def evaluated(self) -> nn.Module:
        """The model to evaluate: the moving average if there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def evaluated_part(self) -> nn.Module:
        """The part of it that steps compute."""
        return self._part(self.evaluated)

    def load(self, saved: Checkpoint) -> None:
        """Goes on from a checkpoint's weights, average and momenta."""
        self.model.load_state_dict(saved.model)
        if self.average is not None and saved.average is not None:
            self.average.model.load_state_dict(saved.average)
        kept = dict(self.optimizer.state)
        self.optimizer.load_state_dict(dict(saved.optimizer))
        for parameter, state in kept.items():
            # Copied into the tensors that were there, because a captured step uses those.
            for name, tensor in state.items() if isinstance(self.optimizer, Sgd) else ():
                tensor.copy_(self.optimizer.state[parameter][name])
                self.optimizer.state[parameter][name] = tensor

    def begin(self, model: nn.Module, optimizer: Sgd) -> None:
        """Starts another run, with the weights of a model and the settings of its optimiser; for a
        captured step, which SGD's alone are."""
        assert isinstance(self.optimizer, Sgd)
        self.model.load_state_dict(model.state_dict())
        if self.average is not None:
            self.average.model.load_state_dict(model.state_dict())
        for state in self.optimizer.state.values():
            state["momentum_buffer"].zero_()
        for ours, its in zip(self.optimizer.param_groups, optimizer.param_groups, strict=True):
            ours.update({name: value for name, value in its.items() if name != "params"})
        for old, new in zip(self.optimizer.references, optimizer.references, strict=True):
            for towards, tensor in zip(old, new, strict=True):
                towards.copy_(tensor)  # in place, because a captured step reads them
        self.freeze(self._frozen_throughout)

    def freeze(self, stages: int) -> None:
        """Puts the model into training mode, but for so many of its first stages; see
        ``freezing.freeze``."""
        freezing.freeze(self.model, self._recipe, stages)
        if stages != self._frozen:
            self._frozen = stages
            self._forward = self._ranks.wrap(self._part(self.model))

    def step(
        self, images: Tensor, targets: Targets, whole: int, rate: float, number: int
    ) -> Tensor:
        """One step on this rank's shard of a batch.

        Args:
            images: float, shape (shard, 3, height, width), channels_last; or what the part of the
                model that is computed takes.
            targets: of the same images.
            whole: images in the batch of all ranks together.
            rate: the learning rate.
            number: steps before this one in the whole run.

        Returns:
            The loss of the shard, summed over its images; float64 of shape (), on the device.
        """
        optim.set_rate(self.optimizer, rate)
        # The captured step trains all stages that the run ever does.
        fits = self._frozen == self._frozen_throughout
        if self._captured and fits and self._captured.takes(images, targets):
            loss = self._captured.replay(images, targets)
        else:
            loss = self.backward(images, targets, whole)
            self.optimizer.step()
        if self.average is not None:
            decay = min(self._recipe.ema, (1 + number) / (10 + number))
            self.average.follow(1 - decay)
        return loss

    def capture(self, images: Tensor, targets: Targets, record: Recorder) -> None:
        """Captures the step that trains all stages that the run ever does, on batches of this
        shape; see ``capture.captured``. The optimiser has to be SGD.

        The model and the optimiser are as before afterwards.
        """
        assert isinstance(self.optimizer, Sgd)
        self.freeze(self._frozen_throughout)
        backward = partial(self.backward, whole=len(images))
        self._captured = capture.captured(
            backward, self.model, self.optimizer, images, targets, record
        )

    def backward(self, images: Tensor, targets: Targets, whole: int) -> Tensor:
        """Leaves the gradient of a batch's mean loss, clipped, in the parameters.

        Args:
            images: this rank's shard of the batch, as in ``step``.
            targets: of the same images.
            whole: images in the batch of all ranks together.

        Returns:
            The loss of the shard, summed over its images; float64 of shape (), on the device.
        """
        self.optimizer.zero_grad(set_to_none=True)
        parts = max(1, min(self._accumulation, whole // 2))  # batch normalisation needs two images
        bounds = [self._ranks.below(whole * i // parts) for i in range(parts + 1)]
        summed = torch.zeros((), dtype=torch.float64, device=images.device)
        for i, (start, end) in enumerate(pairwise(bounds), start=1):
            part = slice(start, end)
            with self._ranks.only_at_the_end(self._forward, is_end=i == parts):
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self._bf16):
                    outputs = self._forward(images[part])
                if end > start:
                    loss = targets[part].loss(outputs.float(), self._loss)
                else:
                    loss = outputs.float().sum()  # no images: 0, with a gradient of 0
                summed += loss.detach().double() * (end - start)
                # Gradients are averaged over the ranks. Multiplied by their number, that is the sum
                # over the ranks, and each rank adds its images' part of the batch's mean loss.
                weight = (end - start) * self._ranks.world / whole
                (loss * weight).backward()
        if self._recipe.clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        return summed
