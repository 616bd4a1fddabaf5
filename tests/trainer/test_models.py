"""Models by name, weights from files and from torch's cache, and heads."""

from __future__ import annotations

import copy
import hashlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tuneoff.trainer import models
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.recipe import MODELS, Recipe

PROXIES = ("proxy", "proxy-residual", "proxy-dense")


def recipe(model: str, weights: object = "none") -> Recipe:
    return Recipe(model=model, weights=str(weights))


@pytest.fixture(scope="module")
def resnet18() -> Mapping[str, torch.Tensor]:
    """A state dict with the published one's names and shapes."""
    return models.build(recipe("resnet18"), 1000, seed=1).state_dict()


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's; returns the folder of its weights files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def save_with_hash(folder: Path, name: str, state: Mapping[str, Any]) -> Path:
    """Saves weights as the model zoo names them, NAME-SHA256PREFIX.pth."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "temporary"
    torch.save(state, path)
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"{name}-{prefix}.pth")


def pin(monkeypatch: pytest.MonkeyPatch, model: str, url: str, weights: str = "imagenet") -> None:
    """Makes ``url`` the address of a model's ImageNet weights."""
    monkeypatch.setattr(models, "imagenet_url", lambda *of: {(model, weights): url}[of])


@pytest.mark.parametrize("model", PROXIES)
@pytest.mark.parametrize("size", [8, 9, 32])
def test_proxies_are_small_and_map_images_to_classes(model: str, size: int) -> None:
    net = models.build(recipe(model), 7, seed=0)
    assert 60_000 < sum(p.numel() for p in net.parameters()) < 100_000
    assert net(torch.rand(2, 3, size, size)).shape == (2, 7)


def test_every_model_can_be_checked() -> None:
    for name in MODELS:
        models.check(recipe(name), 32, 32)
    with torch.device("meta"):
        for name in MODELS:
            assert models.head(models.skeleton(Recipe(model=name), 7)).out_features == 7


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = (models.build(recipe("proxy"), 3, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.fc.weight, b.fc.weight)  # type: ignore[union-attr,arg-type]
    assert not torch.equal(a.fc.weight, c.fc.weight)  # type: ignore[union-attr,arg-type]


def test_pinned_weights_are_the_papers() -> None:
    assert {weights.lower() for weights in models.IMAGENET_WEIGHTS["imagenet"].values()} == {
        f"{model}_weights.imagenet1k_v1" for model in MODELS if model not in PROXIES
    }
    assert models.imagenet_url("resnet101").endswith("/resnet101-63fe2227.pth")


@pytest.mark.parametrize("model", PROXIES)
def test_file_with_the_same_head_is_taken_whole(tmp_path: Path, model: str) -> None:
    saved = models.build(recipe(model), 5, seed=1).state_dict()
    torch.save(saved, tmp_path / "weights.pt")
    models.check(recipe(model, tmp_path / "weights.pt"), 64, 64)
    loaded = models.build(recipe(model, tmp_path / "weights.pt"), 5, seed=2).state_dict()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_file_with_another_head_gets_a_new_one(
    tmp_path: Path, resnet18: Mapping[str, torch.Tensor]
) -> None:
    torch.save(resnet18, tmp_path / "weights.pt")
    net = models.build(recipe("resnet18", tmp_path / "weights.pt"), 20, seed=2)
    state = net.state_dict()
    assert state["fc.weight"].shape == (20, 512)
    assert all(torch.equal(state[n], resnet18[n]) for n in resnet18 if not n.startswith("fc."))


def test_densenet_with_the_zoos_old_names(tmp_path: Path) -> None:
    saved = models.build(recipe("densenet121"), 6, seed=1).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in saved.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    path = tmp_path / "weights.pt"
    torch.save(old, path)
    models.check(recipe("densenet121", path), 64, 64)
    loaded = models.build(recipe("densenet121", path), 6, seed=2).state_dict()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    new_head = models.build(recipe("densenet121", path), 4, seed=2)
    assert isinstance(new_head.classifier, nn.Linear)
    assert new_head.classifier.out_features == 4


def refused(tried: Recipe, match: str) -> None:
    for attempt in (lambda: models.check(tried, 64, 64), lambda: models.build(tried, 5, 0)):
        with pytest.raises(ModelError, match=match) as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    state = dict(models.build(recipe("proxy"), 5, seed=1).state_dict())
    torch.save({**state, "features.1.bias": torch.zeros(3)}, path)
    refused(recipe("proxy", path), r"has features\.1\.bias, which proxy has not")
    torch.save({**state, "features.0.0.weight": torch.zeros(8, 3, 3, 3)}, path)
    refused(
        recipe("proxy", path),
        r"features\.0\.0\.weight has shape \(8, 3, 3, 3\) where proxy has \(32, 3, 3, 3\)",
    )
    del state["features.0.0.weight"]
    torch.save(state, path)
    refused(recipe("proxy", path), r"lacks features\.0\.0\.weight: it is not a proxy")
    torch.save({}, path)
    refused(recipe("densenet121", path), r"has no head classifier\.weight")


def test_files_that_are_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    refused(recipe("proxy", path), r"weights\.pt does not exist; check the path")
    path.write_bytes(b"junk")
    refused(recipe("proxy", path), "is damaged or not a state dict")
    torch.save({"epoch": 1}, path)
    refused(recipe("proxy", path), "is not a state dict")
    torch.save(models.build(recipe("proxy"), 5, 0), path)  # pickled code: never run it
    refused(recipe("proxy", path), "is damaged or not a state dict")
    refused(recipe("proxy", tmp_path), "cannot be read")


def test_proxies_have_no_imagenet_weights() -> None:
    refused(recipe("proxy", "imagenet"), "no weights 'imagenet' for model 'proxy'; set weights")


def test_imagenet_weights_from_the_cache_with_a_new_head(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch, resnet18: Mapping[str, torch.Tensor]
) -> None:
    path = save_with_hash(torch_home, "resnet18", resnet18)
    pin(monkeypatch, "resnet18", f"https://example.invalid/{path.name}")
    models.check(recipe("resnet18", "imagenet"), 64, 64)
    state = models.build(recipe("resnet18", "imagenet"), 20, seed=0).state_dict()
    assert state["fc.weight"].shape == (20, 512)
    assert torch.equal(state["conv1.weight"], resnet18["conv1.weight"])
    thousand = models.build(recipe("resnet18", "imagenet"), 1000, seed=0).state_dict()
    assert not torch.equal(thousand["fc.weight"], resnet18["fc.weight"])


def test_imagenet_weights_are_fetched_once(
    torch_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resnet18: Mapping[str, torch.Tensor],
) -> None:
    there = save_with_hash(tmp_path / "server", "resnet18", resnet18)
    pin(monkeypatch, "resnet18", there.as_uri())
    models.check(recipe("resnet18", "imagenet"), 64, 64)
    assert (torch_home / there.name).read_bytes() == there.read_bytes()
    there.unlink()
    models.check(recipe("resnet18", "imagenet"), 64, 64)


def test_offline_names_the_file_and_where_to_put_it(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, "resnet18", (tmp_path / "nowhere" / "resnet18-f37072fd.pth").as_uri())
    place = torch_home / "resnet18-f37072fd.pth"
    refused(recipe("resnet18", "imagenet"), rf"cannot be fetched .* and put it at {place}")


def test_a_cached_file_with_another_hash_is_refused(
    torch_home: Path, resnet18: Mapping[str, torch.Tensor]
) -> None:
    torch.save(resnet18, torch_home / "resnet18-f37072fd.pth")
    refused(
        recipe("resnet18", "imagenet"),
        r"resnet18-f37072fd\.pth is damaged or another file: .* not f37072fd; remove it",
    )


def test_a_download_with_another_hash_is_refused(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "resnet18-f37072fd.pth"
    server.write_bytes(b"junk")
    pin(monkeypatch, "resnet18", server.as_uri())
    refused(recipe("resnet18", "imagenet"), "cannot be fetched")
    assert not (torch_home / server.name).exists()


def test_images_too_small_for_a_model_are_refused() -> None:
    models.check(recipe("resnet18"), 8, 8)
    with pytest.raises(ModelError, match=r"densenet121 cannot take images of 8 x 8 pixels; set im"):
        models.check(recipe("densenet121"), 8, 8)


@pytest.mark.parametrize("size", [17, 24, 32])
def test_bf16_gradients_are_right_where_we_train_in_bf16(size: int) -> None:
    device = torch.device("cpu")
    assert models.trains_in_bf16("resnet18", size, size, device)
    assert not models.trains_in_bf16("resnet18", 16, 16, device)
    net = models.build(recipe("resnet18"), 5, seed=0).to(memory_format=torch.channels_last)
    images = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    gradients = []
    for _ in range(2):
        junk = [torch.full((2**20,), 1e30) for _ in range(8)]
        del junk  # what is not initialised now shows
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = net(images).float().square().mean()
        loss.backward()
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
        assert gradient.abs().max() < 1e3, name


# V2 weights


def test_v2_weights_are_pinned() -> None:
    assert models.IMAGENET_WEIGHTS["imagenet-v2"] == {
        "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
        "resnet101": "ResNet101_Weights.IMAGENET1K_V2",
        "resnet152": "ResNet152_Weights.IMAGENET1K_V2",
    }
    assert models.imagenet_url("resnet50", "imagenet-v2").endswith("/resnet50-11ad3fa6.pth")
    assert models.imagenet_url("resnet50").endswith("/resnet50-0676ba61.pth")


@pytest.mark.parametrize("model", ["resnet18", "resnet34", "densenet121"])
def test_a_model_without_v2_weights_says_which_to_take(model: str) -> None:
    refused(
        recipe(model, "imagenet-v2"),
        f"no weights 'imagenet-v2' for model '{model}'; set weights = \"imagenet\" or use one of: "
        "resnet50, resnet101, resnet152",
    )


def test_a_proxy_has_no_v2_weights_either() -> None:
    refused(recipe("proxy", "imagenet-v2"), 'set weights = "none" or use one of: resnet50')


def test_v2_weights_are_their_own_file(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = models.build(recipe("resnet50"), 1000, seed=1).state_dict()
    path = save_with_hash(torch_home, "resnet50", saved)
    pin(monkeypatch, "resnet50", f"https://example.invalid/{path.name}", "imagenet-v2")
    models.check(recipe("resnet50", "imagenet-v2"), 64, 64)
    state = models.build(recipe("resnet50", "imagenet-v2"), 20, seed=0).state_dict()
    assert torch.equal(state["conv1.weight"], saved["conv1.weight"])
    assert state["fc.weight"].shape == (20, 2048)


# Heads that know their classes


WARM = Recipe(model="resnet18", weights="imagenet", head="imagenet")


def test_a_head_of_the_rows_of_its_classes(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch, resnet18: Mapping[str, torch.Tensor]
) -> None:
    path = save_with_hash(torch_home, "resnet18", resnet18)
    pin(monkeypatch, "resnet18", f"https://example.invalid/{path.name}")
    titles = ("Egyptian cat", "goldfish, Carassius auratus", "something else, TENCH")
    models.check(WARM, 64, 64, titles)
    net = models.build(WARM, 3, 0, titles)
    rows = [285, 1, 0]  # of the 1,000 classes, whose order is public
    state = net.state_dict()
    assert torch.equal(state["fc.weight"], resnet18["fc.weight"][rows])
    assert torch.equal(state["fc.bias"], resnet18["fc.bias"][rows])
    assert models.head(net).out_features == 3
    assert models.head(net).weight.requires_grad
    images = torch.rand(2, 3, 64, 64)
    whole = models.skeleton(WARM, 1000)
    whole.load_state_dict(resnet18)
    with torch.no_grad():
        assert torch.allclose(net.eval()(images), whole.eval()(images)[:, rows], atol=1e-5)


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("7", 'class "7" has the name of no ImageNet class; set head = "new"'),
        ("gold", 'class "gold" has the name of no ImageNet class; set head = "new"'),
        ("CARDIGAN", 'class "CARDIGAN" has the name of 2 ImageNet classes; set head = "new"'),
    ],
)
def test_names_that_are_no_class_or_two(title: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        models.category_rows(WARM, ["goldfish", title])
    assert str(caught.value) == message


def test_how_a_name_is_written_tells_two_classes_apart() -> None:
    titles = ["cardigan", "Cardigan, Cardigan Welsh corgi"]
    assert models.category_rows(WARM, titles) == [474, 264]


def test_the_classes_of_tiny_imagenet_have_rows_of_their_own(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "tiny-imagenet-20.zip") as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist()}
        wnids = archive.read(f"{folder}/wnids.txt").decode().split()
        lines = archive.read(f"{folder}/words.txt").decode().splitlines()
    words = dict(line.split("\t") for line in lines)
    rows = models.category_rows(WARM, [words[wnid] for wnid in wnids])
    assert len(set(rows)) == len(wnids) == 20


# Layers


def test_a_layer_that_is_not_there() -> None:
    models.check(replace(recipe("resnet18"), layer_decay={"layer4.1": 2.0, "fc": 10.0}), 64, 64)
    models.check(replace(recipe("proxy"), layer_decay={"features.0": 2.0}), 8, 8)
    for model, wrong, there in (
        ("resnet18", "layer5", "conv1, bn1, relu, maxpool, layer1, layer2, layer3, layer4, .*, fc"),
        ("resnet18", "laye", "conv1"),
        ("densenet121", "fc", "features, classifier"),
        ("proxy", "", "features, fc"),
    ):
        with pytest.raises(ModelError, match=f"{model} has no layer '{wrong}'; it has: {there}"):
            models.check(replace(recipe(model), layer_decay={wrong: 2.0}), 64, 64)


# DenseNet, computed again


def test_memory_efficient_is_the_plain_densenet() -> None:
    tried = [
        models.build(r, 5, seed=3)
        for r in (recipe("densenet121"), replace(recipe("densenet121"), memory_efficient=True))
    ]
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, efficient = tried
    efficient.load_state_dict(copy.deepcopy(plain.state_dict()))
    found = []
    for net in tried:
        loss = net(images).square().mean()
        loss.backward()
        found.append(loss.detach())
    assert torch.allclose(found[0], found[1])
    for (name, a), b in zip(plain.named_parameters(), efficient.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-5), name
    # The second pass over its layers must not count twice in their statistics.
    for (name, a), b in zip(plain.named_buffers(), efficient.buffers(), strict=True):
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-6), name
