"""Signals that ask a process to leave."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import sys, time
from tuneoff.search.work.signals import Stop

with Stop() as stop:
    while True:
        print(bool(stop()), flush=True)
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_heard_and_the_second_ends_the_process_with_a_line(number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "False\n"
    process.send_signal(number)
    while process.stdout.readline() != "True\n":
        pass
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said == "Ended at once. The same command goes on from the last checkpoints.\n"
