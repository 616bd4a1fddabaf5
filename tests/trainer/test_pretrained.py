"""Runs that begin with a file of weights: how their images are normalised, to the last prediction;
and what dropout leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tuneoff.trainer import checkpoint, seeding
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.errors import Interrupted
from tuneoff.trainer.models import factory, published, sources
from tuneoff.trainer.models.published import Published
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

PARAMS = HyperParams(lr=1e-4)  # at larger rates the ReLU behind its head ends at 0 for all images


def never() -> bool:
    return False


@pytest.fixture
def recipe(
    tmp_path: Path,
    tiny_files: dict[str, bytes],
    make_folder: Callable[[Path, dict[str, bytes]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Recipe:
    """A known file of SqueezeNet, which wants what the model's default is not, on made images in
    Tiny ImageNet's layout."""
    path = tmp_path / "squeeze.pth"
    torch.save(factory.build(Recipe(model="squeezenet1_1"), 3, seed=1).state_dict(), path)
    known = Published("Somebody's", "squeezenet1_1", normalise="half", padding="symmetric")
    monkeypatch.setattr(published, "PUBLISHED", {sources.digest(path): known})
    folder = make_folder(tmp_path / "images", tiny_files)
    data = DataSource("tiny-imagenet", str(folder), image_size=32, validation=0.3)
    return Recipe(
        data=data,
        model="squeezenet1_1",
        weights=str(path),
        epochs=1,
        batch_size=6,
        precision="fp32",
    )


@pytest.mark.slow
def test_a_trained_model_needs_no_weights_file_and_sees_images_as_in_training(
    recipe: Recipe, session_cache: Path, tmp_path: Path
) -> None:
    trainer = TorchTrainer(cache=session_cache)
    notes = trainer.check(recipe).notes
    assert 'Somebody\'s: images are normalised as "half", as it was trained' in notes
    folder = tmp_path / "run"
    (record,) = trainer.train(recipe, PARAMS, RunSeed(), folder, never)
    path = checkpoint.newest(folder)
    assert path is not None
    saved = checkpoint.load_newest(folder, {})
    assert saved is not None
    assert (saved.about["normalise"], saved.about["padding"]) == ("half", "symmetric")
    Path(recipe.weights).unlink()
    scores = trainer.evaluate(recipe, folder, "validation")
    assert scores.error == record.validation_error
    test = trainer.evaluate(recipe, folder, "test")
    images = tmp_path / "images" / "val" / "images"
    predicted = trainer.predict(recipe, folder, images)
    assert np.allclose(predicted.logits, test.logits, atol=1e-5)

    # A checkpoint of an earlier version says neither: there was one way only.
    old = {name: saved.about[name] for name in ("classes", "size")}
    checkpoint.save(tmp_path / "old", replace(saved, about=old))
    other = trainer.evaluate(recipe, tmp_path / "old", "test")
    assert np.abs(other.logits - test.logits).max() > 1e-3


def test_each_step_of_each_rank_has_its_own_dropout() -> None:
    seeds = {
        seeding.dropout(RunSeed(trial=trial), step, rank)
        for trial in (0, 1)
        for step in (0, 1, 2)
        for rank in (0, 1)
    }
    assert len(seeds) == 12


@pytest.mark.slow
def test_a_run_with_dropout_resumes_bit_for_bit(
    recipe: Recipe, session_cache: Path, tmp_path: Path
) -> None:
    recipe = replace(recipe, epochs=2, batch_size=4)
    trainer = TorchTrainer(cache=session_cache)
    whole = list(trainer.train(recipe, PARAMS, RunSeed(), tmp_path / "whole", never))
    assert whole[0].train_loss != whole[1].train_loss
    ticks = iter(range(100))
    with pytest.raises(Interrupted):
        list(trainer.train(recipe, PARAMS, RunSeed(), tmp_path / "x", lambda: next(ticks) == 1))
    torch.manual_seed(99)  # whatever happened in between
    again = list(trainer.train(recipe, PARAMS, RunSeed(), tmp_path / "x", never))
    assert [r.train_loss for r in again] == [r.train_loss for r in whole]
