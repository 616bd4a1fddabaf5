"""A training step as a CUDA graph, which is launched at once and not kernel by kernel.

The graph reads learning rate, momentum and weight decay from tensors, so that it serves a schedule,
and other trials, without being captured again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tuneoff.messages import first_line
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.optim import Sgd

log = logging.getLogger(__name__)

_NOT_CAPTURED = "steps are not captured as a CUDA graph, so that training is slower: %s"

Backward = Callable[[Tensor, Targets], Tensor]
"""Leaves the gradients of a batch in its parameters and returns the summed loss."""

_WARM_UP = 3  # steps in which cuDNN chooses its algorithms and memory is allocated
# Captured steps are compared with plain ones: the loss may differ by so much of itself, and where
# two steps move the weights by so much of their way. At the rate of these steps the weights move
# enough to compare and little enough not to diverge.
_TOLERANCE = 0.02
_MOVE_TOLERANCE = 0.1
_TRIAL_RATE = 0.01


class Recorder(Protocol):
    """Runs a step once and returns a function that runs it again on the same memory."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]: ...


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Captures ``work`` as a CUDA graph, after a few runs on a separate stream."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class Captured:
    """A captured step. It takes batches of one shape, which are copied to where it reads them."""

    def __init__(
        self,
        backward: Backward,
        optimizer: Sgd,
        images: Tensor,
        targets: Targets,
        record: Recorder,
    ) -> None:
        self._optimizer = optimizer
        self._images = images.clone(memory_format=torch.preserve_format)
        self._targets = _copied(targets)
        self._settings = [_Settings(group, images.device) for group in optimizer.param_groups]
        self._loss = torch.zeros((), dtype=torch.float64, device=images.device)

        def work() -> None:
            self._loss.copy_(backward(self._images, self._targets))
            every = zip(optimizer.param_groups, optimizer.references, self._settings, strict=True)
            for group, references, settings in every:
                sgd_(group, references, optimizer, settings)

        self._replay = record(work)

    def takes(self, images: Tensor, targets: Targets) -> bool:
        """Whether a batch has the shape for which the step was captured."""
        mixed = targets.others is not None
        return images.shape == self._images.shape and mixed == (self._targets.others is not None)

    def replay(self, images: Tensor, targets: Targets) -> Tensor:
        """One step with the optimiser's present settings; returns the loss, summed over the
        images, float64 of shape ()."""
        self._images.copy_(images)
        for ours, its in zip(_tensors(self._targets), _tensors(targets), strict=True):
            ours.copy_(its)
        for group, settings in zip(self._optimizer.param_groups, self._settings, strict=True):
            settings.read(group)
        self._replay()
        return self._loss.clone()


class _Settings:
    """A parameter group's learning rate, momentum and weight decay, on the device."""

    def __init__(self, group: Mapping[str, Any], device: torch.device) -> None:
        self.values = torch.zeros(3, device=device)
        self.rate, self.momentum, self.weight_decay = self.values.unbind()
        self._last: tuple[float, float, float] | None = None
        self.read(group)

    def read(self, group: Mapping[str, Any]) -> None:
        found = (group["lr"], group["momentum"], group["weight_decay"])
        if found != self._last:
            self.values.copy_(torch.tensor(found), non_blocking=True)
            self._last = found


def sgd_(
    group: Mapping[str, Any],
    references: Sequence[Tensor],
    optimizer: Sgd,
    settings: _Settings,
) -> None:
    """A step of ``optim.Sgd`` on one parameter group, with tensors for its settings."""
    with torch.no_grad():
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        momenta = [optimizer.state[p]["momentum_buffer"] for p in parameters]
        decayed: list[Tensor] | tuple[Tensor, ...] = parameters
        if references:
            pairs = zip(group["params"], references, strict=True)
            decayed = torch._foreach_sub(
                parameters, [towards for p, towards in pairs if p.grad is not None]
            )
        change = list(torch._foreach_mul(decayed, settings.weight_decay))
        torch._foreach_add_(change, [p.grad for p in parameters])
        torch._foreach_mul_(momenta, settings.momentum)
        torch._foreach_add_(momenta, change)
        if group["nesterov"]:
            torch._foreach_add_(change, torch._foreach_mul(momenta, settings.momentum))
        else:
            change = momenta
        torch._foreach_sub_(parameters, torch._foreach_mul(change, settings.rate))


def captured(
    backward: Backward,
    model: nn.Module,
    optimizer: Sgd,
    images: Tensor,
    targets: Targets,
    record: Recorder = cuda_graph,
) -> Captured | None:
    """Captures a step and compares it with a plain one; model and optimiser are not changed.

    Args:
        backward: computes the model's gradients.
        model: on the device.
        optimizer: of its parameters.
        images: of the shape to capture; their pixels do not matter.
        targets: of these images.
        record: how to capture.

    Returns:
        The captured step; None, with a warning, if it cannot be captured or computes something
        else than the plain step.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
    before = _snapshot(model, optimizer)
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = _TRIAL_RATE
    try:
        found = Captured(backward, optimizer, images, targets, record)
        losses, moves = [], []
        for step in (partial(_plain_step, backward, optimizer), found.replay):
            _restore(before, model, optimizer)
            torch.manual_seed(0)  # dropout: both must leave out the same
            start = _weights(optimizer)
            for _ in range(2):
                loss = float(step(images, targets))
            losses.append(loss)
            moves.append(_weights(optimizer) - start)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        log.warning(_NOT_CAPTURED, first_line(error))
        return None
    finally:
        _restore(before, model, optimizer)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
    if not abs(losses[0] - losses[1]) <= _TOLERANCE * abs(losses[0]):  # NaN too
        log.warning(_NOT_CAPTURED, f"the loss would be {losses[1]:g} instead of {losses[0]:g}")
        return None
    wanted, missed = float(moves[0].norm()), float((moves[0] - moves[1]).norm())
    if not missed <= _MOVE_TOLERANCE * wanted:
        log.warning(_NOT_CAPTURED, f"the weights' moves would differ by {missed / wanted:.0%}")
        return None
    return found


def _weights(optimizer: Sgd) -> Tensor:
    """A copy of all parameters, one after the other."""
    every = [p.detach().flatten() for group in optimizer.param_groups for p in group["params"]]
    return torch.cat(every).float()


def _plain_step(backward: Backward, optimizer: Sgd, images: Tensor, targets: Targets) -> Tensor:
    loss = backward(images, targets)
    optimizer.step()
    return loss


def _snapshot(model: nn.Module, optimizer: Sgd) -> list[Tensor]:
    return [tensor.clone() for tensor in _state(model, optimizer)]


def _restore(before: list[Tensor], model: nn.Module, optimizer: Sgd) -> None:
    with torch.no_grad():
        for tensor, kept in zip(_state(model, optimizer), before, strict=True):
            tensor.copy_(kept)


def _state(model: nn.Module, optimizer: Sgd) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    momenta = [optimizer.state[p]["momentum_buffer"] for p in parameters]
    return [*(t.detach() for t in model.state_dict().values()), *momenta]


def _tensors(targets: Targets) -> list[Tensor]:
    return [t for t in (targets.labels, targets.others, targets.share) if t is not None]


def _copied(targets: Targets) -> Targets:
    others = None if targets.others is None else targets.others.clone()
    share = None if targets.share is None else targets.share.clone()
    return Targets(targets.labels.clone(), others, share)
