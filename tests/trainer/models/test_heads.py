"""Heads: made anew, or of the rows of ImageNet's classes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory, heads
from tuneoff.trainer.recipe import Recipe

Save = Callable[[Path, str, Mapping[str, Any]], Path]
Pin = Callable[..., None]

ROWS = Recipe(model="resnet18", weights="imagenet", head="imagenet")


@pytest.mark.slow
def test_file_with_another_head_gets_a_new_one(
    tmp_path: Path, resnet18: Mapping[str, torch.Tensor]
) -> None:
    torch.save(resnet18, tmp_path / "weights.pt")
    net = factory.build(Recipe(model="resnet18", weights=str(tmp_path / "weights.pt")), 20, seed=2)
    state = net.state_dict()
    assert state["fc.weight"].shape == (20, 512)
    assert all(torch.equal(state[n], resnet18[n]) for n in resnet18 if not n.startswith("fc."))


@pytest.mark.slow
def test_a_head_of_the_rows_of_its_classes(
    torch_home: Path, pin: Pin, save_with_hash: Save, resnet18: Mapping[str, torch.Tensor]
) -> None:
    path = save_with_hash(torch_home, "resnet18", resnet18)
    pin("resnet18", f"https://example.invalid/{path.name}")
    titles = ("Egyptian cat", "goldfish, Carassius auratus", "something else, TENCH")
    factory.check(ROWS, 64, 64, titles)
    net = factory.build(ROWS, 3, 0, titles)
    rows = [285, 1, 0]  # of the 1,000 classes, whose order is public
    state = net.state_dict()
    assert torch.equal(state["fc.weight"], resnet18["fc.weight"][rows])
    assert torch.equal(state["fc.bias"], resnet18["fc.bias"][rows])
    assert heads.head(net).out_features == 3
    assert heads.head(net).weight.requires_grad
    images = torch.rand(2, 3, 64, 64)
    whole = factory.skeleton(ROWS, 1000)
    whole.load_state_dict(resnet18)
    with torch.no_grad():
        assert torch.allclose(net.eval()(images), whole.eval()(images)[:, rows], atol=1e-5)


def test_rows_of_a_file_with_a_convolution_for_its_head(tmp_path: Path) -> None:
    whole = factory.build(Recipe(model="squeezenet1_1"), 1000, seed=1)
    path = tmp_path / "weights.pt"
    torch.save(whole.state_dict(), path)
    recipe = Recipe(model="squeezenet1_1", weights=str(path), head="imagenet")
    titles = ("goldfish, Carassius auratus", "TENCH")
    factory.check(recipe, 32, 32, titles)
    net = factory.build(recipe, 2, 0, titles)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = whole.eval()(images)[:, [1, 0]]
        torch.testing.assert_close(net.eval()(images), wanted)


def test_rows_of_a_file_that_has_other_classes(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(factory.build(Recipe(model="squeezenet1_1"), 20, seed=1).state_dict(), path)
    recipe = Recipe(model="squeezenet1_1", weights=str(path), head="imagenet")
    with pytest.raises(ModelError, match=r"ImageNet's 1,000 classes, but .* has 20; set head"):
        factory.check(recipe, 32, 32, ("goldfish", "tench"))


def test_a_new_head_that_is_a_convolution(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(factory.build(Recipe(model="squeezenet1_1"), 20, seed=1).state_dict(), path)
    net = factory.build(Recipe(model="squeezenet1_1", weights=str(path)), 3, seed=0)
    head = heads.head(net)
    assert isinstance(head, torch.nn.Conv2d)
    assert heads.outputs(head) == 3
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("7", 'class "7" has no ImageNet class of its name; set head = "new"'),
        ("gold", 'class "gold" has no ImageNet class of its name; set head = "new"'),
        ("CARDIGAN", 'class "CARDIGAN" has 2 ImageNet classes of its name; set head = "new"'),
    ],
)
def test_names_that_are_no_class_or_two(title: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        heads.imagenet_rows(["goldfish", title])
    assert str(caught.value) == message


def test_how_a_name_is_written_tells_two_classes_apart() -> None:
    titles = ["cardigan", "Cardigan, Cardigan Welsh corgi"]
    assert heads.imagenet_rows(titles) == [474, 264]


def test_the_classes_of_tiny_imagenet_have_rows_of_their_own(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "tiny-imagenet-20.zip") as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist()}
        wnids = archive.read(f"{folder}/wnids.txt").decode().split()
        lines = archive.read(f"{folder}/words.txt").decode().splitlines()
    words = dict(line.split("\t") for line in lines)
    rows = heads.imagenet_rows([words[wnid] for wnid in wnids])
    assert len(set(rows)) == len(wnids) == 20
