"""What a training step is said to take, against what real steps allocate; and what is free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tuneoff.trainer import memory, optim
from tuneoff.trainer.affects import Affects, affecting
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.distributed import ALONE
from tuneoff.trainer.memory import Footprint
from tuneoff.trainer.models import factory
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step import Stepper

SIDE, CLASSES = 64, 20


def predicted(recipe: Recipe) -> Footprint:
    return memory.footprint(recipe, CLASSES, SIDE, SIDE)


def measured(recipe: Recipe, batch_size: int) -> int:
    """Bytes allocated at the fullest moment of a real training step that is not the first."""
    model = factory.build(recipe, CLASSES, seed=0).train()
    model.to(memory_format=torch.channels_last)
    stepper = Stepper(model, optim.sgd(model, recipe, HyperParams()), recipe, 1, ALONE)
    images = torch.randn(batch_size, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    labels = torch.arange(batch_size) % CLASSES
    stepper.step(images[:2], Targets(labels[:2]), 2, 0.01, 0)
    weights = sum(p.nbytes for p in model.parameters())
    buffers = sum(b.nbytes for b in model.buffers())
    before = 3 * weights + buffers + images.nbytes + labels.nbytes  # gradients and momentum too
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        stepper.step(images, Targets(labels), batch_size, 0.01, 1)
    # Every allocation and, below 0, every freeing; also of what oneDNN allocates in secret.
    events = profiler.profiler.kineto_results.events()
    changes = [e for e in events if e.name() == "[memory]"]
    now = peak = 0
    for change in sorted(changes, key=lambda e: e.start_ns()):
        now += change.nbytes()
        peak = max(peak, now)
    assert peak > 0
    return before + peak


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("model", "batch_sizes"),
    [
        ("proxy", (16, 48)),
        ("proxy-residual", (16, 48)),
        ("proxy-dense", (16, 48)),
        pytest.param("resnet18", (64, 160), marks=pytest.mark.slow),
        pytest.param("densenet121", (8, 24), marks=pytest.mark.slow),
        pytest.param("densenet121 again", (8, 24), marks=pytest.mark.slow),
    ],
)
def test_real_steps_take_what_is_said(
    model: str, precision: str, batch_sizes: tuple[int, int]
) -> None:
    name, _, again = model.partition(" ")
    recipe = Recipe(model=name, precision=precision, memory_efficient=bool(again))
    said = predicted(recipe)
    took = [measured(recipe, batch_size) for batch_size in batch_sizes]
    for batch_size, real in zip(batch_sizes, took, strict=True):
        assert 0.95 * said.peak(batch_size) < real < said.peak(batch_size) + memory.WORKSPACE


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.names)
def test_bf16_takes_little_more_than_half_for_each_image(model: str) -> None:
    each = {
        precision: predicted(Recipe(model=model, precision=precision)).moments[-1][1]
        for precision in ("fp32", "bf16")
    }
    assert 0.5 < each["bf16"] / each["fp32"] < 0.65


@pytest.mark.slow
def test_the_largest_batch_is_the_largest() -> None:
    said = predicted(Recipe(model="resnet18"))
    for batch_size in (1, 2, 17, 1000):
        needed = said.peak(batch_size) + memory.WORKSPACE
        free = round(needed / memory.USABLE) + 1
        assert said.largest_batch(free) == batch_size
        assert said.largest_batch(round(needed / memory.USABLE) - 2) == batch_size - 1
    assert said.largest_batch(0) == 0


def test_of_moments_the_fullest_counts() -> None:
    said = Footprint(((100, 1), (10, 10)))
    assert [said.peak(n) for n in (5, 10, 20)] == [105, 110, 210]


@pytest.mark.slow
def test_the_size_of_images_and_the_classes_count() -> None:
    small, large = (memory.footprint(Recipe(model="resnet18"), 20, s, s) for s in (32, 64))
    assert large.moments[-1][1] == pytest.approx(4 * small.moments[-1][1], rel=0.01)
    more = memory.footprint(Recipe(model="resnet18"), 20 + 1000, 32, 32)
    # Weights, gradients and momentum of 512 inputs and a bias for each class.
    assert more.moments[0][0] - small.moments[0][0] >= 3 * 4 * 513 * 1000


@pytest.mark.slow
def test_frozen_stages_take_less_and_pretrained_weights_a_copy_more() -> None:
    recipe = Recipe(model="resnet18", precision="fp32", weights="imagenet")
    plain, half = (
        predicted(recipe).moments,
        predicted(recipe.override({"frozen_stages": 3})).moments,
    )
    assert half[0][0] < plain[0][0]  # without gradients and momentum
    assert half[-1][1] < 0.5 * plain[-1][1]  # nothing is kept for the backward pass
    backbone = 4 * 11_176_512
    l2_sp = predicted(recipe.override({"l2_sp": 0.1})).moments
    assert l2_sp[0][0] - plain[0][0] == backbone


@pytest.mark.slow
def test_fields_that_do_not_affect_memory_change_nothing_and_the_others_do() -> None:
    recipe = Recipe(model="densenet121", precision="fp32", weights="imagenet")
    said = predicted(recipe)
    others = {"batch_size": 64, "mixup": 0.2, "label_smoothing": 0.1, "clip": 1.0, "epochs": 3}
    assert predicted(recipe.override(others)) == said
    changes = {"model": "resnet18", "memory_efficient": True, "ema": 0.9, "precision": "bf16"}
    changes |= {"frozen_stages": 1, "l2_sp": 0.1}
    changes["optimizer"] = "adamw"
    below = {"padding", "model_options", "optimizer_options"}
    assert {*changes, *below} == set(affecting(Recipe, Affects.MEMORY))
    for name, value in changes.items():
        assert predicted(recipe.override({name: value})) != said, name
    small = Recipe(model="mobilenet_v2", precision="fp32")
    assert predicted(replace(small, padding="same")) != predicted(small)
    by_reference = replace(small, model="torchvision:mobilenet_v2")
    narrow = replace(by_reference, model_options={"width_mult": 0.5})
    assert predicted(narrow) != predicted(by_reference)
    adam, options = replace(small, optimizer="adam"), {"amsgrad": True}
    assert predicted(replace(adam, optimizer_options=options)) != predicted(adam)


@pytest.mark.slow
def test_tracing_leaves_nothing_behind() -> None:
    process = psutil.Process()
    predicted(Recipe(model="resnet18"))
    before = process.memory_info().rss
    for _ in range(3):
        predicted(Recipe(model="resnet18"))
    assert process.memory_info().rss - before < 30e6  # the weights alone would be 45 MB
    assert torch.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).dtype == torch.float32


def test_free_memory_of_this_machine() -> None:
    assert 0 < memory.free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        Path(root, name).parent.mkdir(parents=True, exist_ok=True)
        Path(root, name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal:  9000 kB\nMemAvailable:   5000 kB\nHugePages_Total:  0\n"}


def group(folder: str, limit: str, used: int, stat: str) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": stat,
    }


def test_the_kernel_says_what_is_available(tmp_path: Path) -> None:
    assert memory.available_bytes(write(tmp_path, MACHINE)) == 5000 * 1024


def test_where_there_is_no_proc(tmp_path: Path) -> None:
    assert memory.available_bytes(tmp_path) == psutil.virtual_memory().total


@pytest.mark.parametrize("path", ["/slice/job", "/a/hosts/path/unknown/here", "/"])
def test_a_control_group_limits(tmp_path: Path, path: str) -> None:
    files = MACHINE | {"proc/self/cgroup": f"0::{path}\n"}
    files |= group("sys/fs/cgroup", "900000", 500000, "anon 7\ninactive_file 50000\n")
    files |= group("sys/fs/cgroup/slice", "max", 0, "inactive_file 0\n")
    files |= group("sys/fs/cgroup/slice/job", "300000", 200000, "inactive_file 1000\n")
    left = 101000 if path == "/slice/job" else 450000
    assert memory.available_bytes(write(tmp_path, files)) == left


def test_an_old_control_group_limits(tmp_path: Path) -> None:
    job = "sys/fs/cgroup/memory/job"
    files = MACHINE | {
        "proc/self/cgroup": "9:cpu,cpuacct:/job\n4:memory:/job\n1:name=systemd:/\n0::/\n",
        f"{job}/memory.limit_in_bytes": "300000\n",
        f"{job}/memory.usage_in_bytes": "250000\n",
        f"{job}/memory.stat": "inactive_file 1\ntotal_inactive_file 20000\n",
    }
    assert memory.available_bytes(write(tmp_path, files)) == 70000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("model", "batch_size"), [("resnet18", 128), ("densenet121", 24)])
def test_on_a_gpu_steps_take_what_is_said(model: str, precision: str, batch_size: int) -> None:
    device = torch.device("cuda")
    recipe = Recipe(model=model, precision=precision)
    network = factory.build(recipe, CLASSES, seed=0).train()
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = Stepper(network, optim.sgd(network, recipe, HyperParams()), recipe, 1, ALONE)
    images = torch.randn(batch_size, 3, 224, 224, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(batch_size, device=device) % CLASSES
    for number in range(2):
        torch.cuda.reset_peak_memory_stats(device)
        stepper.step(images, Targets(labels), batch_size, 0.01, number)
    took = torch.cuda.max_memory_allocated(device)
    said = memory.footprint(recipe, CLASSES, 224, 224).peak(batch_size)
    assert 0.9 * said < took < said / memory.USABLE + memory.WORKSPACE
