"""Weights from files and from torch's cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tuneoff.trainer.models import factory, sources
from tuneoff.trainer.models.registry import MODELS, pretrained
from tuneoff.trainer.recipe import Recipe

Save = Callable[[Path, str, Mapping[str, Any]], Path]
Pin = Callable[..., None]
Refused = Callable[[Recipe, str], None]

PROXIES = ("proxy", "proxy-residual", "proxy-dense")


def recipe(model: str, weights: object) -> Recipe:
    return Recipe(model=model, weights=str(weights))


@pytest.mark.slow
def test_pinned_weights_are_the_papers() -> None:
    papers = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121"}
    assert papers <= set(pretrained())
    for model in pretrained():
        entry = MODELS.entry(model)
        if not entry.imagenet["imagenet"]:  # which torchvision does not have
            continue
        name = entry.target.partition(":")[2]
        assert entry.imagenet["imagenet"].lower() == f"{name}_weights.imagenet1k_v1"
    assert sources.imagenet_url("resnet101").endswith("/resnet101-63fe2227.pth")


@pytest.mark.slow
@pytest.mark.parametrize("model", PROXIES)
def test_file_with_the_same_head_is_taken_whole(tmp_path: Path, model: str) -> None:
    saved = factory.build(Recipe(model=model), 5, seed=1).state_dict()
    torch.save(saved, tmp_path / "weights.pt")
    factory.check(recipe(model, tmp_path / "weights.pt"), 64, 64)
    loaded = factory.build(recipe(model, tmp_path / "weights.pt"), 5, seed=2).state_dict()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


@pytest.mark.slow
def test_densenet_with_the_zoos_old_names(tmp_path: Path) -> None:
    saved = factory.build(Recipe(model="densenet121"), 6, seed=1).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in saved.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    path = tmp_path / "weights.pt"
    torch.save(old, path)
    factory.check(recipe("densenet121", path), 64, 64)
    loaded = factory.build(recipe("densenet121", path), 6, seed=2).state_dict()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    new_head = factory.build(recipe("densenet121", path), 4, seed=2)
    assert isinstance(new_head.classifier, nn.Linear)
    assert new_head.classifier.out_features == 4


def test_weights_that_do_not_fit(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "weights.pt"
    state = dict(factory.build(Recipe(model="proxy"), 5, seed=1).state_dict())
    torch.save({**state, "features.1.bias": torch.zeros(3)}, path)
    refused(
        recipe("proxy", path),
        r"has a tensor features\.1\.bias, but proxy has none",
    )
    torch.save({**state, "features.0.0.weight": torch.zeros(8, 3, 3, 3)}, path)
    refused(
        recipe("proxy", path),
        r"features\.0\.0\.weight has shape \(8, 3, 3, 3\), but in proxy it has \(32, 3, 3, 3\)",
    )
    del state["features.0.0.weight"]
    torch.save(state, path)
    refused(
        recipe("proxy", path),
        r"has no tensor features\.0\.0\.weight, which proxy needs",
    )
    torch.save({}, path)
    refused(
        recipe("densenet121", path),
        r"has no matrix classifier\.weight, the head of densenet121",
    )
    torch.save(state, path)
    for other, head in (
        ("squeezenet1_1", r"classifier\.1\.weight"),
        ("mobilenet_v2", r"classifier\.1\.weight"),
        ("efficientnet-lite0", r"classifier\.weight"),
    ):
        refused(recipe(other, path), f"has no matrix {head}, the head of {other}; use weights of")


def test_files_that_are_no_state_dict(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "weights.pt"
    refused(recipe("proxy", path), r"weights\.pt does not exist; check the path")
    path.write_bytes(b"junk")
    refused(recipe("proxy", path), "is damaged or not a state dict")
    torch.save({"epoch": 1}, path)
    refused(recipe("proxy", path), "is not a state dict")
    torch.save(factory.build(Recipe(model="proxy"), 5, 0), path)  # pickled code: never run it
    refused(recipe("proxy", path), "holds Python objects besides tensors, which could run code")
    refused(recipe("proxy", tmp_path), "cannot be read")


def test_proxies_have_no_imagenet_weights(refused: Refused) -> None:
    refused(
        recipe("proxy", "imagenet"),
        "no weights 'imagenet' for model 'proxy'; set weights",
    )


@pytest.mark.slow
def test_imagenet_weights_from_the_cache_with_a_new_head(
    torch_home: Path, pin: Pin, save_with_hash: Save, resnet18: Mapping[str, torch.Tensor]
) -> None:
    path = save_with_hash(torch_home, "resnet18", resnet18)
    pin("resnet18", f"https://example.invalid/{path.name}")
    factory.check(recipe("resnet18", "imagenet"), 64, 64)
    state = factory.build(recipe("resnet18", "imagenet"), 20, seed=0).state_dict()
    assert state["fc.weight"].shape == (20, 512)
    assert torch.equal(state["conv1.weight"], resnet18["conv1.weight"])
    thousand = factory.build(recipe("resnet18", "imagenet"), 1000, seed=0).state_dict()
    assert not torch.equal(thousand["fc.weight"], resnet18["fc.weight"])


@pytest.mark.slow
def test_imagenet_weights_are_fetched_once(
    torch_home: Path,
    tmp_path: Path,
    pin: Pin,
    save_with_hash: Save,
    resnet18: Mapping[str, torch.Tensor],
) -> None:
    there = save_with_hash(tmp_path / "server", "resnet18", resnet18)
    pin("resnet18", there.as_uri())
    factory.check(recipe("resnet18", "imagenet"), 64, 64)
    assert (torch_home / there.name).read_bytes() == there.read_bytes()
    there.unlink()
    factory.check(recipe("resnet18", "imagenet"), 64, 64)


def test_offline_names_the_file_and_where_to_put_it(
    torch_home: Path, tmp_path: Path, pin: Pin, refused: Refused
) -> None:
    pin("resnet18", (tmp_path / "nowhere" / "resnet18-f37072fd.pth").as_uri())
    place = torch_home / "resnet18-f37072fd.pth"
    refused(recipe("resnet18", "imagenet"), rf"cannot be fetched .* and put it at {place}")


def test_a_cached_file_with_another_hash_is_refused(
    torch_home: Path, resnet18: Mapping[str, torch.Tensor], refused: Refused
) -> None:
    torch.save(resnet18, torch_home / "resnet18-f37072fd.pth")
    refused(
        recipe("resnet18", "imagenet"),
        r"resnet18-f37072fd\.pth is damaged or another file: .* not f37072fd; remove it",
    )


def test_a_download_with_another_hash_is_refused(
    torch_home: Path, tmp_path: Path, pin: Pin, refused: Refused
) -> None:
    server = tmp_path / "resnet18-f37072fd.pth"
    server.write_bytes(b"junk")
    pin("resnet18", server.as_uri())
    refused(recipe("resnet18", "imagenet"), "cannot be fetched")
    assert not (torch_home / server.name).exists()


def test_v2_weights_are_pinned() -> None:
    pinned = {
        "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
        "resnet101": "ResNet101_Weights.IMAGENET1K_V2",
        "resnet152": "ResNet152_Weights.IMAGENET1K_V2",
    }
    names = pretrained("imagenet-v2")
    found = {name: MODELS.entry(name).imagenet["imagenet-v2"] for name in names}
    assert pinned.items() <= found.items()
    assert sources.imagenet_url("resnet50", "imagenet-v2").endswith("/resnet50-11ad3fa6.pth")
    assert sources.imagenet_url("resnet50").endswith("/resnet50-0676ba61.pth")


@pytest.mark.parametrize("model", ["resnet18", "resnet34", "densenet121"])
def test_a_model_without_v2_weights_says_which_to_take(model: str, refused: Refused) -> None:
    refused(
        recipe(model, "imagenet-v2"),
        f"no weights 'imagenet-v2' for model '{model}'; set weights = \"imagenet\" or use one of: "
        "resnet50, resnet101, resnet152",
    )


def test_a_proxy_has_no_v2_weights_either(refused: Refused) -> None:
    refused(recipe("proxy", "imagenet-v2"), 'set weights = "none" or use one of: resnet50')


@pytest.mark.slow
def test_v2_weights_are_their_own_file(torch_home: Path, pin: Pin, save_with_hash: Save) -> None:
    saved = factory.build(Recipe(model="resnet50"), 1000, seed=1).state_dict()
    path = save_with_hash(torch_home, "resnet50", saved)
    pin("resnet50", f"https://example.invalid/{path.name}", "imagenet-v2")
    factory.check(recipe("resnet50", "imagenet-v2"), 64, 64)
    state = factory.build(recipe("resnet50", "imagenet-v2"), 20, seed=0).state_dict()
    assert torch.equal(state["conv1.weight"], saved["conv1.weight"])
    assert state["fc.weight"].shape == (20, 2048)
