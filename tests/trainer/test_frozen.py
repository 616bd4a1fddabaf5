"""Runs on the kept outputs of frozen stages: equal to runs that compute them, and made once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tuneoff.trainer import checkpoint
from tuneoff.trainer.contract import EpochRecord, RunSeed
from tuneoff.trainer.data.batches import Resident
from tuneoff.trainer.distributed import ALONE
from tuneoff.trainer.errors import Interrupted
from tuneoff.trainer.frozen import Kept, KeptOutputs
from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

PROBE = Recipe(
    model="proxy-residual", epochs=2, frozen_epochs=2, batch_size=64, images=256, precision="fp32"
)
PARAMS = HyperParams(lr=0.05)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights for ``PROBE``."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(factory.build(replace(PROBE, weights="none"), 10, seed=3).state_dict(), path)
    return str(path)


@pytest.fixture
def probe(weights: str) -> Recipe:
    return replace(PROBE, weights=weights)


def train(
    trainer: TorchTrainer, recipe: Recipe, folder: Path, tick: Callable[[], bool] = never
) -> list[EpochRecord]:
    return list(trainer.train(recipe, PARAMS, RunSeed(), folder, tick))


def kept_in(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("frozen-*") if path.is_dir())


def assert_close(found: list[EpochRecord], expected: list[EpochRecord]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-5)
        assert one.validation_error == pytest.approx(other.validation_error, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frozen_epochs": 1, "frozen_stages": 2, "flip": False, "ema": 0.5},
        {"precision": "bf16", "accumulation": 2},
        {"model": "proxy", "epochs": 1, "frozen_epochs": 1},
    ],
    ids=["plain", "half", "bf16", "other model"],
)
def test_a_linear_probe_on_kept_outputs_is_the_same_run(
    session_cache: Path, tmp_path: Path, probe: Recipe, changes: dict[str, Any]
) -> None:
    recipe = replace(probe, **changes)
    if recipe.model != probe.model:
        other = tmp_path / "other.pth"
        torch.save(factory.build(replace(recipe, weights="none"), 10, 1).state_dict(), other)
        recipe = replace(recipe, weights=str(other))
    trainer = TorchTrainer("cpu", cache=session_cache)
    expected = train(trainer, replace(recipe, cache_features="off"), tmp_path / "off")
    found = train(trainer, recipe, tmp_path / "on")
    assert_close(found, expected)
    # The checkpoint has the whole model: it is evaluated from the images.
    scores = trainer.evaluate(recipe, tmp_path / "on", "validation")
    assert scores.error == pytest.approx(found[-1].validation_error, abs=0.01)


@pytest.mark.slow
def test_interrupted_with_them_and_resumed_without_them(
    session_cache: Path, tmp_path: Path, probe: Recipe
) -> None:
    trainer = TorchTrainer("cpu", cache=session_cache)
    whole = train(trainer, probe, tmp_path / "whole")
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        train(trainer, probe, tmp_path / "cut", lambda: next(calls) == 3)
    assert_close(train(trainer, replace(probe, cache_features="off"), tmp_path / "cut"), whole)


@pytest.mark.slow
def test_the_first_run_computes_them_and_the_next_ones_find_them(
    tmp_path: Path, probe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tuneoff.trainer.frozen")
    for name in ("first", "second", "third"):
        trainer = TorchTrainer("cpu", cache=tmp_path / "cache")
        train(trainer, probe, tmp_path / name)
    assert [message.split(" for ")[0] for message in caplog.messages if "compute" in message] == [
        "the frozen stages compute their outputs"
    ]
    assert len(kept_in(tmp_path / "cache")) == 1


@pytest.mark.slow
def test_a_stop_while_they_are_computed_leaves_a_checkpoint_and_no_part_of_them(
    tmp_path: Path, probe: Recipe
) -> None:
    trainer = TorchTrainer("cpu", cache=tmp_path / "cache")
    trainer.check(probe)
    with pytest.raises(Interrupted):
        train(trainer, probe, tmp_path / "run", lambda: True)
    assert kept_in(tmp_path / "cache") == []
    assert not list((tmp_path / "cache").glob("making-*"))
    found = checkpoint.load_newest(tmp_path / "run", {})
    assert found is not None
    assert (found.epoch, found.batch) == (0, 0)
    assert len(train(trainer, probe, tmp_path / "run")) == probe.epochs


@pytest.mark.slow
def test_a_full_disk_costs_one_warning_and_no_run(
    tmp_path: Path,
    probe: Recipe,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("tuneoff.trainer.data.features.shutil.disk_usage", lambda _: usage)
    trainer = TorchTrainer("cpu", cache=tmp_path / "cache")
    recipe = replace(probe, epochs=1, frozen_epochs=1)
    for name in ("first", "second"):
        train(trainer, recipe, tmp_path / name)
    (warning,) = caplog.messages
    assert "free some space" in warning
    assert warning.endswith("until then they are computed anew in each epoch")
    assert kept_in(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"crop_padding": 1}, "crop_padding shows other crops in each epoch"),
        ({"mixup": 0.2}, "mixup makes other images in each batch"),
        ({"cutmix": 1.0}, "cutmix makes other images in each batch"),
        ({"start_size": 8}, "start_size shows images of other sizes in each epoch"),
        ({"weights": "none"}, 'each run has its own random weights (weights = "none")'),
        ({"cache_features": "off"}, 'cache_features = "off"'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_kept_is_said_in_one_note(
    digits_trainer: TorchTrainer, probe: Recipe, changes: dict[str, Any], reason: str
) -> None:
    recipe = replace(probe, **changes)
    *_, note = digits_trainer.check(recipe).notes
    assert note == (
        "the frozen stages (stem to block3) are computed anew in each epoch, because " + reason
    )


def test_what_is_kept_is_said_with_its_size(digits_trainer: TorchTrainer, probe: Recipe) -> None:
    *_, note = digits_trainer.check(probe).notes
    assert note == (
        "the outputs of the frozen stages (stem to block3) are computed once and kept for all "
        "runs: 1 MB"
    )
    thawed = digits_trainer.check(replace(probe, frozen_epochs=1)).notes
    assert not any("frozen" in note for note in thawed)


# What follows needs no trainer: twelve images, of which eight are for training.


def outputs_of(
    cache: Path, recipe: Recipe, tick: Callable[[], bool] = never, digest: str = "data"
) -> Kept:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    data = Resident(torch.from_numpy(pixels), torch.zeros(12, dtype=torch.int64))
    model = factory.build(replace(recipe, weights="none"), 10, seed=len(recipe.weights))
    splits = {"train": np.arange(8), "validation": np.arange(8, 12)}
    return KeptOutputs(cache).of(model, recipe, data, splits, digest, ALONE, tick)  # type: ignore[arg-type]


def test_other_weights_data_precision_and_cuts_are_kept_apart(tmp_path: Path) -> None:
    recipe = replace(PROBE, weights="a")
    found = [
        outputs_of(tmp_path, recipe),
        outputs_of(tmp_path, replace(recipe, weights="ab")),  # the seed, too, is another
        outputs_of(tmp_path, recipe, digest="other data"),
        outputs_of(tmp_path, replace(recipe, precision="bf16")),
        outputs_of(tmp_path, replace(recipe, flip=False)),
        outputs_of(tmp_path, replace(recipe, frozen_epochs=0, frozen_stages=2)),
    ]
    assert len(kept_in(tmp_path)) == len(found)
    assert all(kept.seconds > 0 for kept in found)
    again = outputs_of(tmp_path, replace(recipe, batch_size=2, test_view="flip"))
    assert again.stored is not None
    assert again.seconds == 0


def _compute_in_child(cache: str, results: multiprocessing.SimpleQueue[float]) -> None:
    def slow() -> bool:
        time.sleep(0.1)
        return False

    results.put(outputs_of(Path(cache), replace(PROBE, weights="a"), slow).seconds)


@pytest.mark.slow
def test_eight_processes_compute_them_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    children = [
        context.Process(target=_compute_in_child, args=(str(tmp_path), results)) for _ in range(8)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 8
    assert sum(results.get() > 0 for _ in range(8)) == 1


def _wait_in_child(cache: str) -> None:
    def tick() -> bool:
        Path(cache, "computing").touch()
        time.sleep(60)
        return False

    outputs_of(Path(cache), replace(PROBE, weights="a"), tick)


def test_what_a_killed_process_began_another_computes(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(
        target=_wait_in_child, args=(str(tmp_path),)
    )
    child.start()
    while not (tmp_path / "computing").exists():
        assert child.is_alive()
        time.sleep(0.01)
    assert list(tmp_path.glob("making-frozen-*"))
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(60)
    kept = outputs_of(tmp_path, replace(PROBE, weights="a"))
    assert kept.stored is not None
    assert kept.seconds > 0
    assert not list(tmp_path.glob("making-*"))
    assert kept.frozen == 4
