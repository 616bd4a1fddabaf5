"""A command and all that it started end when they are to, and when nobody is there to say so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tuneoff.trainer.own import supervisor
from tuneoff.trainer.own.process import LAST_LINES, LOG_BYTES, CommandProcess, hold

FORKS = """
import os, sys, time
if os.fork() == 0:
    os.setsid()  # leaves the group
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.005)
"""
"""Leaves a process in a session of its own, whose number is in the file."""


def until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    patience = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.005)


def held(folder: Path) -> int:
    found = list[int]()

    def is_free() -> bool:
        lock = hold(folder / "lock")
        if lock is not None:
            found.append(lock)
        return lock is not None

    until(is_free)
    return found[0]


class Starter:
    """Starts commands, and ends what a failing test has left."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[CommandProcess]()

    def __call__(self, *words: str, silent_seconds: float = 30.0) -> CommandProcess:
        log, lock = self.folder / "log", held(self.folder)
        one = CommandProcess(words, {"SAID": "yes"}, log, lock, silent_seconds)
        os.close(lock)
        self.started.append(one)
        return one

    def python(self, code: str, *words: str) -> CommandProcess:
        return self(sys.executable, "-I", "-S", "-c", code, *words)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for one in starter.started:
        one.kill()


def ended(one: CommandProcess) -> int | None:
    until(lambda: not one.alive())
    return one.code


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def test_its_exit_code_and_its_last_lines_are_known(start: Starter) -> None:
    one = start("sh", "-c", "echo $SAID; echo 'out\x1b[1m' >&2; printf '10%%\\r20%%\\n'; exit 3")
    assert ended(one) == 3
    assert one.last_lines() == ["yes", "out\\x1b[1m", "20%"]
    assert one.missing is None


def test_a_command_that_is_not_found_says_so(start: Starter) -> None:
    one = start("no-such-command-here", "1")
    until(lambda: not one.alive())
    assert one.missing == "No such file or directory"


def test_a_later_attempt_has_last_lines_of_its_own(start: Starter) -> None:
    ended(start("echo", "first"))
    one = start("echo", "second")
    ended(one)
    assert one.last_lines() == ["second"]


def test_a_flood_is_kept_in_part(start: Starter) -> None:
    one = start.python(f"for i in range({LOG_BYTES // 20}): print(f'line {{i:050d}}')")
    assert ended(one) == 0
    assert (start.folder / "log").stat().st_size <= LOG_BYTES
    assert len(one.last_lines()) == LAST_LINES
    assert int(one.last_lines()[-1].split()[1]) == LOG_BYTES // 20 - 1


def test_children_that_it_leaves_end_with_it(start: Starter) -> None:
    one = start.python(FORKS, str(start.folder / "pid"))
    assert ended(one) == 0
    assert not is_there(pid_in(start.folder / "pid"))


def test_sigterm_lets_it_save_and_end(start: Starter) -> None:
    saved = start.folder / "saved"
    one = start(
        "sh", "-c", f"trap 'echo > {saved}; exit 0' TERM; echo up; while :; do sleep .01; done"
    )
    until(one.last_lines)
    one.stand_still()
    one.ask_to_end()
    one.end_within(30)
    assert one.code == 0
    assert saved.exists()


@pytest.mark.slow
def test_who_asked_it_to_end_goes_on_when_the_signal_is_sent(start: Starter) -> None:
    """Else a command would begin an epoch that its worker says it has seen, before the signal."""
    one = start("sleep", "1000")
    until(lambda: one.alive() and one.started)
    children = psutil.Process().children()
    (between,) = [child for child in children if supervisor.__file__ in child.cmdline()]
    between.send_signal(signal.SIGSTOP)  # a busy machine, at its worst
    resumed = threading.Event()

    def resume() -> None:
        time.sleep(0.3)
        resumed.set()
        between.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=resume)
    thread.start()
    one.ask_to_end()
    assert resumed.is_set()
    thread.join()
    assert ended(one) == -signal.SIGTERM


def test_what_does_not_hear_sigterm_is_killed_after_the_grace_time(start: Starter) -> None:
    one = start("sh", "-c", "trap '' TERM; echo up; while :; do sleep .01; done")
    until(one.last_lines)
    asked = []
    one.ask_to_end()
    one.end_within(0.1, meanwhile=lambda: asked.append(1))
    assert one.code == -signal.SIGKILL
    assert asked


@pytest.mark.slow
def test_what_stands_still_does_nothing_until_it_goes_on(start: Starter) -> None:
    one = start("sh", "-c", "while :; do echo x; sleep .005; done")
    until(one.last_lines)
    one.stand_still()
    time.sleep(0.1)
    before = one.printed()
    time.sleep(0.1)
    assert one.printed() == before
    one.go_on()
    until(lambda: one.printed() != before)


def test_the_lock_is_held_while_a_command_lives(start: Starter) -> None:
    one = start("sleep", "1000")
    until(lambda: one.alive() and one.started)
    assert hold(start.folder / "lock") is None
    one.kill()
    lock = hold(start.folder / "lock")
    assert lock is not None
    os.close(lock)


@pytest.mark.slow
def test_it_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    """With its children, those too that left its group; and another worker can go on then."""
    code = f"""
import sys, time
from pathlib import Path
from tuneoff.trainer.own.process import CommandProcess, hold
folder = Path(sys.argv[1])
forks = {FORKS!r} + "\\nopen(sys.argv[2], 'w').write(str(os.getpid()))\\ntime.sleep(1000)"
words = [sys.executable, "-c", forks, str(folder / "child"), str(folder / "command")]
CommandProcess(words, {{}}, folder / "log", hold(folder / "lock"))
time.sleep(1000)
"""
    worker = subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path)])
    pids = list[int]()
    try:
        pids = [pid_in(tmp_path / "child"), pid_in(tmp_path / "command")]
        assert all(map(is_there, pids))
        worker.kill()
        worker.wait()
        os.close(held(tmp_path))  # free: another worker can go on
        assert not any(map(is_there, pids))
    finally:
        worker.kill()
        worker.wait()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_it_ends_when_its_worker_stands_still_for_too_long(tmp_path: Path) -> None:
    """Another worker takes the run over then, and must not run it beside this one."""
    code = """
import sys, time
from pathlib import Path
from tuneoff.trainer.own.process import CommandProcess, hold
folder = Path(sys.argv[1])
words = ["sh", "-c", "echo $$ > $0; sleep 1000", str(folder / "command")]
one = CommandProcess(words, {}, folder / "log", hold(folder / "lock"), silent_seconds=0.5)
while one.alive():
    time.sleep(0.01)
sys.exit(7 if one.silent else 1)
"""
    worker = subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path)])
    try:
        pid = pid_in(tmp_path / "command")
        time.sleep(1.0)
        assert is_there(pid)
        worker.send_signal(signal.SIGSTOP)
        until(lambda: not is_there(pid))
        worker.send_signal(signal.SIGCONT)
        assert worker.wait() == 7
    finally:
        worker.kill()
        worker.wait()
