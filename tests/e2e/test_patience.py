"""What is away for a while when a process starts, or is held by another one, is waited for."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def small(tuneoff: Any, digits: Callable[..., list[str]]) -> Any:
    """``tuneoff`` with a study that takes seconds."""
    tuneoff("create", *digits(repeats="1", budget__epochs="3"))
    return tuneoff


@pytest.fixture
def stopped(small: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was stopped while it had the lock of the database."""
    lock = Path(small.storage.removeprefix("sqlite:///") + ".lock")
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        yield holder
        holder.kill()


def test_a_launch_begins_before_its_database(
    postgres_server: Any,
    postgres_url: str,
    make_tuneoff: Callable[..., Any],
    digits: Callable[..., list[str]],
    until: Callable[..., Any],
    read_ledger: Callable[[str], Any],
) -> None:
    """Its workers, too, find the database away when they start; each was bad input."""
    tuneoff = make_tuneoff(postgres_url)
    tuneoff("create", *digits(repeats="1", budget__epochs="3"))
    postgres_server.stop()
    launch = tuneoff.start("launch", "digits", "--workers", "2", "--gpus", "none")
    until(lambda: "waiting for database" in launch.text, "a line that says so")
    postgres_server.start()
    until(launch.workers, "workers")
    postgres_server.stop()
    logs = tuneoff.work.glob("digits-*/logs/*.log")
    first = until(lambda: next(iter(tuneoff.work.glob("digits-*/logs/*.log")), None), "a log")
    until(lambda: "waiting for database" in first.read_text(), "a worker that waits")
    postgres_server.start()
    assert launch.wait(240) == 0, launch.text + "".join(log.read_text() for log in logs)
    assert "a worker died" not in launch.text
    assert {trial["state"] for trial in read_ledger(postgres_url).trials()} <= {
        "COMPLETE",
        "PRUNED",
    }


@pytest.mark.parametrize("command", [("status",), ("compare", "digits")])
def test_a_command_waits_briefly(
    command: tuple[str, ...], make_tuneoff: Callable[..., Any], inside: Callable[..., Any]
) -> None:
    began = time.monotonic()
    said = inside(make_tuneoff("postgresql://me@127.0.0.1:1/db"), *command, code=1)
    assert said.out == []
    assert said.err[-1].startswith("Error: the database postgresql")
    assert "could not be reached for 10 s" in said.err[-1]
    assert "Traceback" not in said.text
    assert time.monotonic() - began < 60


def test_a_worker_hears_the_wish_to_leave_while_it_waits_for_the_database(
    make_tuneoff: Callable[..., Any], until: Callable[..., Any]
) -> None:
    worker = make_tuneoff("postgresql://me@127.0.0.1:1/db").start("worker", "digits")
    until(lambda: "waiting for database" in worker.text, "a line that says so")
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 128 + signal.SIGTERM
    assert worker.err[-1].startswith("Error: asked to leave")


def test_a_worker_hears_the_wish_to_leave_while_it_waits_for_a_lock(
    small: Any, stopped: subprocess.Popen[bytes], until: Callable[..., Any]
) -> None:
    worker = small.start("worker", "digits", "--device", "cpu")
    line = f"which process {stopped.pid} holds though it is stopped"
    until(lambda: line in worker.text, "a line that says so")
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 128 + signal.SIGTERM
    assert worker.err[-1].startswith("Error: asked to leave")


def test_a_command_says_that_it_waits_for_a_lock(
    small: Any, stopped: subprocess.Popen[bytes], until: Callable[..., Any]
) -> None:
    words = ("--lr", "0.03", "--momentum", "0.9", "--weight_decay", "1e-4")
    trying = small.start("try", "digits", *words)
    until(lambda: f"`kill -CONT {stopped.pid}` lets it go on" in trying.text, "a line")
    stopped.kill()
    assert trying.wait(60) in (0, 2)  # the budget may be spent
    assert "Traceback" not in trying.text


@pytest.fixture
def small_disk(make_disk: Callable[[str, str], Path]) -> Path:
    """A file system of 8 megabytes."""
    return make_disk("disk", "8m")


def test_a_full_disk_under_the_database(
    small_disk: Path,
    make_tuneoff: Callable[..., Any],
    digits: Callable[..., list[str]],
    inside: Callable[..., Any],
    until: Callable[..., Any],
    read_ledger: Callable[[str], Any],
) -> None:
    """SQLite needs room to be read, even. Commands end with one line, and workers wait."""
    tuneoff = make_tuneoff(f"sqlite:///{small_disk}/x.db")
    tuneoff("create", *digits(repeats="1", budget__epochs="3"))
    rest = small_disk / "rest"
    with contextlib.suppress(OSError), rest.open("wb", buffering=0) as file:
        while True:  # until there is no space
            file.write(bytes(4096))
    worker = tuneoff.start("worker", "digits", "--device", "cpu")
    for command in ("status", "stop"):
        said = inside(tuneoff, command, "digits", code=1)
        assert "Traceback" not in said.text
        assert re.match(r"Error: the database .* could not be used for 1\d s \(disk", said.err[-1])
    until(lambda: "waiting for database" in worker.text, "a worker that waits")
    rest.unlink()
    assert worker.wait(120) == 0, worker.text
    assert "Traceback" not in worker.text
    assert {trial["state"] for trial in read_ledger(tuneoff.storage).trials()} == {"COMPLETE"}
