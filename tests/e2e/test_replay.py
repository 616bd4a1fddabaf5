"""`tuneoff replay` on a small study of digits, as a process."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = """
name = "tiny"
repeats = 1
[data]
name = "digits"
validation = 0.2
[trial]
model = "proxy"
epochs = 2
batch_size = 64
flip = false
[space]
lr = { low = 1e-4, high = 3.0, log = true }
momentum = { low = 0.5, high = 0.99 }
[budget]
epochs = 14
[arms.random]
sampler = "random"
[arms.quasi]
sampler = "mysamplers:Mine"
[promote]
epochs = 2
top = 1
seeds = 1
"""

OWN = """
from optuna.samplers import RandomSampler

class Mine(RandomSampler):
    pass
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small study that has been run."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "tiny.toml").write_text(STUDY)
    for module in ("mysamplers", "typed"):
        (folder / f"{module}.py").write_text(OWN)
    work = ("worker", "tiny", "--promote", "--threads", "1", "--allow", "mysamplers")
    for words in (("create", "tiny.toml"), work):
        done = _tuneoff(folder, *words)
        assert done.returncode == 0, done.stderr
    return folder


def _times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "tuneoff-work").rglob("*")}


def _tuneoff(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuneoff", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_prints_a_verdict_marked_as_simulation_and_writes_nothing(folder: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in sorted((folder / "tuneoff-work").rglob("*"))
    }
    new = ("--set", "arms.new.sampler=typed:Mine")  # code that is typed needs no permission
    done = _tuneoff(folder, "replay", "tiny", "--repeats", "2", "--allow", "mysamplers", *new)
    assert done.returncode == 0, done.stderr
    assert "tiny (simulation)" in done.stdout
    assert "rank correlation" in done.stdout
    assert "nothing was trained" in done.stdout
    assert "new" in done.stdout
    assert _times(folder) == before
    with sqlite3.connect(folder / "tuneoff.db") as database:
        assert database.execute("SELECT name FROM tuneoff_studies").fetchall() == [("tiny",)]


def test_json_says_the_same_for_the_same_seed(folder: Path) -> None:
    words = (
        "replay",
        "tiny",
        "--repeats",
        "2",
        "--replays",
        "2",
        "--json",
        "--allow",
        "mysamplers",
    )
    one, other = _tuneoff(folder, *words), _tuneoff(folder, *words)
    assert one.returncode == 0, one.stderr
    assert one.stdout == other.stdout
    found = json.loads(one.stdout)
    assert found["simulation"] is True
    assert len(found["simulations"]) == 2
    assert sum(found["pairs"][0]["outcomes"].values()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "trial.epochs=9"), "--set trial.epochs: a simulation knows"),
        (("--repeats", "0"), "--repeats"),
        (("--repeats", "1"), "if you trust it, start with --allow mysamplers"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder: Path, words: tuple[str, ...], said: str) -> None:
    done = _tuneoff(folder, "replay", "tiny", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert "Traceback" not in done.stderr


def test_a_study_without_runs_is_refused(folder: Path) -> None:
    other = ("--storage", "sqlite:///other.db")
    created = _tuneoff(folder, "create", "tiny.toml", "--set", "name=empty", *other)
    assert created.returncode == 0, created.stderr
    done = _tuneoff(folder, "replay", "empty", *other)
    assert done.returncode == 2
    assert "too few runs for a simulation" in done.stderr
