"""Fixtures of the models' tests: published weights that are made up, and torch's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory, sources
from tuneoff.trainer.recipe import Recipe

Save = Callable[[Path, str, Mapping[str, Any]], Path]
Pin = Callable[..., None]


@pytest.fixture(scope="session")
def resnet18() -> Mapping[str, torch.Tensor]:
    """A state dict with the published one's names and shapes."""
    return factory.build(Recipe(model="resnet18"), 1000, seed=1).state_dict()


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's; returns the folder of its weights files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def save_with_hash() -> Save:
    """save_with_hash(folder, name, state): saves weights as torchvision's are named,
    NAME-SHA256PREFIX.pth."""

    def save(folder: Path, name: str, state: Mapping[str, Any]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "temporary"
        torch.save(state, path)
        prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        return path.rename(folder / f"{name}-{prefix}.pth")

    return save


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Pin:
    """pin(model, url, name="imagenet"): makes ``url`` the address of a model's weights."""

    def pin(model: str, url: str, name: str = "imagenet") -> None:
        monkeypatch.setattr(sources, "imagenet_url", lambda *of: {(model, name): url}[of])

    return pin


@pytest.fixture(scope="session")
def refused() -> Callable[[Recipe, str], None]:
    """refused(recipe, match): both a check and a build refuse it, in one line that matches."""

    def refused(recipe: Recipe, match: str) -> None:
        for attempt in (
            lambda: factory.check(recipe, 64, 64),
            lambda: factory.build(recipe, 5, 0),
        ):
            with pytest.raises(ModelError, match=match) as caught:
                attempt()
            assert "\n" not in str(caught.value)

    return refused
