"""The models and heads by name: what documents say of them, and what another model takes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.distributed import ALONE
from tuneoff.trainer.models import factory, heads, registry, stage_tables
from tuneoff.trainer.models.published import PUBLISHED, packaged
from tuneoff.trainer.models.registry import HEADS, IMAGENET_WEIGHTS, MODELS, ModelEntry
from tuneoff.trainer.models.stage_tables import Stage
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


def test_the_study_files_readme_says_of_each_model_where_its_weights_are_and_what_they_want() -> (
    None
):
    text = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    section = text.split("## Models and weights")[1].split("\n## ")[0]
    told = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            for model in re.findall("`([^`]+)`", cells[0]):
                told[model] = (cells[2], cells[3])
    known = {}
    for model in MODELS:
        entry, brought = MODELS.entry(model), packaged(model)
        ways = ["torchvision"] if entry.imagenet.get("imagenet") else []
        ways += ["`{}` {}".format(*brought[1].package.split("=="))] if brought else []
        known[model] = (", or ".join(ways) or "none", f"`{entry.normalise}`, `{entry.padding}`")
    assert told == known


def test_the_packages_of_the_extra_are_those_that_are_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = {file.package for file in PUBLISHED.values() if file.package}
    assert set(project["optional-dependencies"]["pretrained"]) == known


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
        "squeezing": ModelEntry(
            "torchvision.models:mobilenet_v3_small",
            "",
            head="classifier.3",
            stages=(
                Stage("body", ("features", "avgpool", "+flatten", "classifier.0", "classifier.1")),
                Stage("head", ("classifier.2", "classifier.3")),
            ),
        ),
        "other-dense": ModelEntry(
            "torchvision.models:densenet121",
            "",
            head="classifier",
            stages=stage_tables.DENSENET,
            recomputed_norms=".norm1",
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
    head = heads.head(model)
    assert head.out_features == 4
    before = [p.detach().clone() for p in model.parameters()]

    stepper = Stepper(model, sgd(model, recipe, HyperParams()), recipe, 1, ALONE)
    stepper.freeze(len(MODELS.entry(another_model).stages) - 1)
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


def test_the_document_on_fine_tuning_lists_the_stages_of_every_model() -> None:
    text = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \| ([a-z0-9, ]+, head) \|$", text, re.MULTILINE)
    said = {
        name: tuple(stages.split(", "))
        for names, stages in rows
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert said == {name: MODELS.entry(name).stage_names for name in MODELS}
