"""The whole trainer through its contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tuneoff.trainer import checkpoint, evaluate, memory, torch_trainer
from tuneoff.trainer.contract import RunSeed, Trainer
from tuneoff.trainer.errors import CheckpointError, DataError, ModelError, TrainerError
from tuneoff.trainer.models import factory, weights
from tuneoff.trainer.models.state_files import StateFile
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

RECIPE = Recipe(epochs=1, batch_size=256)
PARAMS = HyperParams(lr=0.1)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def trained(digits_trainer: TorchTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of one short run of RECIPE."""
    folder = tmp_path_factory.mktemp("trained")
    list(digits_trainer.train(RECIPE, PARAMS, RunSeed(), folder, never))
    return folder


def test_it_keeps_the_contract(digits_trainer: TorchTrainer) -> None:
    trainer: Trainer = digits_trainer
    task = trainer.check(RECIPE)
    assert task.classes == tuple("0123456789")
    assert task.sizes == {"train": 1295, "validation": 143, "test": 359}
    assert task.chance_error == pytest.approx(0.9)
    assert trainer.check(RECIPE) == task
    assert all(isinstance(value, str) for value in trainer.describe().values())
    assert {"device", "threads", "torch", "torchvision"} <= set(trainer.describe())


def test_resolve_leaves_no_auto(
    digits_trainer: TorchTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for able, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able})
        assert digits_trainer.resolve(RECIPE).precision == expected
        assert digits_trainer.resolve(replace(RECIPE, model="resnet18")).precision == "fp32"
    fixed = replace(RECIPE, precision="fp32")
    assert digits_trainer.resolve(fixed) == fixed


def test_evaluate_scores_each_split(digits_trainer: TorchTrainer, trained: Path) -> None:
    sizes = digits_trainer.check(RECIPE).sizes
    for split in ("train", "validation", "test"):
        scores = digits_trainer.evaluate(RECIPE, trained, split)
        assert scores.logits.shape == (sizes[split], 10)
        assert scores.logits.dtype == np.float32
        assert scores.labels.dtype == np.int64
        assert 0 <= scores.error < 0.9


def test_evaluate_gives_the_error_that_was_recorded(
    digits_trainer: TorchTrainer, trained: Path
) -> None:
    (record,) = digits_trainer.train(RECIPE, PARAMS, RunSeed(), trained, never)
    scores = digits_trainer.evaluate(RECIPE, trained, "validation")
    assert record.replayed
    assert scores.error == record.validation_error


def test_test_time_augmentation(digits_trainer: TorchTrainer, trained: Path) -> None:
    for view in ("flip", "ten-crop"):
        scores = digits_trainer.evaluate(replace(RECIPE, test_view=view), trained, "test")
        assert np.exp(scores.logits).sum(1) == pytest.approx(np.ones(359), abs=1e-4)


def test_a_resolved_recipe_finds_the_same_checkpoint(
    digits_trainer: TorchTrainer, trained: Path
) -> None:
    digits_trainer.evaluate(digits_trainer.resolve(RECIPE), trained, "test")
    digits_trainer.evaluate(replace(RECIPE, precision="fp32"), trained, "test")


def test_no_checkpoint(digits_trainer: TorchTrainer, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no good checkpoint of epoch 1 of this recipe"):
        digits_trainer.evaluate(RECIPE, tmp_path, "test")
    with pytest.raises(CheckpointError, match="has no good checkpoint of epoch 2"):
        digits_trainer.evaluate(replace(RECIPE, epochs=2), trained, "test")


def test_a_split_without_images(
    session_cache: Path,
    tmp_path: Path,
    encode: Callable[..., bytes],
    make_folder: Callable[[Path, dict[str, bytes]], Path],
) -> None:
    files = {f"train/{c}/{i}.jpg": encode(i) for c in "ab" for i in range(20)}
    data = DataSource("folder", str(make_folder(tmp_path / "x", files)))
    trainer = TorchTrainer(cache=session_cache)
    recipe = Recipe(data=data, epochs=1, batch_size=8)
    list(trainer.train(recipe, PARAMS, RunSeed(), tmp_path / "c", never))
    with pytest.raises(DataError, match="has no test images"):
        trainer.evaluate(recipe, tmp_path / "c", "test")


def test_a_batch_larger_than_the_data_is_said(digits_trainer: TorchTrainer) -> None:
    task = digits_trainer.check(RECIPE)
    assert task.notes == ()
    images = task.sizes["train"]
    assert digits_trainer.check(replace(RECIPE, batch_size=images)).notes == ()
    (note,) = digits_trainer.check(replace(RECIPE, batch_size=images + 1)).notes
    assert note == (
        f"batch_size = {images + 1:,} is more than the {images:,} training images: each epoch is a "
        "single step"
    )


def test_a_part_of_the_training_images(digits_trainer: TorchTrainer, tmp_path: Path) -> None:
    recipe = replace(RECIPE, images=100, batch_size=30)
    batches = 0

    def count() -> bool:
        nonlocal batches
        batches += 1
        return False

    (record,) = digits_trainer.train(recipe, PARAMS, RunSeed(), tmp_path, count)
    assert record.validation_error < 0.9
    validation = -(-143 // evaluate.BATCH)
    assert 4 <= batches <= 4 + validation + 2  # 30, 30, 30 and 10 images
    assert digits_trainer.check(recipe).sizes["train"] == 1295
    (note,) = digits_trainer.check(replace(recipe, batch_size=101)).notes
    assert note.startswith("batch_size = 101 is more than the 100 training images")
    with pytest.raises(DataError, match="images = 9 is less than one for each of the 10 classes"):
        digits_trainer.check(replace(recipe, images=9))
    with pytest.raises(DataError, match="images = 1,296 is more than the 1,295 training images"):
        digits_trainer.check(replace(recipe, images=1296))
    with pytest.raises(CheckpointError):  # of the part, not of all
        digits_trainer.evaluate(replace(recipe, images=0), tmp_path, "test")


@pytest.mark.slow
def test_a_model_too_deep_for_the_images(digits_trainer: TorchTrainer) -> None:
    with pytest.raises(ModelError, match="densenet121 cannot take images of 8 x 8 pixels"):
        digits_trainer.check(replace(RECIPE, model="densenet121"))
    with pytest.raises(ModelError, match="resnet18 on 8 x 8 pixels cannot train in bf16"):
        digits_trainer.check(replace(RECIPE, model="resnet18", precision="bf16"))


def test_unknown_device(tmp_path: Path) -> None:
    for name in ("cuda:77", "nonsense"):
        with pytest.raises(TrainerError, match=f"device '{name}' cannot be used here"):
            TorchTrainer(name, cache=tmp_path)


def test_threads_are_set(tmp_path: Path) -> None:
    trainer = TorchTrainer(cache=tmp_path, threads=1)
    assert trainer.describe()["threads"] == "1"


def test_out_of_memory_is_one_line(
    digits_trainer: TorchTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nlots")

    monkeypatch.setattr(factory, "build", full)
    needed = memory.footprint(digits_trainer.resolve(RECIPE), 10, 8, 8)
    free = round((needed.peak(100) + memory.WORKSPACE) / memory.USABLE) + 1
    for bytes_, advice in (
        (free, "batches of at most 100 fit: set batch_size = 100, or halve_on_oom = true"),
        (0, "no batch fits: use a smaller model or image_size, or free some memory"),
        (
            2**40,
            "use smaller batches, set halve_on_oom = true, or run fewer processes there",
        ),
    ):
        monkeypatch.setattr(memory, "available_bytes", lambda bytes_=bytes_: bytes_)
        with pytest.raises(TrainerError) as caught:
            list(digits_trainer.train(RECIPE, PARAMS, RunSeed(), tmp_path, never))
        assert str(caught.value) == (
            f"proxy with batch_size = 256 does not fit into the memory of cpu; {advice}"
        )


def test_data_stay_in_memory(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = TorchTrainer(cache=session_cache)
    trainer.check(RECIPE)
    monkeypatch.setattr(torch_trainer, "load", None)
    trainer.check(RECIPE)


def test_members_combine(digits_trainer: TorchTrainer, trained: Path) -> None:
    validation = digits_trainer.evaluate(RECIPE, trained, "validation")
    test = digits_trainer.evaluate(RECIPE, trained, "test")
    combined, weights = digits_trainer.combine("paper", [validation] * 2, [test] * 2)
    assert combined.error == test.error
    assert weights == (0.5, 0.5)


@pytest.fixture(scope="module")
def tiny_run(
    session_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_files: dict[str, bytes],
    make_zip: Callable[[Path, dict[str, bytes]], Path],
) -> tuple[TorchTrainer, Recipe, Path]:
    """A run on made images in Tiny ImageNet's layout: trainer, recipe, checkpoints."""
    root = tmp_path_factory.mktemp("tiny")
    data = DataSource(
        "tiny-imagenet", str(make_zip(root / "tiny.zip", tiny_files)), image_size=24, validation=0.3
    )
    recipe = Recipe(data=data, epochs=2, batch_size=5, warmup_epochs=0)
    trainer = TorchTrainer(cache=session_cache)
    list(trainer.train(recipe, HyperParams(lr=0.01), RunSeed(), root / "c", never))
    return trainer, recipe, root / "c"


def test_predict_tiny_imagenets_test_images(tiny_run: tuple[TorchTrainer, Recipe, Path]) -> None:
    trainer, recipe, checkpoints = tiny_run
    found = trainer.predict(recipe, checkpoints, Path(recipe.data.path or ""))
    assert [Path(name).name for name in found.names] == [f"test_{i}.JPEG" for i in range(12)]
    assert found.logits.shape == (12, 3)
    assert found.classes == ("n03", "n01", "n02")


def test_predict_agrees_with_evaluate(
    tiny_run: tuple[TorchTrainer, Recipe, Path],
    tiny_files: dict[str, bytes],
    tmp_path: Path,
    make_folder: Callable[[Path, dict[str, bytes]], Path],
) -> None:
    trainer, recipe, checkpoints = tiny_run
    scores = trainer.evaluate(recipe, checkpoints, "test")
    images = {Path(n).name: d for n, d in tiny_files.items() if n.startswith("val/images")}
    found = trainer.predict(recipe, checkpoints, make_folder(tmp_path / "val", images))
    assert found.names == tuple(f"val_{i}.JPEG" for i in range(6))
    assert np.allclose(found.logits, scores.logits, atol=1e-2)


def test_predict_needs_no_training_data(
    tiny_run: tuple[TorchTrainer, Recipe, Path], encode: Callable[..., bytes], tmp_path: Path
) -> None:
    trainer, recipe, checkpoints = tiny_run
    image = tmp_path / "one.png"
    image.write_bytes(encode(5, (50, 30), format="PNG"))
    elsewhere = replace(recipe, data=replace(recipe.data, path="/not/there.zip"))
    found = trainer.predict(elsewhere, checkpoints, image)
    assert found.names == ("one.png",)
    assert np.isfinite(found.logits).all()


def test_data_that_moved_still_fit_their_checkpoints(
    tiny_run: tuple[TorchTrainer, Recipe, Path],
    tiny_files: dict[str, bytes],
    tmp_path: Path,
    make_folder: Callable[[Path, dict[str, bytes]], Path],
) -> None:
    trainer, recipe, checkpoints = tiny_run
    moved = str(make_folder(tmp_path / "moved", tiny_files))
    recipe = replace(recipe, data=replace(recipe.data, path=moved))
    records = trainer.train(recipe, HyperParams(lr=0.01), RunSeed(), checkpoints, never)
    assert all(record.replayed for record in records)


@pytest.mark.slow
def test_real_images_are_learnt(session_cache: Path, shared_data: Path, tmp_path: Path) -> None:
    data = DataSource("tiny-imagenet", str(shared_data / "tiny-imagenet-20.zip"), image_size=16)
    recipe = Recipe(data=data, epochs=4, batch_size=64, schedule="cosine")
    trainer = TorchTrainer(cache=session_cache)
    records = list(trainer.train(recipe, PARAMS, RunSeed(), tmp_path, never))
    assert records[-1].validation_error < 0.85
    assert trainer.evaluate(recipe, tmp_path, "test").error < 0.85


# Options that the data decide on


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_size": 16}, "start_size = 16 is larger than the images of 8 x 8 pixels; set it"),
        ({"crop_padding": 8}, "crop_padding = 8 is not smaller than the stored images; set it"),
        ({"layer_decay": {"fcc": 2.0}}, "layer_decay: proxy has no layer 'fcc'; it has: .*fc"),
    ],
)
def test_options_that_do_not_go_with_data_or_model(
    digits_trainer: TorchTrainer, options: dict[str, Any], message: str
) -> None:
    for _ in range(2):
        digits_trainer.check(RECIPE)
        with pytest.raises(ModelError, match=message):
            digits_trainer.check(replace(RECIPE, **options))


def test_a_check_takes_recipes_of_any_length(digits_trainer: TorchTrainer) -> None:
    long = Recipe(epochs=9, warmup_epochs=5, frozen_epochs=4, batch_size=64, accumulation=32)
    assert digits_trainer.check(long) == digits_trainer.check(RECIPE)


@pytest.mark.slow
def test_a_model_with_the_rows_of_its_classes_is_evaluated(
    session_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encode: Callable[..., bytes],
    make_folder: Callable[[Path, dict[str, bytes]], Path],
) -> None:
    files = {
        f"{split}/{name}/{i}.png": encode(i, (32, 32), format="PNG")
        for split in ("train", "test")
        for name in ("goldfish", "tench")
        for i in range(10)
    }
    data = DataSource("folder", str(make_folder(tmp_path / "x", files)))
    recipe = Recipe(
        data=data,
        model="resnet18",
        weights="imagenet",
        head="imagenet",
        epochs=1,
        batch_size=8,
        precision="fp32",
    )
    state = factory.build(Recipe(model="resnet18"), 1000, seed=1).state_dict()
    monkeypatch.setattr(weights, "read", lambda recipe: StateFile(state))
    monkeypatch.setattr(weights, "find", lambda recipe: weights.Found(Path("resnet18.pth"), None))
    trainer = TorchTrainer(cache=session_cache)
    assert trainer.check(recipe).classes == ("goldfish", "tench")
    (record,) = trainer.train(recipe, HyperParams(lr=1e-9), RunSeed(), tmp_path / "c", never)
    trainer.evaluate(recipe, tmp_path / "c", "test")
    scores = trainer.evaluate(recipe, tmp_path / "c", "validation")
    assert scores.error == record.validation_error
    saved = checkpoint.load_newest(tmp_path / "c", {})
    assert saved is not None
    assert torch.allclose(saved.model["fc.weight"], state["fc.weight"][[1, 0]], atol=1e-6)


def test_how_a_trained_model_is_shown_an_image_asks_for_no_other_training(
    digits_trainer: TorchTrainer, trained: Path
) -> None:
    for changes in ({"test_view": "flip"}, {"halve_on_oom": True}, {"precision": "fp32"}):
        again = digits_trainer.train(replace(RECIPE, **changes), PARAMS, RunSeed(), trained, never)
        assert all(record.replayed for record in again)
