"""The worked examples of CONTRIBUTING.md work as they stand, each as the one file that it is."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import click
import pytest

from tuneoff.registry import Registry
from tuneoff.search.cli import options
from tuneoff.search.errors import UserError
from tuneoff.search.launch import registry as launchers
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.build import build_policy
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, StudyResults
from tuneoff.search.spec import registry as arms
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.testing import PolicyConformance
from tuneoff.trainer.data import registry as data_sets
from tuneoff.trainer.models import registry as models
from tuneoff.trainer.recipe import DataSource, Recipe

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(heading: str, language: str) -> str:
    """The one block of this language in a section."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


def as_module(patch: pytest.MonkeyPatch, name: str, source: str) -> types.ModuleType:
    """The source as if it stood in a module of this name, until the test is over."""
    module = types.ModuleType(name)
    patch.setitem(sys.modules, name, module)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module


def enter(patch: pytest.MonkeyPatch, registry: Registry[Any], line: str, names: Any) -> str:
    """Puts an example's line into a registry, until the test is over; the name in it."""
    ((name, entry),) = eval(f"{{{line}}}", vars(names)).items()
    patch.setitem(registry._entries, name, entry)
    return str(name)


class TestSampler(PolicyConformance):
    """It keeps a policy's promises in a study file that names it."""

    @pytest.fixture(autouse=True)
    def _added(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = "tuneoff.search.policies.halton"
        as_module(monkeypatch, module, block("Add a sampler", "python"))
        line = block("Add a sampler", "text")
        self.name = enter(monkeypatch, arms.SAMPLERS, line, arms)

    def make_policy(self) -> Policy:
        spec = StudySpec.parse(
            {
                "name": "example",
                "data": {"name": "digits"},
                "trial": {"epochs": self.horizon},
                "space": {
                    "lr": {"low": 1e-4, "high": 1.0, "log": True},
                    "momentum": {"low": 0.5, "high": 0.99},
                },
                "budget": {"epochs": self.budget},
                "arms": {"mine": {"sampler": self.name}},
            },
            "example",
        )
        return build_policy(spec, SearchSpace.of(spec), "mine", 0)


def test_a_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tuneoff.trainer.torch_trainer import TorchTrainer

    module = "tuneoff.trainer.data.sources.noise"
    as_module(monkeypatch, module, block("Add a data set", "python"))
    line = block("Add a data set", "text")
    name = enter(monkeypatch, data_sets.DATASETS, line, data_sets)
    task = TorchTrainer("cpu", cache=tmp_path).check(Recipe(data=DataSource(name)))
    assert task.classes == ("dark", "light")
    assert task.sizes == {"train": 134, "validation": 16, "test": 50}


@pytest.mark.slow
def test_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneoff.trainer.models import factory

    name = enter(monkeypatch, models.MODELS, block("Add a model", "text"), models)
    factory.check(Recipe(model=name), 64, 64)


def test_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    module = as_module(monkeypatch, "spending", block("Add a figure", "python"))
    runs = tuple(ArmRun(arm, 0, 9, 6, 1.0, {}, (), None) for arm in ("bayes", "hand"))
    results = StudyResults("example", ("bayes", "hand"), 1, 3, 0.9, runs)
    (panels,) = module.spending_panels(ReportData(results, compare(results)))
    assert isinstance(panels, Panels)
    assert [bar.name for bar in panels.figures[0].data] == ["bayes", "hand"]


def test_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    as_module(monkeypatch, "tuneoff.search.launch.nice", block("Add a launcher", "python"))
    name = enter(monkeypatch, launchers.LAUNCHERS, block("Add a launcher", "text"), launchers)

    @click.command()
    @options.launcher_option
    @options.launcher_options
    def launch(**given: Any) -> Any:
        options.check_launcher(given["place"])
        return given["niceness"]

    def run(*words: str) -> Any:
        return launch.main(words, standalone_mode=False)

    assert run("--on", name, "--niceness", "5", "--gpus", "0") == 5
    with pytest.raises(UserError, match=f"--niceness goes with --on {name}, not with --on ray"):
        run("--on", "ray", "--niceness", "5")
