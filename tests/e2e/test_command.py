"""Any command: the example as a user runs it, and commands and workers that are killed or hang."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "any_command"


def test_the_example_is_searched_trained_in_full_exported_and_trained_again(
    tuneoff: Any,
) -> None:
    shutil.copy(EXAMPLE / "train.py", tuneoff.folder)
    study = (EXAMPLE / "study.toml").read_text()
    assert study.count('"python ') == 1
    (tuneoff.folder / "study.toml").write_text(study.replace('"python ', f'"{sys.executable} '))
    short = ("repeats=1", "trial.epochs=2", "budget.epochs=4", "promote.epochs=3")
    changes = [word for change in short for word in ("--set", change)]
    said = tuneoff("run", "study.toml", *changes, "--workers", "1", limit=400).text
    assert "Report:" in said
    shown = tuneoff("show", "any-command", "full#0").text
    assert "epochs = 3" in shown
    assert "test error" in shown
    tuneoff("export", "any-command", "-o", "best.toml")
    again = tuneoff("train", "best.toml", "--threads", "1", limit=240).text
    assert "This is exactly what it was in the study." in again
    refused = tuneoff("worker", "any-command", code=2).text.replace("\n", " ")
    assert "nobody allowed this process to run (command-" in refused


TRAIN = """
import json, os, pathlib, sys, time

how, epochs = sys.argv[1], int(sys.argv[2])
folder, done = pathlib.Path(os.environ["TUNEOFF_FOLDER"]), int(os.environ["TUNEOFF_RESUME_EPOCH"])
state, log = folder / "state", pathlib.Path("log")

def note(what):
    with log.open("a") as file:
        file.write(f"{how} {what} {os.getpid()}\\n")

if done:
    assert state.read_text() == str(done)
for epoch in range(done + 1, epochs + 1):
    print(f"{how} begins {epoch}", flush=True)
    if epoch == 2 and not pathlib.Path(f"{how}.once").exists():
        pathlib.Path(f"{how}.once").touch()
        note("stuck")
        time.sleep(1000)
    state.write_text(str(epoch))
    note(epoch)
    with open(os.environ["TUNEOFF_REPORT"], "a") as file:
        file.write(json.dumps({"epoch": epoch, "value": 0.5 / epoch, "test": 0.25}) + "\\n")
    while int(pathlib.Path(os.environ["TUNEOFF_REPORT"] + ".seen").read_text() or 0) < epoch:
        time.sleep(0.01)
"""
STUDY = """
name = "faults"
repeats = 1
[trial]
command = "PYTHON train.py {how} {epochs}"
epochs = 3
stop_seconds = 0.5
[space]
how = ["a", "b"]
[budget]
epochs = 6
[arms.hand]
configs = [{ how = "a" }, { how = "b" }]
[workers]
grace_seconds = 3.0
epoch_seconds = 3600.0
"""


class Faults:
    """A study of two runs whose commands stand still for good in epoch 2, the first time."""

    def __init__(self, tuneoff: Any, until: Any) -> None:
        self.tuneoff, self._until = tuneoff, until
        (tuneoff.folder / "train.py").write_text(TRAIN)
        (tuneoff.folder / "study.toml").write_text(STUDY.replace("PYTHON", sys.executable))

    def lines(self) -> list[list[str]]:
        """What the commands noted: which of the two, an epoch or "stuck", process."""
        log = self.tuneoff.folder / "log"
        whole = log.read_text().rpartition("\n")[0] if log.exists() else ""
        return [line.split() for line in whole.splitlines()]

    def stuck(self, how: str) -> int:
        """The process of a command, once it stands still."""
        found = self._until(
            lambda: [pid for name, what, pid in self.lines() if (name, what) == (how, "stuck")],
            f"{how} standing still",
        )
        return int(found[0])

    def start(self, *changes: str) -> Any:
        """Run the study with one worker."""
        words = [word for change in changes for word in ("--set", change)]
        return self.tuneoff.start("run", "study.toml", *words, "--workers", "1")

    def trained(self) -> dict[str, int]:
        """How often each epoch of each run was trained."""
        return Counter(f"{how} {what}" for how, what, _ in self.lines() if what != "stuck")


@pytest.fixture
def faults(tuneoff: Any, until: Any) -> Faults:
    return Faults(tuneoff, until)


WHOLE = {f"{how} {epoch}": 1 for how in "ab" for epoch in (1, 2, 3)}


def test_commands_that_are_killed_or_hang_fail_and_go_on_from_their_last_epoch(
    faults: Faults, read_ledger: Any
) -> None:
    running = faults.start("workers.epoch_seconds=8.0")
    os.kill(faults.stuck("a"), signal.SIGKILL)
    assert running.wait(200) == 0, running.text
    assert faults.trained() == WHOLE
    rows = read_ledger(faults.tuneoff.storage).attempts()
    assert sum(row.epochs for row in rows) == 6
    assert Counter(row.end for row in rows) == {"finished": 2, "failed": 2}
    killed = " ".join(faults.tuneoff("show", "faults", "hand/0#0").text.split())
    assert "the command was ended by SIGKILL in epoch 2; it printed last: a begins 2" in killed
    assert "printed a begins 1 printed" in killed
    assert "printed a begins 2 " in killed
    hung = " ".join(faults.tuneoff("show", "faults", "hand/0#1").text.split())
    assert "the command hung: it neither reported nor printed anything for 8 s in epoch 2" in hung


def test_workers_that_are_killed_or_asked_to_end_take_their_command_along_and_lose_nothing(
    faults: Faults, read_ledger: Any
) -> None:
    running = faults.start()
    faults.stuck("a")
    (worker,) = running.workers()
    worker.kill()
    pid = faults.stuck("b")
    running.signal(signal.SIGTERM)
    running.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert faults.trained() == {name: 1 for name in WHOLE if name not in ("b 2", "b 3")}
    assert faults.start().wait(200) == 0
    assert faults.trained() == WHOLE
    rows = read_ledger(faults.tuneoff.storage).attempts()
    assert sum(row.epochs for row in rows) == 6
    assert Counter(row.end for row in rows) == {"finished": 2, "lost": 1, "released": 1}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-program {how}", "there is no program no-such-program here"),
        (f"{sys.executable} missing.py {{how}}", "there is no missing.py in"),
        ("PYTHON train.py {how} {depth}", "{depth} in [trial] command stands for nothing"),
        ("PYTHON train.py {epochs}", "how is searched, but never occurs in [trial] command"),
    ],
)
def test_what_can_be_known_is_said_when_the_study_is_created(
    faults: Faults, inside: Any, command: str, says: str
) -> None:
    change = f'trial.command="{command}"'
    done = inside(faults.tuneoff, "create", "study.toml", "--set", change, code=2)
    assert says in done.text.replace("\n", " ")
    assert len(done.err) == 1
