"""How much memory a training step takes, and so the largest batch that fits."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tuneoff.trainer import optimizer_choice
from tuneoff.trainer.affects import Affects, affected
from tuneoff.trainer.models import factory, freezing
from tuneoff.trainer.recipe import Recipe

USABLE = 0.9
"""Share of the free memory that a step may fill. The rest is for the allocator's rounding and gaps,
and for other programs on the device."""

WORKSPACE = 64 * 2**20
"""Bytes that libraries take beside the tensors: on the CPU, copies of weights and gradients in
layouts of oneDNN's own, of which up to 40 MB were seen. For GPUs this was not measured."""

# The size of a tensor that grows with the batch is a multiple of this large prime, and that of no
# other tensor is, so that one pass tells what is paid once from what is paid for each image.
_BATCH = 8191


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory of one training step.

    Attributes:
        moments: (bytes held at any batch size, bytes held for each image) at every moment of the
            step at which most memory is held for some batch size.
    """

    moments: tuple[tuple[int, int], ...]

    def peak(self, batch_size: int) -> int:
        """Bytes of tensors at the fullest moment of a step."""
        return max(fixed + each * batch_size for fixed, each in self.moments)

    def largest_batch(self, free: int) -> int:
        """The largest batch whose step, with ``WORKSPACE``, fills no more than ``USABLE`` of
        ``free`` bytes; 0 if none does."""
        usable = int(USABLE * free) - WORKSPACE
        return max(0, min((usable - fixed) // each for fixed, each in self.moments if each))


def footprint(recipe: Recipe, classes: int, height: int, width: int) -> Footprint:
    """Traces a training step on tensors without memory: the same anywhere, in about a second.

    Counted are weights, their average and the copy for L2-SP, gradients and what the optimiser
    keeps of them, the batch, all that autograd keeps, and temporary tensors. Gradients count
    throughout, as when they are accumulated. Not counted are the libraries' workspaces, nor the
    data set if it lives on the device.

    Args:
        recipe: gives the model and the precision ("auto" counts as fp32: resolve it first).
        classes: outputs of the model.
        height: of the images that the model sees, in pixels.
        width: likewise.
    """
    # The other fields cannot play a part; l2_sp needs weights to be named.
    recipe = Recipe(weights=recipe.weights, **affected(recipe, Affects.MEMORY))
    with torch.device("meta"):
        model = factory.skeleton(recipe, classes)
    model.to(memory_format=torch.channels_last)
    freezing.freeze(model, recipe, recipe.frozen_stages)
    images = torch.empty(
        (_BATCH, 3, height, width), device="meta", memory_format=torch.channels_last
    )
    labels = torch.empty(_BATCH, dtype=torch.int64, device="meta")
    trained = [p for p in model.parameters() if p.requires_grad]
    each = range(optimizer_choice.buffers(recipe.optimizer, recipe.optimizer_options))
    momentum = [torch.empty_like(p) for p in trained for _ in each]
    average = [torch.empty_like(p) for p in model.parameters() if recipe.ema]
    below = freezing.below_the_head(model, recipe) if recipe.l2_sp else {}
    references = [torch.empty_like(p) for p in trained if below.get(p)]
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    gradients = [p.grad for p in trained]

    held = _Held()
    kept = (gradients, momentum, average, references)
    for part in (model.parameters(), model.buffers(), *kept, (images, labels)):
        held.add(part)
    if recipe.precision == "bf16":
        _compute_in_bf16(model)
    with held:
        loss = nn.functional.cross_entropy(model(images).float(), labels)
        loss.backward()
    return Footprint(_fullest(held.moments))


def free_bytes(device: torch.device, kept: int | None = None) -> int:
    """Memory that a training run could get on a device, in bytes.

    On a GPU: what the driver has left, and what torch holds in this process without using it. On
    the CPU: what the kernel calls available, within the limits of this process's control groups.

    Args:
        device: which.
        kept: bytes of this process's tensors on a GPU that will stay; None for all that there
            are. Those of a failed run may still be there, because the error refers to them, and
            will go with it.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if kept is None:
            kept = torch.cuda.memory_allocated(device)
        return max(0, int(free) + torch.cuda.memory_reserved(device) - kept)
    return available_bytes()


def available_bytes(root: Path = Path("/")) -> int:
    """Main memory that this process can still get without swapping, in bytes.

    Args:
        root: the folder in which ``proc`` and ``sys`` are.
    """
    return min([_machine_bytes(root), *_cgroup_bytes(root)])


class _Held(TorchDispatchMode):
    """Follows the storages of all tensors that operators make, until they are freed.

    Attributes:
        fixed: bytes of living storages whose size does not depend on the batch.
        each: bytes for each image of the others.
        moments: (fixed, each) after every operator.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fixed = self.each = 0
        self.moments: set[tuple[int, int]] = set()
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def add(self, tensors: Iterable[object]) -> None:
        """Counts the storages that are not yet counted, from now until they are freed."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage in self._known:  # a view, or changed in place
                continue
            self._known.add(storage)
            size = storage.nbytes()
            parts = (0, size // _BATCH) if size % _BATCH == 0 else (size, 0)
            self._count(*parts)
            weakref.finalize(storage, self._count, -parts[0], -parts[1])
        self.moments.add((self.fixed, self.each))

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self.add(made if isinstance(made, (tuple, list)) else (made,))
        return made

    def _count(self, fixed: int, each: int) -> None:
        self.fixed += fixed
        self.each += each


def _compute_in_bf16(model: nn.Module) -> None:
    """Makes the model convert as autocast would, which ignores tensors without memory."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = partial(_convolve, module)  # type: ignore[method-assign]
        elif isinstance(module, nn.Linear):
            module.forward = partial(_multiply, module)  # type: ignore[method-assign]


def _convolve(module: nn.Conv2d, images: Tensor) -> Tensor:
    bias = None if module.bias is None else module.bias.bfloat16()
    return cast(Tensor, module._conv_forward(images.bfloat16(), module.weight.bfloat16(), bias))


def _multiply(module: nn.Linear, features: Tensor) -> Tensor:
    bias = None if module.bias is None else module.bias.bfloat16()
    return nn.functional.linear(features.bfloat16(), module.weight.bfloat16(), bias)


def _fullest(moments: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The moments for which no other holds more at any batch size and more for each image."""
    kept: list[tuple[int, int]] = []
    for fixed, each in sorted(moments, reverse=True):
        if not kept or each > kept[-1][1]:
            kept.append((fixed, each))
    return tuple(kept)


def _machine_bytes(root: Path) -> int:
    try:
        lines = Path(root, "proc/meminfo").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(values["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroup_bytes(root: Path) -> list[int]:
    """What each control group above this process has left of its limit, in bytes. Pages of files
    that were not used lately count as free, because the kernel drops them first."""
    try:
        lines = Path(root, "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = Path(root, "sys/fs/cgroup"), ("memory.max", "memory.current")
            cache = "inactive_file"
        elif "memory" in controllers.split(","):
            top = Path(root, "sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cache = "total_inactive_file"
        else:
            continue
        # In a container the path may be the host's, and the group's own files lie at the top.
        group = Path(path.lstrip("/"))
        for folder in dict.fromkeys(Path(top, part) for part in (group, *group.parents)):
            try:
                limit, used = (Path(folder, name).read_text().strip() for name in names)
                counts = dict(
                    entry.split() for entry in Path(folder, "memory.stat").read_text().splitlines()
                )
            except OSError:
                continue
            if limit != "max":
                left.append(max(0, int(limit) - int(used) + int(counts.get(cache, 0))))
    return left
