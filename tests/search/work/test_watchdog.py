"""The watchdog: acts on silence, and on nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator

import pytest

from tuneoff.search.work.watchdog import LOOKS, Watchdog

SHORT, LONG = 0.2, 60.0


@pytest.mark.slow
def test_it_acts_once_on_silence() -> None:
    acts: list[str] = []
    acted = threading.Event()

    def act() -> None:
        acts.append(threading.current_thread().name)
        acted.set()

    with Watchdog(SHORT, act) as dog:
        dog.watch()
        assert acted.wait(LONG)
        time.sleep(2 * SHORT)
    assert acts == ["watchdog"]


@pytest.mark.slow
def test_it_rests_while_items_are_used_and_watches_while_they_are_made() -> None:
    acted = threading.Event()

    def items() -> Generator[int, None, None]:
        yield 1
        assert acted.wait(LONG)
        yield 2

    with Watchdog(SHORT, acted.set) as dog:
        found = dog.over(items())
        assert next(found) == 1
        time.sleep(3 * SHORT)
        assert not acted.is_set()
        assert list(found) == [2]
        assert acted.is_set()


@pytest.mark.slow
def test_it_does_not_outlive_its_block() -> None:
    acted = threading.Event()
    with Watchdog(SHORT, acted.set) as dog:
        dog.watch()
    time.sleep(3 * SHORT)
    assert not acted.is_set()


@pytest.mark.slow
def test_a_process_that_was_stopped_does_not_hang() -> None:
    """Though it was silent for longer than is allowed."""
    code = f"""
import threading, time
from tuneoff.search.work.watchdog import Watchdog
acted = threading.Event()
with Watchdog({LOOKS * SHORT}, acted.set) as dog:
    dog.watch()
    print("stop me", flush=True)
    time.sleep({3 * SHORT})
    print("acted" if acted.is_set() else "did nothing", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "stop me\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.5 * LOOKS * SHORT)
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == "did nothing\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
