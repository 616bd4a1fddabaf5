"""Runs: interrupted anywhere and resumed, they end as if nothing had happened."""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneoff.trainer import checkpoint, evaluate
from tuneoff.trainer.contract import EpochRecord, RunSeed
from tuneoff.trainer.errors import CheckpointError, Diverged, Interrupted, TrainerError
from tuneoff.trainer.models import proxies
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.registry import SCHEDULES
from tuneoff.trainer.torch_trainer import TorchTrainer

# 1,295 training images: 3 batches an epoch, the last of 271.
SMALL = Recipe(epochs=3, batch_size=512, patience=1, step_epochs=1, warmup_epochs=0.5)
BATCHES = 3
PARAMS = HyperParams(lr=0.1)


def never() -> bool:
    return False


def at(*calls: int) -> Callable[[], bool]:
    """A tick that says stop at these calls, counted from 1."""
    count = iter(range(1, 10_000))
    return lambda: next(count) in calls


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load_newest(folder, {})
    assert found is not None
    return dict(found.model)


def average(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load_newest(folder, {})
    assert found is not None
    return dict(found.average or {})


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


def timeless(records: list[EpochRecord]) -> list[EpochRecord]:
    return [replace(record, seconds=0.0, replayed=False) for record in records]


@pytest.fixture
def train(digits_trainer: TorchTrainer) -> Callable[..., Iterator[EpochRecord]]:
    """train(folder, tick, recipe=SMALL, params=PARAMS, seed=RunSeed())."""

    def run(
        folder: Path,
        tick: Callable[[], bool] = never,
        recipe: Recipe = SMALL,
        params: HyperParams = PARAMS,
        seed: RunSeed = RunSeed(),  # noqa: B008 - frozen
    ) -> Iterator[EpochRecord]:
        return digits_trainer.train(recipe, params, seed, folder, tick)

    return run


Train = Callable[..., Iterator[EpochRecord]]


@dataclass(frozen=True)
class Whole:
    """A run that nothing interrupted; its folder must not be changed."""

    records: list[EpochRecord]
    folder: Path


@pytest.fixture(scope="module")
def uninterrupted(
    digits_trainer: TorchTrainer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Whole]:
    """uninterrupted(recipe=SMALL): the whole run with it, trained once for all tests."""
    made: dict[str, Whole] = {}

    def run(recipe: Recipe = SMALL) -> Whole:
        if repr(recipe) not in made:
            folder = tmp_path_factory.mktemp("whole")
            records = list(digits_trainer.train(recipe, PARAMS, RunSeed(), folder, never))
            made[repr(recipe)] = Whole(records, folder)
        return made[repr(recipe)]

    return run


Uninterrupted = Callable[..., Whole]


@pytest.mark.slow
def test_a_run_learns_and_records_each_epoch(train: Train, tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, batch_size=128, schedule="cosine", precision="fp32")
    records = list(train(tmp_path, recipe=recipe))
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1].validation_error < 0.08
    assert records[-1].train_loss < records[0].train_loss / 3
    assert not any(record.replayed for record in records)
    assert all(record.seconds > 0 for record in records)
    assert records[0].lr < 0.1
    assert records[-1].lr < 1e-3


@pytest.mark.slow
def test_a_bad_rate_is_much_worse(train: Train, tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, batch_size=128, schedule="cosine", precision="fp32")
    records = list(train(tmp_path, recipe=recipe, params=HyperParams(lr=0.001)))
    assert records[-1].validation_error > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "precision"), [*((name, "fp32") for name in SCHEDULES.names), ("plateau", "bf16")]
)
def test_interrupted_anywhere_and_resumed_is_as_uninterrupted(
    train: Train, uninterrupted: Uninterrupted, tmp_path: Path, schedule: str, precision: str
) -> None:
    recipe = replace(SMALL, schedule=schedule, precision=precision)
    whole = uninterrupted(recipe)
    # Calls of tick in an epoch: one after each of 3 batches, one before its checkpoint.
    for stop in (1, 2, 3, 4, 6, 2 * (BATCHES + 1) + 1, 3 * (BATCHES + 1)):
        folder = tmp_path / str(stop)
        first: list[EpochRecord] = []
        with pytest.raises(Interrupted) as caught:
            first.extend(train(folder, at(stop), recipe))
        done = stop // (BATCHES + 1)
        assert caught.value.epoch == done
        second = list(train(folder, recipe=recipe))
        assert [record.replayed for record in second] == [True] * done + [False] * (3 - done)
        assert timeless(second) == timeless(whole.records)
        assert same(weights(folder), weights(whole.folder))


@pytest.mark.slow
def test_interrupted_after_every_single_batch(
    train: Train, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    whole = uninterrupted()
    for _ in range(100):
        try:
            records = list(train(tmp_path / "pieces", at(1)))
            break
        except Interrupted:
            continue
    assert timeless(records) == timeless(whole.records)
    assert same(weights(tmp_path / "pieces"), weights(whole.folder))


@pytest.mark.slow
def test_a_closed_iterator_leaves_a_checkpoint_of_every_epoch_it_gave(
    train: Train, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    whole = uninterrupted()
    for record in train(tmp_path / "closed"):
        assert (tmp_path / "closed" / f"{record.epoch:06d}-00000000.ckpt").exists()
        if record.epoch == 2:
            break
    again = list(train(tmp_path / "closed"))
    assert [record.replayed for record in again] == [True, True, False]
    assert timeless(again) == timeless(whole.records)
    assert same(weights(tmp_path / "closed"), weights(whole.folder))


@pytest.mark.slow
def test_a_finished_run_is_only_replayed(
    train: Train, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    whole = uninterrupted()
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    def unwanted() -> bool:
        raise AssertionError("nothing is trained")

    again = list(train(tmp_path, unwanted))
    assert [record.replayed for record in again] == [True] * 3
    assert timeless(again) == timeless(whole.records)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_what_tick_raises_passes_through_and_nothing_is_written(
    train: Train, tmp_path: Path
) -> None:
    class LostError(Exception):
        pass

    # The fourth call comes immediately before the first epoch's checkpoint.
    for call in (1, 4):
        count = iter(range(1, 100))

        def tick(count: Iterator[int] = count, call: int = call) -> bool:
            if next(count) == call:
                raise LostError
            return False

        with pytest.raises(LostError):
            list(train(tmp_path / str(call), tick))
        assert not (tmp_path / str(call)).exists()


def test_tick_can_forbid_the_checkpoint_of_an_interruption(train: Train, tmp_path: Path) -> None:
    class LostError(Exception):
        pass

    count = iter((1, 2))

    def tick() -> bool:
        if next(count) == 2:
            raise LostError
        return True

    with pytest.raises(LostError):
        list(train(tmp_path / "x", tick))
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_long_validation_shows_signs_of_life(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def tick() -> bool:
        calls.append("tick")
        return False

    list(train(tmp_path / "short", tick))
    short = len(calls)
    calls.clear()
    monkeypatch.setattr(evaluate, "BATCH", 10)
    list(train(tmp_path / "long", tick))
    assert len(calls) > 2 * short


@pytest.mark.slow
def test_equal_seeds_give_equal_runs_and_replicas_differ(train: Train, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=1)
    a = list(train(tmp_path / "a", recipe=recipe))
    b = list(train(tmp_path / "b", recipe=recipe))
    c = list(train(tmp_path / "c", recipe=recipe, seed=RunSeed(replica=1)))
    assert timeless(a) == timeless(b)
    assert a[0].train_loss != c[0].train_loss
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.slow
def test_the_global_generators_play_no_part(train: Train, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=1)
    torch.manual_seed(1)
    list(train(tmp_path / "a", recipe=recipe))
    torch.manual_seed(2)
    list(train(tmp_path / "b", recipe=recipe))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("lr", [1e4, 1e6])
def test_divergence(train: Train, tmp_path: Path, lr: float) -> None:
    with pytest.raises(Diverged) as caught:
        list(train(tmp_path, params=HyperParams(lr=lr), recipe=replace(SMALL, precision="fp32")))
    assert 1 <= caught.value.epoch <= 3


def test_a_damaged_checkpoint_costs_one_epoch_and_a_warning(
    train: Train,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = uninterrupted()
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "000003-00000000.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 255
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = list(train(tmp_path))
    assert [record.replayed for record in again] == [True, True, False]
    assert timeless(again) == timeless(whole.records)
    assert "the previous one, 000002-00000000.ckpt, is used" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"recipe": replace(SMALL, flip=False)}, "recipe"),
        ({"params": HyperParams(lr=0.2)}, "params"),
        ({"seed": RunSeed(trial=1)}, "seed"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_used(
    train: Train,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, object],
    name: str,
) -> None:
    shutil.copytree(uninterrupted().folder, tmp_path, dirs_exist_ok=True)
    with caplog.at_level(logging.WARNING):
        records = list(train(tmp_path, **changed))
    assert not any(record.replayed for record in records)
    assert f"it belongs to a run with another {name}" in caplog.text
    assert all(record.replayed for record in train(tmp_path, **changed))


@pytest.mark.slow
def test_a_full_disk_stops_the_run_which_then_goes_on(
    train: Train,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = uninterrupted()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = train(tmp_path / "full")
    next(run)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match="the run goes on from epoch 2"):
            next(run)
    records = list(train(tmp_path / "full"))
    assert [record.replayed for record in records] == [True, False, False]
    assert timeless(records) == timeless(whole.records)
    assert same(weights(tmp_path / "full"), weights(whole.folder))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["proxy-residual", "proxy-dense", "resnet18"])
def test_other_models_resume_bit_for_bit_too(train: Train, tmp_path: Path, model: str) -> None:
    recipe = replace(SMALL, model=model, epochs=2)
    whole = list(train(tmp_path / "whole", recipe=recipe))
    with pytest.raises(Interrupted):
        list(train(tmp_path / "cut", at(6), recipe))
    assert timeless(list(train(tmp_path / "cut", recipe=recipe))) == timeless(whole)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


# Options: each alone, then all together

OPTIONS: dict[str, dict[str, Any]] = {
    "nesterov": {"nesterov": True},
    "no decay of norms": {"decay_norms": False},
    "layer decay": {"layer_decay": {"fc": 30.0, "features.0": 0.0}},
    "clip": {"clip": 0.5},
    "label smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "both mixtures": {"mixup": 0.4, "cutmix": 1.0},
    "ema": {"ema": 0.9},
    "crops": {"crop_padding": 2},
    "frozen": {"frozen_epochs": 1},
    "linear probe": {"frozen_epochs": 3},
    "frozen stages": {"frozen_stages": 2},
    "gradual unfreezing": {"unfreeze_every": 1, "frozen_stages": 1},
    "rates of stages": {"head_lr_factor": 3.0, "layer_lr_decay": 0.5},
    "accumulation": {"accumulation": 3},
    "no flips": {"flip": False},
    "adamw": {"optimizer": "adamw", "optimizer_options": {"beta2": 0.9}, "clip": 0.5},
    "lion": {"optimizer": "lion", "unfreeze_every": 1},
    "rmsprop": {"optimizer": "rmsprop", "head_lr_factor": 0.5},
    "growing images": {
        "start_size": 8,
        "data": DataSource("digits", image_size=16),
        "schedule": "linear",
    },
    "dense": {"model": "proxy-dense", "frozen_epochs": 1, "ema": 0.5},
}
OPTIONS["all"] = {
    **{name: value for options in OPTIONS.values() for name, value in options.items()},
    "model": "proxy",
    "frozen_epochs": 1,
    "flip": True,
    "schedule": "cosine",
    "optimizer": "adam",
    "optimizer_options": {"amsgrad": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_resumes_bit_for_bit(
    train: Train, uninterrupted: Uninterrupted, tmp_path: Path, options: dict[str, Any]
) -> None:
    recipe = replace(SMALL, **options)
    whole = uninterrupted(recipe)
    again = list(train(tmp_path / "again", recipe=recipe))
    assert timeless(again) == timeless(whole.records)
    # In the first epoch, before its checkpoint, in the next, and in the last.
    for stop in (2, BATCHES + 1, BATCHES + 2, 2 * (BATCHES + 1) + 2):
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            list(train(folder, at(stop), recipe))
        assert timeless(list(train(folder, recipe=recipe))) == timeless(whole.records)
        assert same(weights(folder), weights(whole.folder))
        assert same(average(folder), average(whole.folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"l2_sp": 0.5, "frozen_stages": 1, "unfreeze_every": 1, "ema": 0.9, "clip": 0.5},
        {"frozen_norms": True, "head_lr_factor": 3.0, "l2_sp": 0.5, "accumulation": 2},
    ],
)
def test_fine_tuning_resumes_bit_for_bit(
    train: Train, tmp_path: Path, options: dict[str, Any]
) -> None:
    """The weights to which L2-SP pulls are those of the file, not those of the checkpoint."""
    list(train(tmp_path / "first", recipe=SMALL))
    torch.save(weights(tmp_path / "first"), tmp_path / "weights.pt")
    recipe = replace(SMALL, weights=str(tmp_path / "weights.pt"), **options)
    whole = list(train(tmp_path / "whole", recipe=recipe))
    for stop in (2, BATCHES + 2, 2 * (BATCHES + 1) + 2):
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            list(train(folder, at(stop), recipe))
        assert timeless(list(train(folder, recipe=recipe))) == timeless(whole)
        assert same(weights(folder), weights(tmp_path / "whole"))
        assert same(average(folder), average(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_makes_a_difference(
    uninterrupted: Uninterrupted, options: dict[str, Any]
) -> None:
    plain = uninterrupted(replace(SMALL, model=options.get("model", "proxy")))
    changed = uninterrupted(replace(SMALL, **options))
    a, b = weights(plain.folder), weights(changed.folder)
    if options.keys() == {"ema"}:
        assert same(a, b)
        assert not same(average(changed.folder), b)
    else:
        assert not same(a, b)
    assert all(math.isfinite(record.validation_loss) for record in changed.records)


@pytest.mark.slow
def test_all_options_learn(train: Train, tmp_path: Path) -> None:
    recipe = replace(SMALL, **OPTIONS["all"], epochs=18, batch_size=64, precision="fp32")
    records = list(train(tmp_path, recipe=recipe))
    assert records[-1].validation_error < 0.6  # of images that hardly look alike twice


@pytest.mark.slow
def test_the_average_is_what_is_evaluated(
    train: Train, uninterrupted: Uninterrupted, digits_trainer: TorchTrainer, tmp_path: Path
) -> None:
    recipe = replace(SMALL, ema=0.99)
    record = list(train(tmp_path, recipe=recipe))[-1]
    assert digits_trainer.evaluate(recipe, tmp_path, "validation").error == record.validation_error
    plain = uninterrupted().records[-1]
    assert record.validation_loss != plain.validation_loss
    assert record.train_loss == plain.train_loss


# Memory


class Memory:
    """A device that takes so many images at once; from its ``after``-th forward pass on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, images: int, after: int = 0) -> None:
        self.passes = 0
        forward = proxies.Proxy.forward

        def limited(net: proxies.Proxy, batch: torch.Tensor) -> torch.Tensor:
            if batch.device.type == "meta":  # how much memory would do is being found out
                return forward(net, batch)
            self.passes += net.training
            if net.training and len(batch) > images and self.passes > after:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nlots")
            return forward(net, batch)

        monkeypatch.setattr(proxies.Proxy, "forward", limited)


def parts(records: list[EpochRecord]) -> list[int]:
    return [record.accumulation for record in records]


@pytest.mark.slow
@pytest.mark.parametrize(("images", "needed"), [(300, 2), (128, 4), (20, 32)])
def test_too_little_memory_from_the_start(
    train: Train,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    images: int,
    needed: int,
) -> None:
    whole = uninterrupted(replace(SMALL, accumulation=needed))
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        Memory(patch, images)
        records = list(train(tmp_path / "small", recipe=replace(SMALL, halve_on_oom=True)))
    assert parts(records) == [needed] * 3
    assert timeless(records) == timeless(whole.records)
    assert same(weights(tmp_path / "small"), weights(whole.folder))
    assert f"each batch is now divided into parts of {512 // needed} images" in caplog.text
    assert caplog.text.count("out of memory") == math.log2(needed)


@pytest.mark.slow
@pytest.mark.parametrize("after", [BATCHES, BATCHES + 1, 2 * BATCHES])
@pytest.mark.parametrize(("images", "needed"), [(300, 2), (100, 8)])
def test_memory_that_runs_out_later(
    train: Train,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    needed: int,
    after: int,
) -> None:
    recipe = replace(SMALL, halve_on_oom=True)
    whole = uninterrupted(recipe)
    with monkeypatch.context() as patch:
        Memory(patch, images, after)
        records = list(train(tmp_path / "small", recipe=recipe))
    done = after // BATCHES
    assert [record.epoch for record in records] == [1, 2, 3]
    assert not any(record.replayed for record in records)
    assert parts(records) == [1] * done + [needed] * (3 - done)
    assert timeless(records[:done]) == timeless(whole.records[:done])


@pytest.mark.slow
def test_a_resumed_run_remembers_how_little_memory_there_is(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SMALL, halve_on_oom=True)
    with monkeypatch.context() as patch:
        Memory(patch, 300)
        whole = list(train(tmp_path / "whole", recipe=recipe))
        for stop in (2, BATCHES + 1, BATCHES + 2):
            with pytest.raises(Interrupted):
                list(train(tmp_path / str(stop), at(stop), recipe))
    for stop in (2, BATCHES + 1, BATCHES + 2):  # elsewhere, with memory enough
        records = list(train(tmp_path / str(stop), recipe=recipe))
        assert timeless(records) == timeless(whole)
        assert parts(records) == [2, 2, 2]
        assert same(weights(tmp_path / str(stop)), weights(tmp_path / "whole"))


def test_memory_for_not_even_two_images(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(monkeypatch, 1)
    with pytest.raises(TrainerError, match="does not fit into the memory of cpu"):
        list(train(tmp_path, recipe=replace(SMALL, halve_on_oom=True)))


def test_without_leave_to_halve_the_run_fails_in_one_line(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(monkeypatch, 300)
    with pytest.raises(TrainerError, match=r"batch_size = 512 .* halve_on_oom = true") as caught:
        list(train(tmp_path))
    assert "\n" not in str(caught.value)
    assert type(caught.value) is TrainerError  # of this trial, not of the study
