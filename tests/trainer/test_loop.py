"""Runs: interrupted anywhere and resumed, they end as if nothing had happened."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer import checkpoint, evaluate
from trainer.contract import SCHEDULES, EpochRecord, HyperParams, Recipe, RunSeed
from trainer.errors import CheckpointError, Diverged, Interrupted
from trainer.torch_trainer import TorchTrainer

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


def test_a_bad_rate_is_much_worse(train: Train, tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, batch_size=128, schedule="cosine", precision="fp32")
    records = list(train(tmp_path, recipe=recipe, params=HyperParams(lr=0.001)))
    assert records[-1].validation_error > 0.2


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_interrupted_anywhere_and_resumed_is_as_uninterrupted(
    train: Train, tmp_path: Path, schedule: str, precision: str
) -> None:
    recipe = replace(SMALL, schedule=schedule, precision=precision)
    whole = list(train(tmp_path / "whole", recipe=recipe))
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
        assert timeless(second) == timeless(whole)
        assert same(weights(folder), weights(tmp_path / "whole"))


def test_interrupted_after_every_single_batch(train: Train, tmp_path: Path) -> None:
    whole = list(train(tmp_path / "whole"))
    for _ in range(100):
        try:
            records = list(train(tmp_path / "pieces", at(1)))
            break
        except Interrupted:
            continue
    assert timeless(records) == timeless(whole)
    assert same(weights(tmp_path / "pieces"), weights(tmp_path / "whole"))


def test_a_closed_iterator_leaves_a_checkpoint_of_every_epoch_it_gave(
    train: Train, tmp_path: Path
) -> None:
    whole = list(train(tmp_path / "whole"))
    for record in train(tmp_path / "closed"):
        assert (tmp_path / "closed" / f"{record.epoch:06d}-00000000.ckpt").exists()
        if record.epoch == 2:
            break
    again = list(train(tmp_path / "closed"))
    assert [record.replayed for record in again] == [True, True, False]
    assert timeless(again) == timeless(whole)
    assert same(weights(tmp_path / "closed"), weights(tmp_path / "whole"))


def test_a_finished_run_is_only_replayed(train: Train, tmp_path: Path) -> None:
    whole = list(train(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    def unwanted() -> bool:
        raise AssertionError("nothing is trained")

    again = list(train(tmp_path, unwanted))
    assert [record.replayed for record in again] == [True] * 3
    assert timeless(again) == timeless(whole)
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


def test_equal_seeds_give_equal_runs_and_replicas_differ(train: Train, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=1)
    a = list(train(tmp_path / "a", recipe=recipe))
    b = list(train(tmp_path / "b", recipe=recipe))
    c = list(train(tmp_path / "c", recipe=recipe, seed=RunSeed(replica=1)))
    assert timeless(a) == timeless(b)
    assert a[0].train_loss != c[0].train_loss
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_the_global_generators_play_no_part(train: Train, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=1)
    torch.manual_seed(1)
    list(train(tmp_path / "a", recipe=recipe))
    torch.manual_seed(2)
    list(train(tmp_path / "b", recipe=recipe))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_divergence(train: Train, tmp_path: Path, lr: float) -> None:
    with pytest.raises(Diverged) as caught:
        list(train(tmp_path, params=HyperParams(lr=lr), recipe=replace(SMALL, precision="fp32")))
    assert 1 <= caught.value.epoch <= 3


def test_a_damaged_checkpoint_costs_one_epoch_and_a_warning(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = list(train(tmp_path))
    newest = tmp_path / "000003-00000000.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 255
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = list(train(tmp_path))
    assert [record.replayed for record in again] == [True, True, False]
    assert timeless(again) == timeless(whole)
    assert "the previous one, 000002-00000000.ckpt, is used" in caplog.text


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
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, object],
    name: str,
) -> None:
    list(train(tmp_path))
    with caplog.at_level(logging.WARNING):
        records = list(train(tmp_path, **changed))
    assert not any(record.replayed for record in records)
    assert f"it is of a run with another {name}" in caplog.text
    assert all(record.replayed for record in train(tmp_path, **changed))


def test_a_full_disk_stops_the_run_which_then_goes_on(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(train(tmp_path / "whole"))

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
    assert timeless(records) == timeless(whole)
    assert same(weights(tmp_path / "full"), weights(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["proxy-residual", "proxy-dense", "resnet18"])
def test_other_models_resume_bit_for_bit_too(train: Train, tmp_path: Path, model: str) -> None:
    recipe = replace(SMALL, model=model, epochs=2)
    whole = list(train(tmp_path / "whole", recipe=recipe))
    with pytest.raises(Interrupted):
        list(train(tmp_path / "cut", at(6), recipe))
    assert timeless(list(train(tmp_path / "cut", recipe=recipe))) == timeless(whole)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
