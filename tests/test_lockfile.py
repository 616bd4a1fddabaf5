"""A lock file lets in one process; whoever waits says so and can be asked to leave."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tuneoff.lockfile import SAY_SECONDS, StillLocked, locked
from tuneoff.retry import LEAVING_SECONDS, Patience
from tuneoff.testing import FakeClock

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A lock file, and another process that holds it."""
    path = tmp_path / "x.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    yield path, holder
    holder.kill()
    holder.wait()
    holder.stdout.close()


def patience(seconds: float) -> tuple[Patience, FakeClock]:
    clock = FakeClock()
    return Patience(seconds, clock=clock, sleep=clock.sleep), clock


def enter(path: Path, patience: Patience, what: str = "") -> None:
    with locked(path, patience, what):
        pytest.fail("two inside")


def test_one_at_a_time(tmp_path: Path) -> None:
    inside, most = [0], []

    def go() -> None:
        for _ in range(20):
            with locked(tmp_path / "x.lock", Patience(60)):
                inside[0] += 1
                most.append(inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 80


def test_whoever_waits_says_so_and_who_holds_it(
    held: tuple[Path, subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    path, holder = held
    patient, clock = patience(3 * SAY_SECONDS)
    with caplog.at_level(logging.WARNING), pytest.raises(StillLocked) as caught:
        enter(path, patient)
    assert clock.now == pytest.approx(3 * SAY_SECONDS, abs=0.1)
    assert len(caplog.messages) == 2
    for line in (*caplog.messages, str(caught.value)):
        assert f"the lock of {path}, which process {holder.pid} holds" in line


def test_a_stopped_holder_is_named(held: tuple[Path, subprocess.Popen[bytes]]) -> None:
    path, holder = held
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    with pytest.raises(StillLocked, match=f"kill -CONT {holder.pid}"):
        enter(path, patience(1)[0], "the study")


@pytest.mark.slow
def test_whoever_is_asked_to_leave_waits_no_longer(
    held: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    patient, clock = patience(math.inf)
    with pytest.raises(StillLocked, match="the study"):
        enter(held[0], replace(patient, stop=lambda: clock.now > 60), "the study")
    assert 60 < clock.now < 61
    clock.now = 100
    with pytest.raises(StillLocked), locked(held[0], replace(patient, stop=lambda: True)):
        pytest.fail("two inside")
    assert clock.now == pytest.approx(100 + LEAVING_SECONDS, abs=0.1)


def test_the_lock_of_a_killed_holder_is_free(
    held: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    path, holder = held
    holder.kill()
    with locked(path, Patience(60)):
        pass
