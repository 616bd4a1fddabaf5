"""`tuneoff new`: a study file to start from, out of a function, a command or a folder of images."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tuneoff import references
from tuneoff.search.cli.starting import new
from tuneoff.search.errors import UserError
from tuneoff.search.spec.draft_images import EPOCHS, RUNS, STARTUP
from tuneoff.search.spec.reading import read_study_file
from tuneoff.trainer.data.sources.trashnet import IMAGES

TRAIN = """
from typing import Literal

def train(params, context):
    rate = params["lr"]
    for name in ("a", "b"):
        width = params.get("width", 64)
    return rate * width if params.get("deep", True) else params.get("act", "relu")

def mixed(params, context, lr=0.1): ...

def more(params, context, verbose=1):
    return params.get("lr", 0.1)

def old(lr: float = 0.1, how: Literal["a", "b"] = "b", path="x", *, dropout=0.2): ...

class Net: ...
"""
SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("-o", "--opt", choices=["sgd", "adam"], default="sgd")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--quiet", action="store_true")
raise SystemExit("it is never run")
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "its_loop.py").write_text(TRAIN)
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(references, "_allowed", set())
    yield
    sys.modules.pop("its_loop", None)


def start(*words: str) -> str:
    """Run the command; what it says."""
    result = CliRunner().invoke(new, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(name: str = "mine") -> dict[str, Any]:
    return tomllib.loads(Path(f"{name}.toml").read_text())


def test_a_loop_says_what_it_reads() -> None:
    said = start("mine", "--from", "its_loop:train")
    assert "tuneoff check mine.toml" in said
    found = written()
    assert found["trial"] == {"trainer": "its_loop:train", "epochs": 5, "params": {"act": "relu"}}
    assert list(found["space"]) == ["lr", "width", "deep"]
    assert found["space"]["width"] == {"low": 16, "high": 256, "log": True}
    (hand,) = found["arms"]["hand"]["configs"]
    assert hand == {"lr": 0.01, "width": 64, "deep": True, "note": "the defaults"}


def test_a_function_that_does_not_fit_yet_says_what_it_takes() -> None:
    assert "will be called with (params, context)" in start("mine", "--from", "its_loop:old")
    found = written()
    assert found["space"]["lr"] == {"low": 0.01, "high": 1.0, "log": True}
    assert found["space"]["how"] == ["a", "b"]
    assert found["arms"]["hand"]["configs"][0]["how"] == "b"
    assert found["trial"]["params"] == {"path": "x"}


def test_the_two_that_every_loop_takes_are_no_parameters() -> None:
    start("mine", "--from", "its_loop:mixed")
    assert list(written()["space"]) == ["lr"]
    assert "context" not in Path("mine.toml").read_text().partition("name =")[2]


def test_further_arguments_with_defaults_do_no_harm() -> None:
    assert "will be called" not in start("mine", "--from", "its_loop:more")
    assert "verbose" not in Path("mine.toml").read_text()
    assert list(written()["space"]) == ["lr"]


def test_a_script_declares_its_options_and_is_not_run() -> None:
    command = "python train.py --lr {lr} --opt {opt} --seed {seed} --depth {depth}"
    said = start("mine", "--command", command)
    assert "has no {epochs}" in said
    found = written()
    assert found["trial"]["command"] == command
    assert found["space"]["opt"] == ["sgd", "adam"]
    assert list(found["space"]) == ["lr", "opt"]
    start("all", "--command", "python train.py ${args} --epochs {epochs}")
    assert list(written("all")["space"]) == ["lr", "opt", "batch_size"]


@pytest.mark.slow
def test_a_folder_of_images_makes_a_study_that_can_be_created(tmp_path: Path) -> None:
    with zipfile.ZipFile(IMAGES) as brought:
        names = [name for name in brought.namelist() if name.startswith("train/")]
        brought.extractall(tmp_path, names)
    start("photos", "--images", "train")
    file = read_study_file(Path("photos.toml"))
    assert file.spec.data is not None
    assert file.spec.data.path == str(tmp_path / "train")
    assert file.spec.trial.images == 240
    assert file.spec.arms["hand"].configs
    assert len(file.spec.arms["hand"].configs) >= RUNS  # so that both arms spend as much


@pytest.mark.slow
def test_a_folder_beside_this_one_is_named_without_dots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(IMAGES) as brought:
        names = [name for name in brought.namelist() if name.startswith("train/")]
        brought.extractall(tmp_path, names)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    start("photos", "--images", "../train")
    file = read_study_file(Path("photos.toml"))
    assert file.spec.data is not None
    assert file.spec.data.path == str((tmp_path / "train").resolve())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mine", "--from", "its_loop:no"), "its_loop has no no"),
        (("mine", "--from", "its_loop:Net"), "is no function"),
        (("mine", "--from", "its_loop"), "is no reference"),
        (("mine", "--command", 'python "'), "cannot be read"),
        (("mine", "--command", "python {lr"), 'a single "{"'),
        (("mine", "--images", "none"), "there is no such folder"),
        (("my study", "--from", "its_loop:train"), "cannot name a study"),
        (("there", "--from", "its_loop:train"), "is there already"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(words: tuple[str, ...], said: str) -> None:
    Path("there.toml").write_text("mine")
    with pytest.raises((UserError, references.BadReference), match=said) as caught:
        CliRunner().invoke(new, words, catch_exceptions=False)
    assert "\n" not in str(caught.value)
    assert [path.read_text() for path in Path().glob("*.toml")] == ["mine"]


def test_one_of_three_is_given() -> None:
    assert CliRunner().invoke(new, ["mine"]).exit_code == 2
    both = ["mine", "--from", "its_loop:train", "--images", "x"]
    assert CliRunner().invoke(new, both).exit_code == 2


@pytest.mark.parametrize("goes_on", [False, True])
def test_most_runs_of_the_draft_for_images_come_after_the_start_up(goes_on: bool) -> None:
    """Whatever the model does with the first ones: it leaves them, or trains all to the end."""
    first = 1 if not goes_on else EPOCHS
    later = (RUNS * EPOCHS - STARTUP * first) // EPOCHS
    assert later > STARTUP
