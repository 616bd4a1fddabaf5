"""The command door as the search sees it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tuneoff import references
from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.errors import DataError, ModelError, OwnCodeError
from tuneoff.trainer.own.command import CommandTrainer
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

CODE = """
import json, os, sys
assert os.environ["TUNEOFF_DEVICE"] == sys.argv[2]
seen = [os.environ.get(n) for n in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
print(seen, flush=True)
with open(os.environ["TUNEOFF_REPORT"], "a") as file:
    for epoch in range(1, int(sys.argv[3]) + 1):
        print(json.dumps({"epoch": epoch, "value": float(sys.argv[1]), "test": 0.5}), file=file)
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnTraining:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(CODE)
    command = f"{sys.executable} train.py {{lr}} {{device}} {{epochs}}"
    references.allow([references.name_of_command(command)])
    return OwnTraining(2, command=command)


def test_a_run_gives_the_records_of_its_epochs(recipe: OwnTraining, tmp_path: Path) -> None:
    trainer, run = CommandTrainer(), tmp_path / "run"
    given = recipe.override({"lr": 0.25})
    for replayed in (False, True):
        records = list(trainer.train(given, HyperParams(), RunSeed(), run, lambda: False))
        assert [(r.epoch, r.validation_error, r.test_error, r.lr, r.replayed) for r in records] == [
            (1, 0.25, 0.5, 0.25, replayed),
            (2, 0.25, 0.5, 0.25, replayed),
        ]
    assert trainer.newest(run) is not None


def test_a_command_sees_the_gpu_and_the_threads_that_are_its_own(
    recipe: OwnTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    trainer = CommandTrainer("cuda:1", threads=3)
    given = recipe.override({"lr": 0.25})
    list(trainer.train(given, HyperParams(), RunSeed(), tmp_path / "run", lambda: False))
    assert "['6', '3']" in (tmp_path / "run" / "command.log").read_text()


def test_the_code_is_known_by_its_digest(recipe: OwnTraining, tmp_path: Path) -> None:
    one = CommandTrainer().check(recipe)
    assert one.is_own
    assert one == CommandTrainer().check(recipe)
    (tmp_path / "train.py").write_text(CODE + "# changed\n")
    assert one.digest != CommandTrainer().check(recipe).digest


def test_one_that_cannot_go_on_is_said_so(recipe: OwnTraining) -> None:
    again = OwnTraining(2, command=recipe.command, resumable=False)
    (note,) = CommandTrainer().check(again).notes
    assert "begins again" in note
    assert OwnTraining.from_dict(again.to_dict()) == again
    assert "resumable" not in recipe.to_dict()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-program {lr}", "there is no program no-such-program here"),
        (f"{sys.executable} missing.py {{lr}}", "there is no missing.py in"),
    ],
)
def test_a_command_that_is_not_here_is_refused(
    recipe: OwnTraining, command: str, says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        CommandTrainer().check(OwnTraining(2, command=command))


def test_a_command_that_nobody_allowed_is_not_started(recipe: OwnTraining, tmp_path: Path) -> None:
    other = OwnTraining(1, command=f"{recipe.command} --other", params={"lr": 1})
    with pytest.raises(references.NotAllowed, match="--allow command-"):
        next(CommandTrainer().train(other, HyperParams(), RunSeed(), tmp_path / "r", lambda: False))
    assert not (tmp_path / "r").exists()


def test_what_only_our_trainer_can_do_is_refused(recipe: OwnTraining, tmp_path: Path) -> None:
    with pytest.raises(OwnCodeError, match="cannot be asked for scores"):
        CommandTrainer().evaluate(recipe, tmp_path, "test")
    with pytest.raises(DataError, match="command of your own"):
        CommandTrainer().predict(recipe, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        ({"command": "train {epochs}"}, "trial.command: lr is searched, but never occurs"),
        ({"command": "train {lr} {depth}"}, "{depth} in [trial] command stands for nothing"),
        ({"command": "train '{lr}"}, "No closing quotation"),
        ({"command": "train {lr}", "stop_seconds": 400.0}, "must be less than workers.grace"),
        ({"command": "train {lr}", "stop_seconds": -1.0}, "stop_seconds must be from 0"),
        ({"trainer": "mine:train", "resumable": False}, "resumable and stop_seconds are for"),
    ],
)
def test_a_study_file_with_a_command_that_cannot_be_filled_in_is_refused(
    trial: dict[str, object], says: str
) -> None:
    values = {
        "name": "s",
        "trial": {"epochs": 2, **trial},
        "space": {"lr": {"low": 0.1, "high": 1.0}},
        "budget": {"epochs": 4},
        "arms": {"random": {"sampler": "random"}},
    }
    with pytest.raises((SpecError, ValueError)) as error:
        StudySpec.model_validate(values)
    assert says in str(error.value)
