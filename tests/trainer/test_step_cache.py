"""Runs whose steps are captured and replayed, on the CPU with a recorder that runs them again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from tuneoff.trainer import checkpoint
from tuneoff.trainer.contract import EpochRecord, RunSeed
from tuneoff.trainer.errors import Interrupted
from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

# 1,295 training images: 10 batches of 128, and one of 15.
RECIPE = Recipe(epochs=2, batch_size=128, schedule="cosine", precision="fp32")


class Again:
    """Captures a step by keeping it; counts captures and replays."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1

        def replay() -> None:
            self.replays += 1
            work()

        return replay


def never() -> bool:
    return False


def nth_call(number: int) -> Callable[[], bool]:
    """A tick that asks the trainer to stop at this call, counted from 1."""
    calls = itertools.count(1)
    return lambda: next(calls) == number


def run(
    trainer: TorchTrainer,
    folder: Path,
    recipe: Recipe = RECIPE,
    params: HyperParams = HyperParams(lr=0.05),  # noqa: B008 - frozen
    tick: Callable[[], bool] = never,
) -> list[EpochRecord]:
    return list(trainer.train(recipe, params, RunSeed(), folder, tick))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load_newest(folder, {})
    assert found is not None
    return dict(found.average or found.model)


@pytest.fixture
def again() -> Again:
    return Again()


@pytest.fixture
def caching(session_cache: Path, again: Again) -> TorchTrainer:
    return TorchTrainer("cpu", cache=session_cache, record=again)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nesterov": True, "decay_norms": False, "layer_decay": {"fc": 3.0}, "clip": 1.0},
        {"mixup": 0.2, "label_smoothing": 0.1, "ema": 0.9, "accumulation": 2},
        {"frozen_epochs": 1, "start_size": 8, "data": replace(RECIPE.data, image_size=16)},
        {"frozen_stages": 2, "unfreeze_every": 1, "ema": 0.9},
        {"frozen_epochs": 2},
    ],
    ids=["plain", "optimiser", "augmentation", "frozen", "frozen stages", "linear probe"],
)
def test_a_replayed_run_is_that_of_single_steps(
    digits_trainer: TorchTrainer,
    caching: TorchTrainer,
    again: Again,
    tmp_path: Path,
    changes: dict[str, object],
) -> None:
    recipe = RECIPE.override(changes)
    plain = run(digits_trainer, tmp_path / "plain", recipe)
    replayed = run(caching, tmp_path / "caching", recipe)
    assert again.captures == 1
    assert again.replays > 0
    for a, b in zip(plain, replayed, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=2e-2)
        assert b.lr == a.lr


@pytest.mark.slow
def test_another_trial_needs_no_other_capture_and_owes_nothing_to_the_last(
    caching: TorchTrainer, again: Again, session_cache: Path, tmp_path: Path
) -> None:
    other = HyperParams(lr=0.2, momentum=0.5, weight_decay=1e-2)
    run(caching, tmp_path / "first")
    second = run(caching, tmp_path / "second", params=other)
    longer = run(caching, tmp_path / "third", replace(RECIPE, epochs=1, schedule="step"))
    assert again.captures == 1
    fresh = TorchTrainer("cpu", cache=session_cache, record=Again())
    alone = run(fresh, tmp_path / "alone", params=other)
    assert [r.train_loss for r in second] == [r.train_loss for r in alone]
    a, b = weights(tmp_path / "second"), weights(tmp_path / "alone")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert len(longer) == 1


@pytest.mark.slow
def test_rates_of_stages_and_pretrained_weights_are_those_of_the_run(
    caching: TorchTrainer, again: Again, session_cache: Path, tmp_path: Path
) -> None:
    """They change from one trial to the next without another capture."""
    recipes = []
    for seed in (1, 2):
        file = tmp_path / f"{seed}.pt"
        torch.save(factory.build(SHORT, 10, seed=seed).state_dict(), file)
        changes = {"weights": str(file), "layer_lr_decay": 0.1 * seed, "head_lr_factor": seed}
        recipes.append(SHORT.override(changes | {"l2_sp": 2.0 * seed, "frozen_stages": 1}))
    for number, recipe in enumerate(recipes):
        run(caching, tmp_path / f"run {number}", recipe)
    assert again.captures == 1
    fresh = TorchTrainer("cpu", cache=session_cache, record=Again())
    run(fresh, tmp_path / "alone", recipes[1])
    a, b = weights(tmp_path / "run 1"), weights(tmp_path / "alone")
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"batch_size": 64}, {"label_smoothing": 0.1}, {"model": "proxy-residual"}, {"clip": 1.0}],
)
def test_another_kind_of_step_is_captured_anew(
    caching: TorchTrainer, again: Again, tmp_path: Path, changes: dict[str, object]
) -> None:
    run(caching, tmp_path / "first", replace(RECIPE, epochs=1))
    run(caching, tmp_path / "second", replace(RECIPE, epochs=1).override(changes))
    assert again.captures == 2


SHORT = replace(RECIPE, epochs=1, batch_size=512)
CHANGES: dict[str, dict[str, object]] = {
    "data": {"data": replace(RECIPE.data, validation=0.2)},
    "model": {"model": "proxy-residual"},
    "model_options": {},  # the proxies have none
    "weights": {"weights": "FILE"},
    "head": {},  # only for models with ImageNet weights
    "normalise": {"normalise": "half"},
    "padding": {},  # only for MobileNetV2 and EfficientNet-Lite0, which are slow
    "memory_efficient": {},  # only for DenseNet121, which takes no images as small as the digits
    "images": {"images": 300},
    "epochs": {"epochs": 2},
    "frozen_epochs": {"epochs": 2, "frozen_epochs": 1},
    "frozen_stages": {"frozen_stages": 2},
    "frozen_norms": {"frozen_norms": True, "weights": "FILE"},
    "unfreeze_every": {"epochs": 2, "unfreeze_every": 1},
    "head_lr_factor": {"head_lr_factor": 3.0},
    "layer_lr_decay": {"layer_lr_decay": 0.5},
    "l2_sp": {"l2_sp": 1.0, "weights": "FILE"},
    "batch_size": {"batch_size": 500},
    "accumulation": {"accumulation": 2},
    "halve_on_oom": {"halve_on_oom": True},
    "schedule": {"schedule": "linear"},
    "patience": {"schedule": "plateau", "patience": 1, "epochs": 2},
    "step_epochs": {"schedule": "step", "step_epochs": 1, "epochs": 2},
    "drop": {"schedule": "step", "step_epochs": 1, "drop": 0.5, "epochs": 2},
    "warmup_epochs": {"warmup_epochs": 1.0},
    "optimizer": {"optimizer": "adamw"},
    "optimizer_options": {"optimizer": "adamw", "optimizer_options": {"beta2": 0.5}},
    "nesterov": {"nesterov": True},
    "decay_norms": {"decay_norms": False},
    "layer_decay": {"layer_decay": {"fc": 30.0}},
    "clip": {"clip": 0.5},
    "label_smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "ema": {"ema": 0.9},
    "flip": {"flip": False},
    "crop_padding": {"crop_padding": 2},
    "start_size": {"start_size": 8, "data": replace(RECIPE.data, image_size=16)},
    "precision": {"precision": "bf16"},
    "cache_features": {"cache_features": "off"},
    "test_view": {"test_view": "flip"},
    "metric": {"metric": "macro-error"},
    "metric_as": {},  # only for metrics of which higher is better
    "loss": {},  # a loss of a user's own: test_losses.py
    "loss_options": {},
}


def test_these_are_all_fields() -> None:
    assert list(CHANGES) == [field.name for field in fields(Recipe)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, changes in CHANGES.items() if changes])
def test_no_field_is_replayed_with_the_value_of_another_run(
    session_cache: Path, tmp_path: Path, name: str
) -> None:
    """Whatever a field changes, it changes after a run without that change as it does alone."""
    changes = dict(CHANGES[name])
    if "weights" in changes:
        changes["weights"] = str(tmp_path / "weights.pt")
        torch.save(factory.build(SHORT, 10, seed=9).state_dict(), tmp_path / "weights.pt")
    caching = TorchTrainer("cpu", cache=session_cache, record=Again())
    run(caching, tmp_path / "before", SHORT)
    after = run(caching, tmp_path / "after", SHORT.override(changes))
    fresh = TorchTrainer("cpu", cache=session_cache, record=Again())
    alone = run(fresh, tmp_path / "alone", SHORT.override(changes))
    assert [r.train_loss for r in after] == [r.train_loss for r in alone]
    assert [r.validation_loss for r in after] == [r.validation_loss for r in alone]
    a, b = weights(tmp_path / "after"), weights(tmp_path / "alone")
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_replayed_run_resumes_bit_for_bit(
    caching: TorchTrainer, tmp_path: Path, momentum: float
) -> None:
    params = HyperParams(lr=0.05, momentum=momentum)
    recipe = replace(RECIPE, ema=0.9)
    whole = run(caching, tmp_path / "whole", recipe, params)
    for stop in (5, 12, 17):
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            run(caching, folder, recipe, params, nth_call(stop))
        rest = run(caching, folder, recipe, params)
        assert [r.train_loss for r in rest] == [r.train_loss for r in whole]
        a, b = weights(tmp_path / "whole"), weights(folder)
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_what_cannot_be_captured_is_trained_step_by_step(
    session_cache: Path, digits_trainer: TorchTrainer, tmp_path: Path
) -> None:
    def refuse(work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    trainer = TorchTrainer("cpu", cache=session_cache, record=refuse)
    plain = run(digits_trainer, tmp_path / "plain")
    found = run(trainer, tmp_path / "refused")
    assert [r.train_loss for r in found] == [r.train_loss for r in plain]
