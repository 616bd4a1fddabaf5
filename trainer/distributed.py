"""One run in several processes under torchrun.

Every rank makes each whole batch and trains on its shard of it. Gradients, and the statistics of
batch normalisation, are those of the whole batch, so that the result is that of one process. Only
rank 0 decides when to stop, and only rank 0 writes checkpoints.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tuneoff.messages import first_line
from tuneoff.trainer.errors import TrainerError

# A rank that has waited so long for another takes it for dead. The others also wait while rank 0
# writes a checkpoint, which must not take longer.
PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run, and which of them this is.

    Attributes:
        rank: 0 for the one that decides.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the rank that decides and writes."""
        return self.rank == 0

    @property
    def shard(self) -> slice:
        """Which images of a batch are this rank's: every ``world``-th from ``rank`` on."""
        return slice(self.rank, None, self.world)

    def below(self, bound: int) -> int:
        """How many of a batch's first ``bound`` images are this rank's."""
        return -(-(bound - self.rank) // self.world)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all ranks of a tensor of the same shape on each."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def decide(self, value: int) -> int:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        decided = torch.tensor([value], device=_device())
        dist.broadcast(decided, 0)
        return int(decided)

    def share(self, make: Callable[[], Any]) -> Any:
        """What ``make`` returns on rank 0, on every rank; plain values and tensors."""
        if self.world == 1:
            return make()
        held = [make() if self.leads else None]
        dist.broadcast_object_list(held, 0, device=_device())
        return held[0]

    def interleave(self, own: Tensor, count: int) -> Tensor:
        """All rows in their order, put together from each rank's ``shard`` of them.

        Args:
            own: this rank's rows, shape (rows, ...).
            count: rows of all ranks together.
        """
        if self.world == 1:
            return own
        most = -(-count // self.world)
        padded = torch.zeros((most, *own.shape[1:]), dtype=own.dtype, device=own.device)
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:count]

    def wrap(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """The model's forward pass, whose backward pass averages gradients over the ranks."""
        if self.world == 1:
            return model
        device = next(model.parameters()).device
        ids = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)

    def prepare(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model with batch normalisation over the whole batch; names stay the same."""
        if self.world == 1:
            return model
        if device.type == "cuda":
            convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
            return convert(model)
        return _synchronised(model)

    def only_at_the_end(
        self, forward: Callable[[Tensor], Tensor], is_end: bool
    ) -> contextlib.AbstractContextManager[None]:
        """A context for one part of a batch, in which gradients are averaged over the ranks only
        if it is the last part: once for each batch."""
        if isinstance(forward, DistributedDataParallel) and not is_end:
            return cast(contextlib.AbstractContextManager[None], forward.no_sync())
        return contextlib.nullcontext()


ALONE = Ranks()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks under torchrun, joined for as long as the block lasts; elsewhere ``ALONE``.

    Args:
        device: its name; NCCL connects GPUs, gloo everything else.

    Raises:
        TrainerError: another rank has ended before the block did.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    on_gpus = device.startswith("cuda")
    if on_gpus:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpus else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        # Errors of gloo have no type of their own. The group is not destroyed in this case, because
        # that would wait for the rank that is gone.
        if isinstance(error, dist.DistError) or re.search(_LOST, str(error)):
            raise _gone(error) from error
        raise
    dist.barrier()
    dist.destroy_process_group()
    # Models that are no longer used still refer to the group. Its threads must end before the
    # interpreter does, because one that frees a tensor after that aborts the process.
    gc.collect()


_LOST = r"gloo|Connection (closed|reset)|Broken pipe"


def _gone(error: Exception) -> TrainerError:
    return TrainerError(
        "another process of this run has ended; start it again, and it goes on from its last "
        f"checkpoint ({first_line(error)[:100]})"
    )


def local_device(name: str) -> str:
    """A device's name; under torchrun "cuda" gets the number that torchrun gave this process."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if name == "cuda" and local is not None else name


def _device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _synchronised(model: nn.Module) -> nn.Module:
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(model, name, _WholeBatchNorm.of(child))
        else:
            _synchronised(child)
    return model


class _Sum(torch.autograd.Function):
    """The sum over all ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


_sum: Callable[[Tensor], Tensor] = _Sum.apply


class _WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over all ranks' images (Ioffe and Szegedy 2015).

    torch's SyncBatchNorm computes the same, but only on GPUs.
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> _WholeBatchNorm:
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        made.load_state_dict(norm.state_dict())
        return made.to(norm.weight.device)

    def forward(self, input: Tensor) -> Tensor:
        """Float (batch, channels, height, width) to the same shape."""
        if not self.training:
            return super().forward(input)

        x = input.float()
        sums = torch.cat([x.sum((0, 2, 3)), x.new_tensor([float(x.numel() // x.shape[1])])])
        sums = _sum(sums)
        count = sums[-1]
        mean = sums[:-1] / count
        centred = x - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * count / (count - 1), momentum)
        scale = (self.weight * torch.rsqrt(variance + self.eps))[:, None, None]
        normalised: Tensor = centred * scale + self.bias[:, None, None]
        return normalised.to(input.dtype)
