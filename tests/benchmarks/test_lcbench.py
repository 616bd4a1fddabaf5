"""The benchmark on LCBench's curves: its records, its resumption, its refusals."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

DATASET = "7593"
FIELDS = {
    "policy", "space", "dataset", "repeat", "workers", "equivalents", "horizon", "regret", "epochs",
    "trials", "seconds", "suggestions", "to_hand", "to_grid", "curve", "run",
}  # fmt: skip


@pytest.fixture
def lcbench() -> ModuleType:
    return importlib.import_module("lcbench")


@pytest.fixture
def surrogate(lcbench_data: Path) -> Any:
    module = importlib.import_module("lcbench_surrogate")
    names = ("model.onnx", "encoding.json", "reference.json")
    return module.Surrogate(module.Files(*(lcbench_data / name for name in names)))


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "lcbench.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def refused(
    lcbench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What the command says to bad input: one line, with exit code 2."""

    def refused(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lcbench.py", *arguments])
        with pytest.raises(SystemExit) as end:
            lcbench.main()
        printed = capsys.readouterr()
        assert end.value.code == 2
        assert printed.out == ""
        assert printed.err.startswith("Error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return refused


@pytest.mark.slow
def test_a_run_is_recorded_and_resumed(
    lcbench_data: Path, script_folder: Path, tmp_path: Path
) -> None:
    path, page = tmp_path / "out.json", tmp_path / "out.html"
    arguments = ["--datasets", DATASET, "--equivalents", "2", "--json", str(path)]
    policies = ["--policies", "random,tpe+hyperband:min_epochs=2"]

    done = bench(script_folder, *arguments, *policies, "--repeats", "1")
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text())
    assert content["header"]["runs"][0].keys() >= {"command", "date", "versions", "machine"}
    first = content["records"]
    assert [record["policy"] for record in first] == ["random", "tpe+hyperband:min_epochs=2"]
    for record in first:
        assert record.keys() == FIELDS
        assert record["regret"].keys() == {"2"}
        assert 52 < record["epochs"] <= 104
        assert record["suggestions"] == sum(record["trials"].values())
        assert record["curve"][0][0] == 1
        assert record["curve"][-1][1] == pytest.approx(record["regret"]["2"], abs=1e-6)
    assert first[0]["curve"][0] == first[1]["curve"][0], "start-up points are shared"
    assert "| random | 1 |" in done.stdout
    assert done.stderr.count("\n") == 2

    more = bench(script_folder, *arguments, *policies, "--repeats", "2", "--jobs", "2")
    assert more.returncode == 0, more.stderr
    content = json.loads(path.read_text())
    assert content["records"][:2] == first
    assert [(r["repeat"], r["run"]) for r in content["records"]] == [(0, 0), (0, 0), (1, 1), (1, 1)]
    assert "| random | 2 |" in more.stdout

    before = path.read_bytes()
    again = bench(script_folder, *arguments, *policies, "--repeats", "2")
    shown = bench(script_folder, *arguments, "--table-only", "--figure", str(page))
    assert again.stdout == shown.stdout == more.stdout
    assert path.read_bytes() == before
    assert "tpe+hyperband:min_epochs=2 (n = 2)" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policies", "bayes"], "unknown sampler 'bayes'"),
        (["--policies", "random,gp+asha"], "unknown pruner 'asha'"),
        (["--policies", "gp:startup"], "'startup' is not KEY=VALUE"),
        (["--policies", "gp:start=3"], "unknown option 'start'"),
        (["--policies", "one-at-a-time:start=3"], "start=3 is none of hand, middle"),
        (["--policies", "one-at-a-time:pace=3"], "unknown option 'pace'"),
        (["--policies", "gp:startup=many"], "startup=many is not a whole number"),
        (["--policies", "gp:startup=0"], "begin at 1"),
        (["--policies", "gp:candidates=3"], "are not for this sampler"),
        (["--policies", "top-k:candidates=900"], "more than budget.epochs = 1040"),
        (["--policies", "hand:persona=novice"], "NAME one of paper, careful, grid"),
        (["--policies", "hand+median:persona=grid"], "write hand:persona=NAME"),
        ([], "name at least one"),
        (["--policies", "random", "--space", "tiny"], "'tiny' is not one of"),
        (["--policies", "random", "--model", "nowhere/model.onnx"], "cannot be read"),
        (["--policies", "random", "--model", __file__], "is no model"),
        (["--policies", "random", "--figure", "out.png"], "must end in .html"),
        (["--table-only"], "has no record of these"),
    ],
)
def test_bad_input_is_one_line(
    refused: Callable[..., str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    path = tmp_path / "out.json"
    assert words in refused("--json", str(path), *arguments)
    assert not path.exists()


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"records": []}', '{"format": "other"}'])
def test_a_file_of_something_else_is_refused_and_kept(
    refused: Callable[..., str], tmp_path: Path, content: str
) -> None:
    path = tmp_path / "out.json"
    path.write_text(content)
    assert "holds something else" in refused("--json", str(path), "--policies", "random")
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--datasets", f"{DATASET},999"], "999: not in encoding.json or reference.json"),
        (["--json", "/nowhere/out.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(
    lcbench_data: Path,
    refused: Callable[..., str],
    tmp_path: Path,
    change: list[str],
    words: str,
) -> None:
    arguments = ["--json", str(tmp_path / "out.json"), "--policies", "random"]
    assert words in refused(*arguments, *change)
    assert list(tmp_path.iterdir()) == []


def test_records_of_another_surrogate_are_not_mixed(
    lcbench_data: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    other = {"format": "tuneoff lcbench 1", "header": {"runs": [], "surrogate": "0"}, "records": []}
    path.write_text(json.dumps(other))
    said = refused("--json", str(path), "--policies", "random")
    assert "another model or reference" in said
    assert json.loads(path.read_text()) == other


def test_the_hand_setting_has_the_error_of_the_reference(surrogate: Any) -> None:
    hand = {"learning_rate": 1e-2, "momentum": 0.9, "weight_decay": 1e-4}
    errors = surrogate.curve(DATASET, hand)
    assert len(errors) == 52
    assert errors[-1] == pytest.approx(surrogate.reference("core", DATASET).hand, abs=1e-4)


def test_options_of_a_policy_reach_it(lcbench: ModuleType) -> None:
    space = lcbench.search_space("full")
    plain = lcbench.build_policy("tpe+successive-halving", space, (1, 2), 20)
    assert (plain.startup, plain.pruning.min_epochs, plain.pruning.reduction) == (5, 1, 3)
    written = "tpe+successive-halving:startup=7:min_epochs=2:reduction=4"
    policy = lcbench.build_policy(written, space, (1, 2), 20)
    assert (policy.startup, policy.pruning.min_epochs, policy.pruning.reduction) == (7, 2, 4)
    assert policy.pruning.horizon == 52
    assert policy.seed == (1, 2)
    spec = lcbench.PolicySpec.parse("curve-gp:rungs=1/3/9:pause=no")
    assert (spec.sampler, spec.pruner) == ("curve-gp", "none")
    assert spec.options == {"rungs": "1/3/9", "pause": "no"}
    with pytest.raises(click.BadParameter, match="there twice"):
        lcbench.PolicySpec.parse("gp:startup=1:startup=2")


def test_changes_are_those_of_the_recommendation() -> None:
    records = importlib.import_module("lcbench_records")
    virtual = importlib.import_module("virtual")
    deep = [(0, 1, 5.0), (1, 1, 3.0), (0, 2, 4.0), (1, 2, 4.5), (0, 52, 4.0), (2, 1, 1.0)]
    finals = {0: 4.0, 1: 6.0, 2: 1.0}
    steps = [virtual.Step(i, t, e, error, finals[t]) for i, (t, e, error) in enumerate(deep, 1)]
    simulation = virtual.Simulation(tuple(steps), {}, 0.0, 3)
    assert records.changes(simulation) == [(1, 4.0), (2, 6.0), (3, 4.0)]
    cell = records.Cell("random", "core", DATASET, 0, 1, 2)
    reference = importlib.import_module("lcbench_surrogate").Reference(2.0, 6.0, 5.0, 3.0)
    record = records.make_record(cell, simulation, reference)
    assert record["regret"] == {"2": 0.5}
    assert record["to_hand"] == pytest.approx(1 / 52)
    assert record["to_grid"] is None


def test_tables_count_pairs() -> None:
    report = importlib.import_module("lcbench_report")
    regrets = {
        "ours": {("7593", 0): 0.1, ("7593", 1): 0.2, ("34539", 0): 0.3},
        "theirs": {("7593", 0): 0.4, ("7593", 1): 0.2, ("34539", 1): 0.0},
    }
    records = [
        {
            "policy": policy, "space": "core", "dataset": dataset, "repeat": repeat, "workers": 4,
            "equivalents": 2, "horizon": 52, "regret": {"2": regret}, "to_hand": to_hand,
            "to_grid": None, "seconds": 3.0, "suggestions": 2, "curve": [[1, regret]],
        }
        for policy, runs in regrets.items()
        for (dataset, repeat), regret in runs.items()
        for to_hand in [1.5 if policy == "ours" else None]
    ]  # fmt: skip
    text = report.tables(records, ["ours", "theirs"])
    assert "space core, 4 workers, 2 equivalents of 52 epochs, 2 data sets" in text
    assert "| ours | 3 | 0.200 ± 0.058 | 1.5 | > 2 | 1.5 |" in text
    assert "| theirs | 3 | 0.200 ± 0.115 | > 2 | > 2 | 1.5 |" in text
    assert text.endswith("| theirs | 2 | 1/1/0 |")
