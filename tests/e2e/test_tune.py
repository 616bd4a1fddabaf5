"""`tuneoff tune` as a real process: lines through a pipe, kill -9 and Ctrl-C in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.snapshot import Snapshot

STUDY = """
name = "handy"
repeats = 1
[data]
name = "digits"
[trial]
epochs = 40
model = "proxy"
[space]
lr = { low = 1e-4, high = 1.0, log = true }
[budget]
epochs = 80
[arms.hand]
configs = []
[arms.machine]
sampler = "random"
"""


class Session:
    """A session whose lines we write, and whose words we read."""

    def __init__(self, folder: Path) -> None:
        out = (folder / "said.txt").open("wb")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tuneoff", "tune", "handy"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        out.close()

    @property
    def said(self) -> str:
        return (self.folder / "said.txt").read_text(encoding="utf-8")

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def until(self, words: str) -> None:
        end = time.monotonic() + 120
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.05)

    def close(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(STUDY)
    command = [sys.executable, "-P", "-m", "tuneoff", "create", "study.toml"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_session_that_is_cut_off_is_gone_on_with(folder: Path, number: signal.Signals) -> None:
    first = Session(folder)
    try:
        first.say("lr=0.05 note: the first")
        first.until(" of 40")
        first.process.send_signal(number)
        code = first.process.wait(120)
        assert code == (-number if number == signal.SIGKILL else 128 + number)
        if number == signal.SIGINT:
            assert "#0 is paused after epoch" in first.said
    finally:
        first.process.kill()
        first.close()
    again = Session(folder)
    try:
        again.say("quit")
        assert again.close() == 0
    finally:
        again.process.kill()
    assert "Going on with #0: lr = 0.05" in again.said
    assert "#0 ends at" in again.said
    assert "machine" not in first.said + again.said
    ends, epochs = _attempts(folder)
    assert epochs >= 40  # what was trained after the last checkpoint is trained again, and counts
    assert ends[-1] == "finished"
    assert len(ends) == 2


def test_ctrl_c_while_a_line_is_waited_for(folder: Path) -> None:
    session = Session(folder)
    try:
        session.until("`help` lists the commands")
        session.until("lr: 0.0001 to 1")
        time.sleep(0.5)  # it asks for a line by then, and says so to terminals only
        session.process.send_signal(signal.SIGINT)
        assert session.process.wait(60) == 128 + signal.SIGINT
    finally:
        session.process.kill()
        session.close()
    assert "The same command goes on from here." in session.said
    assert "Traceback" not in session.said


def _attempts(folder: Path) -> tuple[list[Any], int]:
    database = open_database(f"sqlite:///{folder / 'tuneoff.db'}")
    try:
        study = open_study(database, "handy", folder / "tuneoff-work")
        state = Snapshot.of(study).state(study.arms[0])
        return [row.end for row in state.attempts[0]], state.spent
    finally:
        database.close()
