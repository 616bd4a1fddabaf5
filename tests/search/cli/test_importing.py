"""`tuneoff import`: a W&B sweep as a study file, and what is said of the rest of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from tuneoff.search.cli.importing import import_
from tuneoff.search.errors import UserError
from tuneoff.search.spec.reading import read_study_file

SWEEP = """
program: fit.py
project: vision
method: bayes
metric: {name: val_acc, goal: maximize}
early_terminate: {type: hyperband, min_iter: 3}
parameters:
  lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  decay: {distribution: log_uniform, min: -9, max: -2}
  dropout: {min: 0.0, max: 0.5}
  layers: {min: 1, max: 8}
  optimizer: {values: [sgd, adam], probabilities: [0.9, 0.1]}
  width: {value: 64}
  epochs: {value: 7}
  seed: {values: [1, 2]}
  noise: {distribution: normal, mu: 1.0, sigma: 0.25}
  odd: {distribution: beta, a: 1}
  head: {parameters: {lr: {values: [1e-3, 1e-2]}}}
command: ["${env}", python3, "${program}", "${args}", "${envvar:HOME}"]
"""


def test_a_sweep_becomes_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(SWEEP)
    result = CliRunner().invoke(import_, ["sweep.yaml", "mine"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = tomllib.loads(Path("mine.toml").read_text())
    assert found["trial"] == {
        "command": "python3 fit.py ${args} --epochs={epochs} --seed={seed}",
        "epochs": 7,
        "params": {"width": 64},
    }
    space = found["space"]
    assert space["lr"] == {"low": 1e-4, "high": 0.1, "log": True}
    assert space["decay"] == {"low": 0.00012341, "high": 0.135335, "log": True}
    assert space["dropout"] == {"low": 0.0, "high": 0.5}
    assert space["layers"] == {"low": 1, "high": 8}
    assert space["optimizer"] == ["sgd", "adam"]
    assert space["noise"] == {"low": 0.5, "high": 1.5}
    assert space["head.lr"] == [0.001, 0.01]
    assert found["metric"] == {"name": "val_acc", "direction": "maximize", "percent": True}
    for said in (
        "project: not taken over",
        "parameters.optimizer.probabilities: all are as likely",
        "parameters.seed: not searched; every run is given a seed of its own",
        "parameters.odd: {'distribution': 'beta', 'a': 1} is not understood; left out",
        "early_terminate: hyperband; curve-gp pauses weak runs itself",
        "command: ${envvar:HOME} has nothing in its place here; left out",
    ):
        assert said in result.output
    # The hand-tuned configuration lies in the space, and every section goes with the others.
    assert read_study_file(Path("mine.toml")).space.distributions.keys() == space.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("a: [", "is not valid YAML"),
        ("- 1", "holds no W&B sweep"),
        ("method: bayes", "there is no table of parameters"),
    ],
)
def test_bad_input_is_one_line(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("sweep.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        CliRunner().invoke(import_, ["sweep.yaml"], catch_exceptions=False)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.toml"))


def test_no_note_and_no_name_leaves_its_comment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text('"a\\nseed = 5": 1\nparameters: {"x\\ny": {min: 0, max: 1.0}}\n')
    CliRunner().invoke(import_, ["s.yaml"], catch_exceptions=False)
    found = tomllib.loads(Path("s.toml").read_text())
    assert found["seed"] == 0
    assert list(found["space"]) == ["x\ny"]
