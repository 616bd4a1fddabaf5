"""Runs a command of the user's in a session of its own, of which nothing outlives this process."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tuneoff.messages import printable
from tuneoff.trainer.own import supervisor

LOG_BYTES = 1_000_000
"""Of what a command prints, so much is kept: the last."""
SILENT_SECONDS = 30.0
"""A command whose worker shows no sign of life for so long is killed: another worker may have taken
the run over by then."""
_ORDER_SECONDS = 5.0
"""The supervisor has sent a signal after that, unless the machine hardly moves."""
LAST_LINES, LAST_BYTES = 20, 4_000
"""Of a command's log, so much goes with a message."""


def hold(path: Path) -> int | None:
    """The lock of a run, held; None while a command that has it is alive, on whatever machine.

    Args:
        path: a file that stays, and is made if missing.

    Raises:
        OSError: the file cannot be written.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


class CommandProcess:
    """A command, from its start until everything that it started is gone.

    As a context manager it kills what is left at the end of the block.

    Attributes:
        started: True once it runs, or has run.
        missing: why the command could not be started; None if it was, or may yet be.
        code: its exit code once it has ended, negative for a signal.
        silent: True if it was killed because this process stood still for too long.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        lock: int,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        """Start the command.

        Args:
            environment: added to this process's.
            log: gets what it prints, after what is there.
            lock: of ``hold``, which the command and all that it starts hold, too.

        Raises:
            OSError: no process can be started, or the files cannot be written.
        """
        self.started = self.silent = self._asked = False
        self.missing: str | None = None
        self.code: int | None = None
        self._log, self._log_begins = log, log.stat().st_size if log.exists() else 0
        self._rest = b""
        arguments = [str(lock), str(log), str(LOG_BYTES), str(silent_seconds), *words]
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **environment},
            pass_fds=[lock],
            start_new_session=True,  # the terminal's Ctrl-C is for the worker alone
        )
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._orders, self._news = self._supervisor.stdin, self._supervisor.stdout
        os.set_blocking(self._news.fileno(), False)
        self._over = threading.Event()
        self._beats = threading.Thread(
            target=self._beat, args=(silent_seconds / 10,), name="command", daemon=True
        )
        self._beats.start()

    def __enter__(self) -> CommandProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def alive(self) -> bool:
        """True until the command has ended with all that it started, or could not be started."""
        if self._over.is_set():
            return False
        ended = self._supervisor.poll() is not None  # all that it said is in the pipe then
        with suppress(BlockingIOError):
            while came := os.read(self._news.fileno(), 4096):
                self._hear(came)
        if ended:
            if self.code is None and self.missing is None:
                self.code = -signal.SIGKILL  # the supervisor was killed, and the command with it
            self._close()
        return not ended

    def stand_still(self) -> None:
        """Stop the command where it is (SIGSTOP); it uses no processor then."""
        self._order(b"S")

    def go_on(self) -> None:
        """Let it go on."""
        self._order(b"C")

    def ask_to_end(self) -> None:
        """Send SIGTERM, and return once it is sent; a command that stands still goes on for it."""
        self._asked = False
        self._order(b"T")
        patience = time.monotonic() + _ORDER_SECONDS
        while self.alive() and not self._asked and time.monotonic() < patience:
            time.sleep(0.001)

    def end_within(self, seconds: float, meanwhile: Callable[[], object] | None = None) -> None:
        """Wait until it has ended, and kill it with all that it started if it takes longer.

        Args:
            meanwhile: called several times a second.
        """
        patience = time.monotonic() + seconds
        while self.alive() and time.monotonic() < patience:
            if meanwhile is not None:
                meanwhile()
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        """Kill it and all that it started, and wait until they are gone."""
        if self.alive():
            self._order(b"K")
            with suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(2 * supervisor.END_SECONDS)
            if self.alive():  # what it could not kill hangs in the kernel
                self._supervisor.kill()
                self._supervisor.wait()
                self.alive()

    def printed(self) -> tuple[int, int]:
        """Its log's size and time: other ones than before if it has printed since."""
        try:
            found = self._log.stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    def last_lines(self) -> list[str]:
        """What it printed last: ``LAST_LINES`` lines of ``LAST_BYTES`` together at most."""
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                begin = self._log_begins if size >= self._log_begins else 0
                file.seek(max(begin, size - LAST_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        # A progress bar returns to the line's beginning: what it drew last is what stands there.
        lines = (line.rstrip().rpartition("\r")[2] for line in text.split("\n"))
        return [printable(line) for line in lines if line.strip()][-LAST_LINES:]

    def _beat(self, seconds: float) -> None:
        while not self._over.wait(seconds):
            self._order(b".")

    def _order(self, letter: bytes) -> None:
        with suppress(OSError, ValueError):  # it has ended meanwhile
            self._orders.write(letter)

    def _hear(self, came: bytes) -> None:
        *lines, self._rest = (self._rest + came).split(b"\n")
        for line in lines:
            word, _, said = line.decode(errors="replace").partition(" ")
            if word == "started":
                self.started = True
            elif word == "missing":
                self.missing = said
            elif word == "asked":
                self._asked = True
            elif word == "silent":
                self.silent = True
            elif word == "exit":
                self.code = int(said)

    def _close(self) -> None:
        self._over.set()
        self._beats.join()
        self._orders.close()
        self._news.close()
