"""The trainer's benchmark on a GPU: single trials against the usual trainer, and many on one card.

``STAND_IN`` is a tiny plan for the CPU, with which this can be tested without a GPU.
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
from functools import partial
from pathlib import Path
from typing import Any

import torch
import trainer_latency
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from trainer_data import Pictures, repeated, write_folder
from trainer_table import Row, not_measured
from trainer_usual import Usual, loaders

from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.errors import Interrupted, TrainerError
from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

VALIDATION = 0.05
PATIENCE = 600.0  # seconds in which all processes must reach their measured steps, and end
RISES = 1.05  # throughput that grows by a smaller factor counts as no longer rising


@dataclass(frozen=True)
class Setup:
    """One model in training.

    Attributes:
        size: side in pixels to which images are scaled.
        wanted: the ratio to the usual trainer's rate that is to be reached; None for none.
        above: images a second that are to be exceeded; None for none.
        stock: whether to compare with a plain PyTorch loop too, whose images need no loading.
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
        warmup, steps: optimiser steps before the measured ones, and measured.
        workers: processes of the usual trainer's loaders.
        matrix: side of the matrices whose product gives the card's peak rate.
        concurrent: what each of K trials trains that run at the same time.
        trials: the values of K.
    """

    device: str
    setups: tuple[Setup, ...]
    warmup: int
    steps: int
    workers: int
    matrix: int
    concurrent: Setup
    trials: tuple[int, ...]

    @property
    def images(self) -> int:
        """Number of images that suffices for an epoch of the largest batches."""
        largest = max(setup.batch_size for setup in (*self.setups, self.concurrent))
        return int((self.warmup + self.steps + 1) * largest / (1 - VALIDATION)) + 100

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
    warmup=20,
    steps=60,
    workers=min(16, os.cpu_count() or 1),
    matrix=8192,
    concurrent=_RESNET18,
    trials=(1, 2, 4, 8),
)
STAND_IN = Plan(
    device="cpu",
    setups=(Setup("resnet18", 32, 8, above=1, stock=True), Setup("proxy", 32, 8, wanted=0.01)),
    warmup=1,
    steps=2,
    workers=1,
    matrix=128,
    concurrent=Setup("proxy", 32, 8),
    trials=(1, 2),
)


def gpu_rows(plan: Plan, images: Pictures, folder: Path) -> Iterator[Row]:
    """All rows of this part; if there is no GPU, they say that they are not measured.

    Args:
        plan: what is measured.
        images: at least two classes of them; repeated as often as needed.
        folder: where the benchmark writes.
    """
    if not plan.measurable:
        for setup in plan.setups:
            yield not_measured(setup.what, _wanted(setup))
        yield not_measured(f"GPU: {trainer_latency.WAIT}", "< 1 s")
        yield not_measured(f"GPU: {_joined(plan.trials)} trials of {plan.concurrent.model} at once")
        return
    source = replace(
        write_folder(folder / "gpu", repeated(images, plan.images)), validation=VALIDATION
    )
    peak = matrix_peak(plan.device, plan.matrix)
    yield Row(f"GPU: product of bf16 matrices of {plan.matrix}", f"{peak / 1e12:,.1f} TFLOP/s")
    for setup in plan.setups:
        yield from guarded(setup.what, partial(setup_rows, plan, setup, source, folder, peak))
    small = write_folder(folder / "gpu-small", images)
    yield from guarded(
        f"GPU: {trainer_latency.WAIT}",
        lambda: iter([trainer_latency.row(small, plan.concurrent.model, plan.device, folder, 1.0)]),
    )
    yield from guarded("GPU: trials at once", lambda: together_rows(plan, source, folder))


def guarded(what: str, rows: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows; if they fail, a row that says so, so that the others are not lost with them."""
    try:
        yield from rows()
    except (TrainerError, RuntimeError, OSError) as error:
        yield Row(what, f"failed: {type(error).__name__}: {str(error).splitlines()[0][:120]}")


def setup_rows(
    plan: Plan, setup: Setup, source: DataSource, folder: Path, peak: float
) -> Iterator[Row]:
    """One model, in turns: our trainer, the usual one and, if asked for, a plain PyTorch loop."""
    classes = len((Path(source.path or "") / "wnids.txt").read_text(encoding="utf-8").split())
    measured: dict[str, list[float]] = {"ours": [], "usual": [], "stock": []}
    for _ in range(2):
        measured["ours"].append(our_rate(plan, setup, source, folder))
        measured["usual"].append(usual_rate(plan, setup, source, folder, classes))
        if setup.stock:
            measured["stock"].append(stock_rate(plan, setup, classes))
    ours, usual = max(measured["ours"]), max(measured["usual"])
    of_peak = ours * flops_per_image(setup, classes) / peak
    rate = f"{ours:,.0f}/s, {of_peak:.0%} of the matrix peak"
    met = None
    if setup.above is not None:
        met = ours > setup.above
    elif setup.wanted is not None:
        met = ours / usual >= setup.wanted
    yield Row(setup.what, rate, f"{usual:,.0f}/s", ours / usual, _wanted(setup), met)
    if setup.stock:
        stock = max(measured["stock"])
        what = f"{setup.what}, against a plain bf16 loop on one resident batch"
        yield Row(what, rate, f"{stock:,.0f}/s", ours / stock)


def _wanted(setup: Setup) -> str:
    if setup.above is not None:
        return f"> {setup.above:,.0f} images/s"
    return "" if setup.wanted is None else f">= {setup.wanted:g}"


@dataclass
class Steps:
    """A tick that times the steps after the first ``warmup`` ones, and then asks to stop.

    Attributes:
        warmup: number of steps before the measured ones.
        steps: number of measured steps.
        meet: called right before the measured steps, to wait for other processes.
        marks: when the measured steps began and ended, seconds of the monotonic clock.
        count: number of steps so far.
    """

    warmup: int
    steps: int
    meet: Callable[[], object] = lambda: None
    marks: list[float] = field(default_factory=list)
    count: int = 0

    def __call__(self) -> bool:
        self.count += 1
        if self.count == self.warmup:
            synchronize()
            self.meet()
            self.marks.append(time.monotonic())
        elif self.count == self.warmup + self.steps:
            synchronize()
            self.marks.append(time.monotonic())
        return self.count >= self.warmup + self.steps

    @property
    def seconds(self) -> float:
        return self.marks[1] - self.marks[0]


def synchronize() -> None:
    """Waits until the GPU, if there is one, has done all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def our_rate(plan: Plan, setup: Setup, source: DataSource, folder: Path) -> float:
    """Images a second of our trainer."""
    steps = Steps(plan.warmup, plan.steps)
    train_ours(plan.device, setup, source, folder, steps)
    return plan.steps * setup.batch_size / steps.seconds


def train_ours(
    device: str, setup: Setup, source: DataSource, folder: Path, steps: Steps, seed: int = 0
) -> None:
    """Trains with our trainer until ``steps`` has measured."""
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
    steps = Steps(plan.warmup, plan.steps)
    for images, labels in itertools.islice(train, plan.warmup + plan.steps):
        usual.step(images, labels)
        steps()
    return plan.steps * setup.batch_size / steps.seconds


def stock_rate(plan: Plan, setup: Setup, classes: int) -> float:
    """Images a second of a plain PyTorch loop on one batch: no input, bf16, channels_last."""
    model = factory.build(Recipe(model=setup.model), classes, seed=0).to(plan.device)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(setup.batch_size, 3, setup.size, setup.size, device=plan.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (setup.batch_size,), device=plan.device)
    steps = Steps(plan.warmup, plan.steps)
    for _ in range(plan.warmup + plan.steps):
        with torch.autocast(torch.device(plan.device).type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps()
    return plan.steps * setup.batch_size / steps.seconds


def matrix_peak(device: str, side: int, repeats: int = 20) -> float:
    """The highest rate of ``repeats`` products of two square bf16 matrices, FLOP a second."""
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
    """FLOP of one training step, divided by its images; a multiply-add counts as two."""
    with torch.device("meta"):
        model = factory.build(Recipe(model=setup.model), classes, seed=0)
        images = torch.empty(2, 3, setup.size, setup.size)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    flops: int = counter.get_total_flops()
    return flops / 2


def together_rows(plan: Plan, source: DataSource, folder: Path) -> Iterator[Row]:
    """K trials at once, a process each, without NVIDIA's MPS and, if it is installed, with it."""
    with multi_process_service(plan.device) as there:
        under = [False, True] if there else [False]
        for mps in under:
            rates = []
            for k in plan.trials:
                rates.append(together(plan, k, mps, source, folder))
                what = f"GPU: {k} x {plan.concurrent.model} at {plan.concurrent.size} px at once"
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
    """The smallest number of trials at once that more of them do not improve on."""
    for k, now, after in zip(trials, rates, rates[1:], strict=False):
        if after < RISES * now:
            return f"K = {k}"
    return f"more than K = {trials[-1]}"


def together(plan: Plan, k: int, mps: bool, source: DataSource, folder: Path) -> float:
    """Images a second of K processes, summed up."""
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
            # Of each process: its problem, or "" and when its steps began and ended.
            found: list[tuple[str, float, float]] = [
                results.get(timeout=PATIENCE) for _ in processes
            ]
        except queue.Empty as error:
            raise RuntimeError(
                f"one of {k} processes gave no answer in {PATIENCE:.0f} s"
            ) from error
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
    return k * plan.steps * plan.concurrent.batch_size / wall


def _trial(
    plan: Plan, mps: bool, source: DataSource, folder: Path, seed: int, barrier: Any, results: Any
) -> None:
    if not mps:
        os.environ.pop("CUDA_MPS_PIPE_DIRECTORY", None)
    try:
        steps = Steps(plan.warmup, plan.steps, meet=lambda: barrier.wait(PATIENCE))
        train_ours(plan.device, plan.concurrent, source, folder, steps, seed)
        results.put(("", *steps.marks))
    except Exception as error:
        barrier.abort()
        results.put((f"{type(error).__name__}: {error}", 0.0, 0.0))


@contextmanager
def multi_process_service(device: str) -> Iterator[bool]:
    """NVIDIA's MPS, in a folder of its own, within the block; yields False if not installed."""
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
