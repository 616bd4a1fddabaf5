"""Known files of weights: recognised by their digests, read whoever named their tensors, and as
good as their authors'."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tuneoff.trainer import evaluate
from tuneoff.trainer.data import batches, splits
from tuneoff.trainer.data.load import load
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import (
    caffe_squeezenet,
    efficientnet_lite,
    factory,
    published,
    sources,
    weights,
)
from tuneoff.trainer.models.published import PUBLISHED, Published
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import DataSource, Recipe
from tuneoff.trainer.registry import NORMALISATIONS, PADDINGS

Refused = Callable[[Recipe, str], None]

# Share of the images that a model gets right among 20 classes with ImageNet's own head.
SHARED = {
    "squeezenet1_1-imagenet.pth": 0.74,
    "mobilenet_v2-imagenet.pth": 0.80,
    "tf_efficientnet_lite0-imagenet.pth": 0.83,
}


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Published], None]:
    """know(path, published): makes a file a known one."""

    def know(path: Path, as_what: Published) -> None:
        monkeypatch.setattr(published, "PUBLISHED", {sources.digest(path): as_what})

    return know


@pytest.fixture
def shared_weights(shared_data: Path) -> Path:
    folder = shared_data.parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return folder


@pytest.mark.parametrize("file", list(PUBLISHED.values()), ids=lambda file: file.title)
def test_what_is_known_of_files_is_among_what_there_is(file: Published) -> None:
    assert file.normalise in NORMALISATIONS
    assert file.padding in PADDINGS
    Recipe(model=file.model, padding=file.padding)
    if file.package:
        assert "imagenet" in MODELS.entry(file.model).imagenet
        assert "==" in file.package
        assert file.place.count("/") >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SHARED))
def test_a_known_file_is_right_as_often_as_its_authors_say(
    name: str, shared_weights: Path, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_weights / name
    known = PUBLISHED[sources.digest(path)]
    zipped = str(shared_data / "tiny-imagenet-20.zip")
    data = DataSource(name="tiny-imagenet", path=zipped, image_size=128)
    pack = load(data, tmp_path)
    recipe = Recipe(data=data, model=known.model, weights=str(path), head="imagenet")
    (note,) = factory.check(recipe, 128, 128, pack.titles)
    assert note.endswith("as it was trained")
    model = factory.build(recipe, 20, 0, pack.titles).to(memory_format=torch.channels_last)
    images = batches.resident(pack, 128, torch.device("cpu"))
    images = replace(images, how=weights.settle(recipe).normalise)
    scores = evaluate.score(model, images, splits.split(pack, data)["test"][::5], bf16=False)
    assert 1 - scores.error > SHARED[name] - 0.06


@pytest.mark.slow
def test_float16_becomes_float32(tmp_path: Path) -> None:
    saved = factory.build(Recipe(model="squeezenet1_1"), 5, seed=1).half().state_dict()
    torch.save(saved, tmp_path / "half.pt")
    recipe = Recipe(model="squeezenet1_1", weights=str(tmp_path / "half.pt"))
    loaded = factory.build(recipe, 5, seed=2).state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in loaded.values())
    assert all(torch.equal(loaded[name], saved[name].float()) for name in saved)


def test_a_known_file_says_how_its_images_are_normalised(
    tmp_path: Path, know: Callable[[Path, Published], None]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(factory.build(Recipe(model="mobilenet_v2"), 5, seed=1).state_dict(), path)
    recipe = Recipe(model="mobilenet_v2", weights=str(path))
    assert weights.settle(recipe) == replace(recipe, normalise="imagenet", padding="symmetric")
    assert "not a published file that is known" in weights.about(recipe)
    assert weights.about(recipe).endswith("; set normalise and padding if it was trained otherwise")
    know(path, Published("Somebody's", "mobilenet_v2", normalise="half", padding="same"))
    settled = replace(recipe, normalise="half", padding="same")
    assert weights.settle(recipe) == settled
    assert weights.about(recipe).endswith("as it was trained")
    assert weights.settle(settled) is settled
    other = replace(recipe, normalise="imagenet")
    assert weights.settle(other) == replace(other, padding="same")
    assert weights.about(other).endswith('but it was trained with "half" and "same"')


def test_a_known_file_of_another_model(
    tmp_path: Path, know: Callable[[Path, Published], None], refused: Refused
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({}, path)
    know(path, Published("Somebody's MobileNet", "mobilenet_v2", "half", "same"))
    refused(
        Recipe(model="resnet18", weights=str(path)),
        r'weights\.pt is Somebody\'s MobileNet; set model = "mobilenet_v2", or use weights of res',
    )


@pytest.mark.slow
def test_names_of_efficientnet_pytorch_are_read(tmp_path: Path) -> None:
    own = factory.build(Recipe(model="efficientnet-lite0"), 5, seed=1).state_dict()
    assert efficientnet_lite.renamed(own) == own
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    outer["classifier"] = "_fc"
    parts = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    parts |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    blocks: dict[str, int] = {}
    theirs = {}
    for name, tensor in own.items():
        part, _, rest = name.partition(".")
        if part == "blocks":
            stage, layer, inner, last = rest.split(".", 3)
            number = blocks.setdefault(f"{stage}.{layer}", len(blocks))
            inner = (parts if number else first)[inner]
            theirs[f"_blocks.{number}.{inner}.{last}"] = tensor
        else:
            theirs[f"{outer[part]}.{rest}"] = tensor
    assert len(blocks) == 16
    torch.save(theirs, tmp_path / "theirs.pt")
    recipe = Recipe(model="efficientnet-lite0", weights=str(tmp_path / "theirs.pt"))
    factory.check(recipe, 32, 32)
    loaded = factory.build(recipe, 5, seed=2).state_dict()
    assert all(torch.equal(loaded[name], own[name]) for name in own)


def layers(seed: int) -> dict[str, list[np.ndarray]]:
    """A dict as the package ndf pickles it, of random numbers."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, tensor in factory.build(Recipe(model="squeezenet1_1"), 1000, 0).state_dict().items():
        if name.endswith("weight"):
            kernel = rng.normal(size=tensor.shape).astype(np.float32).transpose(2, 3, 1, 0)
            found[name] = [kernel, rng.normal(size=len(tensor)).astype(np.float32)]
    names = ["conv1"]
    for fire in range(2, 10):
        names += [f"fire{fire}/{part}" for part in ("squeeze1x1", "expand1x1", "expand3x3")]
    return dict(zip([*names, "conv10"], found.values(), strict=True))


def pickled(value: object) -> bytes:
    """As NumPy 1 wrote it, in whose time numpy._core was numpy.core."""
    return pickle.dumps(value, protocol=3).replace(b"numpy._core.", b"numpy.core.")


def test_caffes_squeezenet_takes_normalised_images(tmp_path: Path) -> None:
    theirs, path = layers(3), tmp_path / "weights.pkl"
    path.write_bytes(pickled(theirs))
    state = caffe_squeezenet.read(path)
    model = factory.build(Recipe(model="squeezenet1_1"), 1000, 0)
    assert list(state) == list(model.state_dict())
    model.load_state_dict(state)
    fire = torch.from_numpy(theirs["fire5/expand3x3"][0]).permute(3, 2, 0, 1)
    assert torch.equal(state["features.7.expand3x3.weight"], fire)

    stored = torch.randint(0, 256, (2, 17, 17, 3), dtype=torch.uint8)
    found = model.features[0](batches.normalise(stored, None))  # type: ignore[index,operator]
    kernel, bias = map(torch.from_numpy, theirs["conv1"])
    mean = torch.tensor([103.939, 116.779, 123.68])  # blue first, as Caffe's models have them
    inputs = (stored.flip(3).float() - mean).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.conv2d(inputs, kernel.permute(3, 2, 0, 1), bias, stride=2)
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=1e-4)


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", pickle.dumps({"conv1": [1, 2]}), pickle.dumps(Path), pickle.dumps([])[:3]],
    ids=["empty", "junk", "other values", "code", "torn"],
)
def test_a_pickle_of_anything_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.pkl is not the SqueezeNet of the package ndf"):
        caffe_squeezenet.read(path)


def test_each_model_has_one_package_at_most() -> None:
    for model in MODELS:
        brought = published.packaged(model)
        assert brought is None or brought[1].model == model
