"""A command is followed epoch by epoch, stopped, gone on with, and judged when it fails."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuneoff.trainer.errors import CheckpointError, Diverged, Interrupted, ModelError
from tuneoff.trainer.own import command_run
from tuneoff.trainer.own.command_job import CommandFailed, Epoch, Job
from tuneoff.trainer.own.command_run import run_command

TRAIN = """
import json, os, pathlib, sys, time
env = os.environ
folder, epochs = pathlib.Path(env["TUNEOFF_FOLDER"]), int(env["TUNEOFF_EPOCHS"])
lr = json.loads(env["TUNEOFF_PARAMS"])["lr"]
state, trained = folder / "state", pathlib.Path(sys.argv[1])
done = int(state.read_text()) if state.exists() else 0
assert done == int(env["TUNEOFF_RESUME_EPOCH"])

def report(epoch, value):
    with open(env["TUNEOFF_REPORT"], "a") as file:
        print(json.dumps({"epoch": epoch, "value": value, "test": lr / 2 / epoch}), file=file)

def wait(epoch):  # for the epoch to be read, as tuneoff.report does
    while int(pathlib.Path(env["TUNEOFF_REPORT"] + ".seen").read_text() or 0) < epoch:
        time.sleep(0.001)

for epoch in range(done + 1, epochs + 1):
    BEFORE
    with trained.open("a") as file:
        print(epoch, file=file)
    state.write_text(str(epoch))
    AFTER
    report(epoch, VALUE)
    WAIT
END
"""
"""Trains nothing; the file that is its argument gets a line for each epoch."""


class Runs:
    """Makes runs of a command in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trained_file = folder, folder / "trained"

    def job(
        self,
        before: str = "",
        after: str = "",
        value: str = "lr / epoch",
        wait: str = "wait(epoch)",
        end: str = "",
        **changes: Any,
    ) -> Job:
        code = TRAIN.replace("{", "{{").replace("}", "}}")
        places = {"BEFORE": before, "AFTER": after, "VALUE": value, "WAIT": wait, "END": end}
        for place, text in places.items():
            code = code.replace(place, text)
        words = [sys.executable, "-I", "-S", "-c", code, str(self.trained_file)]
        job = Job(f"{shlex.join(words)} {{lr}}", {"lr": 0.5}, 3, 7, "cpu", self.folder / "run")
        return replace(job, **changes)

    def trained(self) -> list[int]:
        return [int(line) for line in self.trained_file.read_text().split()]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def never() -> bool:
    return False


def run(job: Job, tick: Callable[[], bool] = never) -> list[Epoch]:
    return list(run_command(job, tick))


def told(epochs: list[Epoch]) -> list[tuple[int, float, float | None, bool]]:
    return [(e.epoch, e.value, e.test, e.replayed) for e in epochs]


WHOLE = [(1, 0.5, 0.25), (2, 0.25, 0.125), (3, 0.5 / 3, 0.25 / 3)]


def test_every_epoch_comes_once_and_a_finished_run_is_replayed(runs: Runs) -> None:
    job = runs.job()
    assert told(run(job)) == [(*epoch, False) for epoch in WHOLE]
    assert told(run(job)) == [(*epoch, True) for epoch in WHOLE]
    assert runs.trained() == [1, 2, 3]


@pytest.mark.slow
def test_a_run_that_was_closed_goes_on_and_trains_nothing_twice(runs: Runs) -> None:
    for epoch in (1, 2, 3):
        epochs = run_command(runs.job(), never)
        for _ in range(epoch):
            last = next(epochs)
        epochs.close()
        assert last.epoch == epoch
        assert not last.replayed
    assert runs.trained() == [1, 2, 3]


@pytest.mark.slow
def test_while_an_epoch_is_given_out_nothing_is_trained(runs: Runs) -> None:
    epochs = run_command(runs.job(wait="time.sleep(0.2)"), never)
    next(epochs)
    time.sleep(0.5)
    assert runs.trained() == [1]
    epochs.close()


@pytest.mark.slow
@pytest.mark.parametrize("resumable", [True, False])
def test_a_run_that_cannot_go_on_begins_anew(runs: Runs, resumable: bool) -> None:
    """It is said that it cannot, or there is nothing in its folder."""
    job = runs.job(after="state.unlink()" if resumable else "", resumable=resumable)
    epochs = run_command(job, never)
    next(epochs)
    epochs.close()
    assert [epoch.replayed for epoch in run(job)] == [False] * 3
    assert runs.trained() == [1, 1, 2, 3]


@pytest.mark.slow
def test_one_that_is_stopped_within_an_epoch_goes_on_from_the_last_one(runs: Runs) -> None:
    job = runs.job(before="time.sleep(0.5) if epoch == 2 else None")
    seen = list[Epoch]()
    with pytest.raises(Interrupted):
        seen.extend(run_command(job, lambda: told(seen) == [(*WHOLE[0], False)]))
    assert runs.trained() == [1]
    assert told(run(job)) == [(*WHOLE[0], True), (*WHOLE[1], False), (*WHOLE[2], False)]
    assert runs.trained() == [1, 2, 3]


CATCH = """
if epoch == 2 and not (folder / "half").exists():
        import signal
        def save(*_):
            (folder / "half").touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("ready", flush=True)
        time.sleep(1000)
"""


def test_what_it_saves_within_an_epoch_is_there_when_it_goes_on(runs: Runs) -> None:
    job = runs.job(before=CATCH.strip())
    log = job.folder / "command.log"
    with pytest.raises(Interrupted):
        run(job, lambda: log.exists() and "ready" in log.read_text())
    assert [epoch.replayed for epoch in run(job)] == [True, False, False]
    assert runs.trained() == [1, 2, 3]


def test_one_that_is_asked_to_stop_before_it_begins_is_not_started(runs: Runs) -> None:
    with pytest.raises(Interrupted):
        run(runs.job(), lambda: True)
    assert not runs.trained_file.exists()


def test_what_the_tick_raises_passes_through_and_the_command_is_killed(runs: Runs) -> None:
    class Lost(Exception):
        pass

    def tick() -> bool:
        if runs.trained_file.exists():
            raise Lost
        return False

    with pytest.raises(Lost):
        run(runs.job(before="time.sleep(1000) if epoch == 2 else None"), tick)


@pytest.mark.slow
@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "None"])
def test_a_value_that_is_not_finite_ends_the_run(runs: Runs, value: str) -> None:
    job, seen = runs.job(value=f"0.5 if epoch == 1 else {value}"), list[Epoch]()
    with pytest.raises(Diverged) as error:
        seen.extend(run_command(job, never))
    assert error.value.epoch == 2
    assert [epoch.epoch for epoch in seen] == [1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("sys.exit('no\\nGPU') if epoch == 2 else None", "", "code 1 in epoch 2; it printed last:"),
        ("os.kill(os.getpid(), 9)", "", "was ended by SIGKILL in epoch 1; it printed nothing"),
        ("sys.exit(0)", "", "ended without a report of epoch 1 of 3"),
        ("", "epoch += 1", "epoch 2 when epoch 1 was due"),
        ("", "epoch = min(epoch, 2)", "reported epoch 2 twice"),
        ("", "report(epoch, 'high') if epoch == 2 else None", "must be numbers"),
        ("", "report(4, 1) if epoch == 3 else None", "epoch 4, after the run's last, 3"),
        ("print('e', flush=True); time.sleep(99)", "", "0.5 s in epoch 1; it printed last: e"),
    ],
)  # fmt: skip
def test_a_command_that_fails_is_one_line(runs: Runs, before: str, after: str, says: str) -> None:
    with pytest.raises(CommandFailed) as error:
        run(runs.job(before, after, hung_seconds=0.5))
    assert says in str(error.value)
    assert str(error.value).isprintable()
    assert "command.log" in str(error.value)


@pytest.mark.parametrize(
    ("module", "here"),
    [("tuneoff", True), ("sklearn.datasets", True), ("no_such_module", False), ("__main__", False)],
)
def test_a_module_that_tuneoffs_own_python_has_is_said(module: str, here: bool) -> None:
    lines = ["Traceback", f"ModuleNotFoundError: No module named '{module}'"]
    said = str(CommandFailed("it ended", lines, Path("log")))
    assert ("activate tuneoff's environment" in said) == here
    assert "activate" not in str(CommandFailed("it ended", [], Path("log")))


@pytest.mark.slow
def test_output_is_a_sign_of_life(runs: Runs) -> None:
    talks = "for i in range(16 // epoch**3): print(i, flush=True); time.sleep(0.05)"
    assert len(run(runs.job(talks, hung_seconds=0.6), never)) == 3


@pytest.mark.parametrize("command", ["no-such-command-here {lr}", "/etc {lr}"])
def test_a_command_that_cannot_be_started_is_no_fault_of_the_run(runs: Runs, command: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be started: (No such file|Permission denied)"):
        run(replace(runs.job(), command=command))


def test_a_failure_after_the_last_epoch_is_said_and_does_not_count(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        epochs = run(runs.job(end="sys.exit('late')"))
    assert len(epochs) == 3
    assert "then ended with exit code 1: late" in caplog.text


@pytest.mark.slow
def test_the_command_of_an_earlier_attempt_is_waited_for(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_run, "LOCK_SECONDS", 0.1)
    first: Generator[Epoch, None, None] = run_command(runs.job(), never)
    next(first)
    with pytest.raises(CheckpointError, match="an earlier attempt is still alive"):
        run(runs.job())
    first.close()
    assert told(run(runs.job())) == [(*WHOLE[0], True), (*WHOLE[1], False), (*WHOLE[2], False)]
    assert runs.trained() == [1, 2, 3]


def test_a_folder_that_cannot_be_written_is_one_line(runs: Runs) -> None:
    (runs.folder / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        run(runs.job(folder=runs.folder / "file" / "run"))
