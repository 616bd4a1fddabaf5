"""The trainer's benchmark on a GPU: single trials against the usual trainer, and many on one card.

Everything here runs on the CPU too, with ``STAND_IN``, so that it is known to run.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import trainer_latency
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from trainer_data import Pictures, repeated, write_folder
from trainer_table import Row, not_measured
from trainer_usual import Usual, loaders

from tuneoff.trainer import models
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.errors import Interrupted, TrainerError
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

VALIDATION = 0.05
PATIENCE = 600.0  # seconds for all processes to come to their first step
RISES = 1.05  # a throughput that grows by less has stopped rising


@dataclass(frozen=True)
class Setup:
    """One model in training.

    Attributes:
        size: side in pixels to which images are scaled.
        wanted: how many times the usual trainer's rate.
        above: images a second to be passed.
        stock: also compare with PyTorch's own loop on images that are there already.
    """

    model: str
    size: int
    batch_size: int
    wanted: float | None = None
    above: float | None = None
    stock: bool = False

    @property
    def what(self) -> str:
        return f"GPU: {self.model} at {self.size} px, batch {self.batch_size}"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        warm, steps: optimiser steps before measuring, and measured.
        workers: of the usual trainer's loaders.
        matrix: side of the matrices whose product gives the card's peak.
        shared: what K trials at once train.
        trials: K.
    """

    device: str
    setups: tuple[Setup, ...]
    warm: int
    steps: int
    workers: int
    matrix: int
    shared: Setup
    trials: tuple[int, ...]

    @property
    def images(self) -> int:
        """Enough for an epoch of the largest batches."""
        largest = max(setup.batch_size for setup in (*self.setups, self.shared))
        return int((self.warm + self.steps + 1) * largest / (1 - VALIDATION)) + 100

    @property
    def measurable(self) -> bool:
        return not self.device.startswith("cuda") or torch.cuda.is_available()


_RESNET18 = Setup("resnet18", 64, 128, wanted=5)
CARD = Plan(
    device="cuda",
    setups=(
        Setup("resnet50", 224, 256, above=3079, stock=True),
        _RESNET18,
        Setup("densenet121", 224, 24, wanted=2),
        Setup("resnet152", 224, 24, wanted=2),
    ),
    warm=20,
    steps=60,
    workers=min(16, os.cpu_count() or 1),
    matrix=8192,
    shared=_RESNET18,
    trials=(1, 2, 4, 8),
)
STAND_IN = Plan(
    device="cpu",
    setups=(Setup("resnet18", 32, 8, above=1, stock=True), Setup("proxy", 32, 8, wanted=0.01)),
    warm=1,
    steps=2,
    workers=1,
    matrix=128,
    shared=Setup("proxy", 32, 8),
    trials=(1, 2),
)


def gpu_rows(plan: Plan, images: Pictures, folder: Path) -> Iterator[Row]:
    """All rows of this part; without a GPU, that they are not measured.

    Args:
        images: at least two classes; used over and over.
        folder: for what is written.
    """
    if not plan.measurable:
        for setup in plan.setups:
            yield not_measured(setup.what, _wanted(setup))
        yield not_measured("GPU: from ask to the first step, warm worker", "< 1 s")
        yield not_measured(f"GPU: {_joined(plan.trials)} trials of {plan.shared.model} at once")
        return
    source = replace(
        write_folder(folder / "gpu", repeated(images, plan.images)), validation=VALIDATION
    )
    peak = matrix_peak(plan.device, plan.matrix)
    yield Row(f"GPU: product of bf16 matrices of {plan.matrix}", f"{peak / 1e12:,.1f} TFLOP/s")
    for setup in plan.setups:
        yield from guarded(setup.what, lambda s=setup: setup_rows(plan, s, source, folder, peak))
    small = write_folder(folder / "gpu-small", images)
    yield from guarded(
        "GPU: from ask to the first step, warm worker",
        lambda: iter([trainer_latency.row(small, plan.shared.model, plan.device, folder, 1.0)]),
    )
    yield from guarded("GPU: trials at once", lambda: together_rows(plan, source, folder))


def guarded(what: str, rows: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows; if they fail, a row that says so, for the others must not be lost with them."""
    try:
        yield from rows()
    except (TrainerError, RuntimeError, OSError) as error:
        yield Row(what, f"failed: {type(error).__name__}: {str(error).splitlines()[0][:120]}")


def setup_rows(
    plan: Plan, setup: Setup, source: DataSource, folder: Path, peak: float
) -> Iterator[Row]:
    """One model: ours, the usual trainer, and if asked for PyTorch's own loop, in turns."""
    classes = len((Path(source.path or "") / "wnids.txt").read_text(encoding="utf-8").split())
    measured: dict[str, list[float]] = {"ours": [], "usual": [], "stock": []}
    for _ in range(2):
        measured["ours"].append(our_rate(plan, setup, source, folder))
        measured["usual"].append(usual_rate(plan, setup, source, folder, classes))
        if setup.stock:
            measured["stock"].append(stock_rate(plan, setup, classes))
    ours, usual = max(measured["ours"]), max(measured["usual"])
    share = ours * flops_per_image(setup, classes) / peak
    rate = f"{ours:,.0f}/s, {share:.0%} of the matrix peak"
    met = None
    if setup.above is not None:
        met = ours > setup.above
    elif setup.wanted is not None:
        met = ours / usual >= setup.wanted
    yield Row(setup.what, rate, f"{usual:,.0f}/s", ours / usual, _wanted(setup), met)
    if setup.stock:
        stock = max(measured["stock"])
        what = f"{setup.what}, against PyTorch's bf16 loop on one resident batch"
        yield Row(what, rate, f"{stock:,.0f}/s", ours / stock)


def _wanted(setup: Setup) -> str:
    if setup.above is not None:
        return f"> {setup.above:,.0f} images/s"
    return "" if setup.wanted is None else f">= {setup.wanted:g}"


@dataclass
class Steps:
    """A tick that times an epoch's steps from number ``warm`` on, and then asks to stop.

    Attributes:
        meet: called when the measurement may begin, to wait for others.
        marks: its start and its end, seconds of the monotonic clock.
    """

    warm: int
    steps: int
    meet: Callable[[], object] = lambda: None
    marks: list[float] = field(default_factory=list)
    count: int = 0

    def __call__(self) -> bool:
        self.count += 1
        if self.count == self.warm:
            synchronize()
            self.meet()
            self.marks.append(time.monotonic())
        elif self.count == self.warm + self.steps:
            synchronize()
            self.marks.append(time.monotonic())
        return self.count >= self.warm + self.steps

    @property
    def seconds(self) -> float:
        return self.marks[1] - self.marks[0]


def synchronize() -> None:
    """Waits until the GPU, if there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def our_rate(plan: Plan, setup: Setup, source: DataSource, folder: Path) -> float:
    """Images a second."""
    steps = Steps(plan.warm, plan.steps)
    train_ours(plan.device, setup, source, folder, steps)
    return plan.steps * setup.batch_size / steps.seconds


def train_ours(
    device: str, setup: Setup, source: DataSource, folder: Path, steps: Steps, seed: int = 0
) -> None:
    """Our trainer, until the steps are measured."""
    recipe = Recipe(
        data=replace(source, image_size=setup.size),
        model=setup.model,
        epochs=2,
        batch_size=setup.batch_size,
        schedule="constant",
    )
    trainer = TorchTrainer(device, cache=folder / "cache", threads=1)
    with tempfile.TemporaryDirectory(dir=folder) as checkpoints:
        try:
            list(trainer.train(recipe, HyperParams(), RunSeed(seed), Path(checkpoints), steps))
        except Interrupted:
            return
    raise RuntimeError("the epoch was too short to be measured")


def usual_rate(plan: Plan, setup: Setup, source: DataSource, folder: Path, classes: int) -> float:
    """Images a second of the usual trainer."""
    root = Path(source.path or "") / "train"
    pin = plan.device.startswith("cuda")
    train, validation = loaders(root, setup.size, setup.batch_size, 100, plan.workers, pin)
    usual = Usual(
        model=setup.model,
        classes=classes,
        train=train,
        validation=validation,
        checkpoint=folder / "usual.pt",
        device=plan.device,
    )
    usual.model.train()
    steps = Steps(plan.warm, plan.steps)
    for images, labels in itertools.islice(train, plan.warm + plan.steps):
        usual.step(images, labels)
        steps()
    return plan.steps * setup.batch_size / steps.seconds


def stock_rate(plan: Plan, setup: Setup, classes: int) -> float:
    """Images a second of PyTorch's own loop: no input at all, bf16, channels_last, eager."""
    model = models.build(Recipe(model=setup.model), classes, seed=0).to(plan.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(setup.batch_size, 3, setup.size, setup.size, device=plan.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (setup.batch_size,), device=plan.device)
    steps = Steps(plan.warm, plan.steps)
    for _ in range(plan.warm + plan.steps):
        with torch.autocast(torch.device(plan.device).type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps()
    return plan.steps * setup.batch_size / steps.seconds


def matrix_peak(device: str, side: int, repeats: int = 20) -> float:
    """FLOP a second of the product of two square bf16 matrices, at best."""
    a = torch.randn(side, side, device=device).bfloat16()
    best = 0.0
    for _ in range(repeats):
        synchronize()
        started = time.perf_counter()
        for _ in range(4):
            a @ a
        synchronize()
        best = max(best, 4 * 2 * side**3 / (time.perf_counter() - started))
    return best


def flops_per_image(setup: Setup, classes: int) -> float:
    """Of one training step; a multiplication and an addition are two."""
    with torch.device("meta"):
        model = models.build(Recipe(model=setup.model), classes, seed=0)
        images = torch.empty(2, 3, setup.size, setup.size)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return counter.get_total_flops() / 2


def together_rows(plan: Plan, source: DataSource, folder: Path) -> Iterator[Row]:
    """K trials at once, each a process, without NVIDIA's MPS and with it where it is there."""
    with multi_process_service(plan.device) as there:
        under = [False, True] if there else [False]
        for mps in under:
            rates = []
            for k in plan.trials:
                rates.append(together(plan, k, mps, source, folder))
                what = f"GPU: {k} x {plan.shared.model} at {plan.shared.size} px at once"
                how = "MPS" if mps else "time slices"
                usual = "" if k == plan.trials[0] else f"{rates[0]:,.0f}/s ({plan.trials[0]} alone)"
                ratio = rates[-1] / rates[0] if usual else None
                yield Row(f"{what}, {how}", f"{rates[-1]:,.0f}/s in all", usual, ratio)
            yield Row(
                f"GPU: throughput stops rising ({how})", f"at {stops_rising(plan.trials, rates)}"
            )
        if not there:
            yield Row("GPU: trials at once, MPS", "not measured: no MPS")


def stops_rising(trials: tuple[int, ...], rates: list[float]) -> str:
    """The number of trials after which more of them gain nothing."""
    for k, now, after in zip(trials, rates, rates[1:], strict=False):
        if after < RISES * now:
            return f"K = {k}"
    return f"more than K = {trials[-1]}"


def together(plan: Plan, k: int, mps: bool, source: DataSource, folder: Path) -> float:
    """Images a second of K processes together."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(k), context.Queue()
    processes = [
        context.Process(target=_trial, args=(plan, mps, source, folder, i, barrier, results))
        for i in range(k)
    ]
    try:
        for process in processes:
            process.start()
        try:
            found = [results.get(timeout=PATIENCE) for _ in processes]
        except queue.Empty as error:
            raise RuntimeError(f"a process of {k} gave no answer") from error
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()
    if problems := [problem for problem, _, _ in found if problem]:
        raise RuntimeError(problems[0])
    wall = max(end for _, _, end in found) - min(start for _, start, _ in found)
    return k * plan.steps * plan.shared.batch_size / wall


def _trial(
    plan: Plan, mps: bool, source: DataSource, folder: Path, seed: int, barrier: Any, results: Any
) -> None:
    if not mps:
        os.environ.pop("CUDA_MPS_PIPE_DIRECTORY", None)
    try:
        steps = Steps(plan.warm, plan.steps, meet=lambda: barrier.wait(PATIENCE))
        train_ours(plan.device, plan.shared, source, folder, steps, seed)
        results.put(("", *steps.marks))
    except Exception as error:
        barrier.abort()
        results.put((f"{type(error).__name__}: {error}", 0.0, 0.0))


@contextmanager
def multi_process_service(device: str) -> Iterator[bool]:
    """NVIDIA's MPS in a folder of our own while it lasts; False where it is not installed."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None or not device.startswith("cuda"):
        yield False
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        for name in names:
            os.environ[name] = folder
        try:
            started = subprocess.run([control, "-d"], check=False).returncode == 0
            yield started
            if started:
                subprocess.run([control], input=b"quit\n", check=False)
        finally:
            for name in names:
                os.environ.pop(name, None)


def _joined(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers)
