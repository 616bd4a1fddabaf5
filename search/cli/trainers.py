"""The trainer, its device and its checks: the one place where the command line makes them."""

from __future__ import annotations

import ctypes
import hashlib
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.search.cli.console import console
from tuneoff.search.cli.terminal import decoding_progress
from tuneoff.trainer.contract import AnyRecipe, Task, Trainer
from tuneoff.trainer.own.command_job import HUNG_SECONDS
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import DataSource, Recipe

if TYPE_CHECKING:
    from tuneoff.search.study.study import Study
    from tuneoff.trainer.distributed import Ranks
    from tuneoff.trainer.torch_trainer import TorchTrainer


def make_trainer(
    recipe: AnyRecipe,
    work: Path,
    device: str = "auto",
    threads: int | None = None,
    ranks: Ranks | None = None,
    hung_seconds: float = HUNG_SECONDS,
) -> Trainer:
    """The trainer of this process for what is to be trained: ours, or that of a user's own code.

    Args:
        recipe: any of the study, or of the file.
        work, threads, ranks: as ``our_trainer``.
        device: see ``choose_device``.
        hung_seconds: as ``own_trainer``.

    Raises:
        TrainerError: there is no such device.
    """
    if isinstance(recipe, OwnTraining):
        return own_trainer(recipe, device_for_own(device), threads, hung_seconds)
    return our_trainer(work, device, threads, ranks)


def own_trainer(
    recipe: OwnTraining,
    device: str,
    threads: int | None = None,
    hung_seconds: float = HUNG_SECONDS,
) -> Trainer:
    """The trainer of a user's own code: of its loop, or of its command.

    Args:
        hung_seconds: a command that neither reports nor prints anything for so long hangs.
    """
    if recipe.command is not None:
        from tuneoff.trainer.own.command import CommandTrainer

        return CommandTrainer(device, threads, hung_seconds)
    from tuneoff.trainer.own.loop import LoopTrainer

    return LoopTrainer(device, threads)


def device_for_own(name: str) -> str:
    """What ``--device`` names where the code is not ours; torch is not needed for that."""
    return ("cuda" if count_gpus() else "cpu") if name == "auto" else name


def our_trainer(
    work: Path, device: str = "auto", threads: int | None = None, ranks: Ranks | None = None
) -> TorchTrainer:
    """Our own trainer.

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


def threads_of(study: Study, device: str, threads: int | None) -> int | None:
    """CPU threads of a worker: those of the study file, if it trains on a CPU, or ``threads``."""
    said = study.spec.workers.threads
    return said if said is not None and choose_device(device) == "cpu" else threads


def choose_device(name: str) -> str:
    """What ``--device`` names: "auto" is a GPU where there is one, under torchrun each its own."""
    import torch

    from tuneoff.trainer.distributed import local_device

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return local_device(name)


def count_gpus() -> int:
    """How many GPUs this process sees."""
    if not _has_driver():
        return 0  # as torch would say, whose import takes seconds
    import torch

    return torch.cuda.device_count()


def _has_driver() -> bool:
    """False if no GPU can be used here, as nothing that drives one is installed."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # the latter is AMD's
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def make_check(work: Path) -> Callable[[AnyRecipe], Task]:
    """Checks recipes as ``Trainer.check`` does, on the CPU; shows how far decoding has come."""

    def check(recipe: AnyRecipe) -> Task:
        if isinstance(recipe, OwnTraining):
            return own_trainer(recipe, "cpu").check(recipe)
        return ours().check(recipe)

    @cache
    def ours() -> TorchTrainer:
        from tuneoff.trainer.torch_trainer import TorchTrainer

        show = decoding_progress(console)
        return TorchTrainer("cpu", cache=work / "cache", progress=show)

    return check


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


def weights_digest(recipe: Recipe) -> str | None:
    """SHA-256 of the tensors that a recipe starts from, by name; None if it starts from none.

    Raises:
        ModelError: they are not to be had.
    """
    if recipe.weights == "none":
        return None
    from tuneoff.trainer.models import weights

    found = hashlib.sha256()
    for name, tensor in sorted(weights.read(recipe).state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
