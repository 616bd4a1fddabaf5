"""The benchmark of a suggestion's time prints what it says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import optuna
import pytest
from click.testing import CliRunner


@pytest.fixture
def script(script_folder: Path) -> ModuleType:
    return importlib.import_module("suggestion_time")


@pytest.mark.slow
def test_tables(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "MANY", ((30, 2), (40, 1)))
    before = optuna.logging.get_verbosity()
    try:
        done = CliRunner().invoke(
            script.command, ["--trials", "12", "--trials", "20", "--repeats", "1"]
        )
    finally:
        optuna.logging.set_verbosity(before)
    assert done.exit_code == 0, done.output
    rows = re.findall(r"^\| (\S.*?) \| ([\d.]+) \|", done.output, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [
        *script.MEASURED,
        "30 trials x 2 epochs",
        "40 trials x 1 epoch",
    ]
    assert all(float(seconds) > 0 for _, seconds in rows)


def test_histories_are_equal(script: ModuleType) -> None:
    first, second = (script.history(20, 9, seed=0) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.params, a.intermediate_values) == (b.params, b.intermediate_values)
    assert all(len(trial.intermediate_values) == 9 for trial in first)
    assert all(trial.value == trial.intermediate_values[9] for trial in first)
