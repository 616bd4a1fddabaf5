"""The models and heads by name: what documents say of them, and what another model takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.distributed import ALONE
from tuneoff.trainer.models import factory, heads, registry
from tuneoff.trainer.models.registry import HEADS, IMAGENET_WEIGHTS, MODELS, ModelEntry
from tuneoff.trainer.optim import sgd
from tuneoff.trainer.presets import PRESETS
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step import Stepper

ROOT = Path(__file__).parents[3]


def test_a_check_of_names_imports_no_torch() -> None:
    """Nor torchvision, which takes seconds."""
    code = "import sys; from tuneoff.trainer.recipe import Recipe; Recipe(model='resnet18')"
    code += "; assert not {'torch', 'torchvision'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [*MODELS, *HEADS])
def test_every_name_says_what_it_is(name: str) -> None:
    about = (MODELS if name in MODELS else HEADS).about(name)
    assert about
    assert "\n" not in about


def test_the_study_files_readme_lists_exactly_the_models() -> None:
    text = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"`model` \(([^)]*)\)", text)
    assert re.findall(r"`([^`]+)`", listed) == list(MODELS)


def test_the_readme_lists_exactly_the_weights_heads_and_presets() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"`weights` \(none, (.*), a file\)", text)
    assert listed.split(", ") == list(IMAGENET_WEIGHTS)
    assert set(re.findall(r'`head = "(\w+)"`', text)) == set(HEADS) - {"new"}
    assert set(re.findall(r"`(paper-\w+)`", text)) == set(PRESETS)
    assert all(preset["model"] in MODELS for preset in PRESETS.values())


@pytest.fixture(params=["squeezing", "other-dense"])
def another_model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of torchvision's that is not ours, by nothing but an entry in the registry."""
    entries = {
        # Its last layer has a dotted path, as in most of torchvision's models.
        "squeezing": ModelEntry("torchvision.models:mobilenet_v3_small", "", head="classifier.3"),
        "other-dense": ModelEntry(
            "torchvision.models:densenet121", "", head="classifier", recomputed_norms=".norm1"
        ),
    }
    monkeypatch.setattr(MODELS, "_entries", MODELS._entries | entries)
    name: str = request.param
    return name


@pytest.mark.slow
def test_another_model_of_torchvisions_needs_one_entry(another_model: str, tmp_path: Path) -> None:
    first = Recipe(model=another_model, precision="fp32")
    factory.check(first, 32, 32)
    with torch.no_grad():
        torch.save(factory.build(first, 9, seed=0).state_dict(), tmp_path / "weights.pt")
    recipe = first.override({"weights": str(tmp_path / "weights.pt"), "frozen_epochs": 1})
    factory.check(recipe, 32, 32)
    model = factory.build(recipe, 4, seed=1)  # with another head than the file's
    head = heads.head(model, another_model)
    assert head.out_features == 4
    before = [p.detach().clone() for p in model.parameters()]

    stepper = Stepper(model, sgd(model, recipe, HyperParams()), recipe, 1, ALONE)
    stepper.freeze(True)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stepper.step(images, Targets(torch.tensor([0, 1])), whole=2, rate=0.1, number=0)
    own = {id(p) for p in head.parameters()}
    for was, now in zip(before, model.parameters(), strict=True):
        assert torch.equal(was, now) == (id(now) not in own)


def test_models_without_a_memory_efficient_form_refuse_to_have_one(another_model: str) -> None:
    has_it = another_model in registry.with_memory_efficient_form()
    assert has_it == (another_model == "other-dense")
    if has_it:
        Recipe(model=another_model, memory_efficient=True)
        return
    with pytest.raises(ValueError, match="does nothing for squeezing; it is for: densenet121"):
        Recipe(model=another_model, memory_efficient=True)
