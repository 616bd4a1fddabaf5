"""The benchmark of failures counts what it says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState


@pytest.fixture
def script(script_folder: Path) -> ModuleType:
    return importlib.import_module("feasibility")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_row_for_each_sampler(script: ModuleType) -> None:
    before = optuna.logging.get_verbosity()
    try:
        names = ["--sampler", "TPESampler", "--sampler", "RandomSampler"]
        done = CliRunner().invoke(script.command, ["--trials", "20", "--seeds", "1", *names])
    finally:
        optuna.logging.set_verbosity(before)
    assert done.exit_code == 0, done.output
    rows = re.findall(r"^\| (\w+Sampler) \| (.*) \|$", done.output, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["TPESampler", "RandomSampler"]
    assert all(len(cells.split(" | ")) == len(script.FAILING) + 1 for _, cells in rows)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("way", ["NaN", "infinity", "pruned by hand at 1e6"])
def test_half_of_the_rates_fail(script: ModuleType, way: str) -> None:
    objective = script.failing(script.FAILING[way])
    study = script.study_of(optuna.samplers.RandomSampler(seed=0), objective, 40)
    assert 5 <= script.failures(study) <= 15
    assert 0.0 <= script.best(study) < 1.0
    for trial in study.trials:
        assert trial.user_attrs["failed"] == (trial.params["rate"] > 1.0)
        if trial.user_attrs["failed"] and trial.state == TrialState.COMPLETE:
            assert way == "infinity"
