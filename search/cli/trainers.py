"""The trainer, its device and its checks: the one place where the command line makes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.search.cli.terminal import console, decoding_progress
from tuneoff.trainer.contract import Task
from tuneoff.trainer.recipe import DataSource, Recipe

if TYPE_CHECKING:
    from tuneoff.trainer.distributed import Ranks
    from tuneoff.trainer.torch_trainer import TorchTrainer


def make_trainer(
    work: Path, device: str = "auto", threads: int | None = None, ranks: Ranks | None = None
) -> TorchTrainer:
    """The trainer of this process.

    Args:
        work: its folder ``cache`` keeps decoded images.
        device: see ``choose_device``.
        threads: CPU threads to compute with; all if None.
        ranks: the processes that train together; this one alone if None.

    Raises:
        TrainerError: there is no such device.
    """
    from tuneoff.trainer.distributed import ALONE
    from tuneoff.trainer.torch_trainer import TorchTrainer

    shared = ranks or ALONE
    return TorchTrainer(choose_device(device), cache=work / "cache", threads=threads, ranks=shared)


def choose_device(name: str) -> str:
    """What ``--device`` names: "auto" is a GPU where there is one, under torchrun each its own."""
    import torch

    from tuneoff.trainer.distributed import local_device

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return local_device(name)


def count_gpus() -> int:
    """How many GPUs this process sees."""
    import torch

    return torch.cuda.device_count()


def make_check(work: Path) -> Callable[[Recipe], Task]:
    """Checks recipes as ``Trainer.check`` does, on the CPU; shows how far decoding has come."""
    from tuneoff.trainer.torch_trainer import TorchTrainer

    return TorchTrainer("cpu", cache=work / "cache", progress=decoding_progress(console)).check


def describe_data(work: Path, source: DataSource, clock: DecodingClock | None = None) -> Task:
    """What is in a data set, verified whole; shows how far decoding has come."""
    from tuneoff.trainer.data import splits
    from tuneoff.trainer.data.load import load

    show = decoding_progress(console)

    def progress(done: int, total: int) -> None:
        show(done, total)
        if clock is not None:
            clock.note(done)

    return splits.describe(load(source, work / "cache", progress, verify=True), source)


class DecodingClock:
    """How many images were decoded, and in how many seconds; none if all were in the cache."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._started: float | None = None

    def note(self, images: int) -> None:
        """So many images are decoded by now."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
        self.images, self.seconds = images, now - self._started
