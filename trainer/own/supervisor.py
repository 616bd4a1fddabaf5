"""A small process between a worker and a command of the user's: nothing of it outlives the worker.

It is run as a script, without any of tuneoff's modules, so that it starts in milliseconds::

    python -I -S supervisor.py LOCK LOG LOG_BYTES SILENT_SECONDS COMMAND...

LOCK is the number of an open file that is locked (flock). The lock stays for as long as the command
or anything that the command left is alive, so that another worker does not start the same run
beside it. What the command prints goes to the log,
of which the last LOG_BYTES are kept. The worker writes single bytes to standard input: "." as a
sign of life, "S" to stop the command (SIGSTOP), "C" to let it go on, "T" for SIGTERM, "K" for
SIGKILL. If the worker ends, which closes standard input, or shows no sign of life for
SILENT_SECONDS, everything is killed. Lines on standard output say how it goes: "started PID" or
"missing REASON", "asked" once SIGTERM is sent, "silent", and, last, "exit CODE" (negative: minus a
signal).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""It is the worker that says what is to be done."""
_CHUNK = 65_536
END_SECONDS = 10.0
"""What was killed and is still there after that is in the kernel's hands."""


class Log:
    """A file of bounded size that keeps what was written last."""

    def __init__(self, path: str, limit: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._limit = limit
        self._size = os.lseek(self._file, 0, os.SEEK_END)

    def write(self, data: bytes) -> None:
        """Append; a disk that is full costs lines, not the run."""
        try:
            if self._size + len(data) > self._limit:
                keep = max(0, self._limit // 2 - len(data))
                kept = os.pread(self._file, keep, max(0, self._size - keep))
                os.ftruncate(self._file, 0)
                os.lseek(self._file, 0, os.SEEK_SET)
                data = b"[earlier lines are left out]\n" + kept + data
                self._size = 0
            self._size += os.write(self._file, data)
        except OSError:
            pass


class Command:
    """The command and all that it started."""

    def __init__(self, words: list[str], lock: int) -> None:
        """Start it in a session of its own (OSError if it cannot be)."""
        self.code: int | None = None
        self.output, output = os.pipe()
        failed, failing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                for number in (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores two
                    signal.signal(number, signal.SIG_DFL)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.set_inheritable(lock, True)  # held while any of them lives
                os.execvp(words[0], words)
            except OSError as error:
                os.write(failing, (error.strerror or str(error)).encode())
            finally:
                os._exit(127)
        os.close(output)
        os.close(failing)
        reason = os.read(failed, 1000)
        os.close(failed)
        if reason:
            os.waitpid(self.pid, 0)
            raise OSError(reason.decode())

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> None:
        """Take note of what has ended."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return

    def end(self) -> None:
        """Kill it and all that it left, those too that have made sessions of their own."""
        self.signal(signal.SIGKILL)
        patience = time.monotonic() + END_SECONDS
        while time.monotonic() < patience:
            for pid in _children():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return  # whatever they left has come to us, and is dead as well
            if pid == self.pid:
                self.code = os.waitstatus_to_exitcode(status)
            if pid == 0:
                time.sleep(0.001)


def main(arguments: list[str]) -> int:
    """Run a command until it has ended, or the worker has."""
    lock, log_path, log_bytes, silent_seconds, *words = arguments
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    log = Log(log_path, int(log_bytes))
    try:
        command = Command(words, int(lock))
    except OSError as error:
        _say(f"missing {error}")
        return 1
    _say(f"started {command.pid}")
    _follow(command, log, woken, float(silent_seconds))
    command.end()
    _drain(command, log)
    _say(f"exit {command.code}")
    return 0


def _follow(command: Command, log: Log, woken: int, silent_seconds: float) -> None:
    """Until the command ended, or is to be killed."""
    heard, sources = time.monotonic(), [0, command.output, woken]
    while command.code is None:
        ready, _, _ = select.select(sources, [], [], min(1.0, silent_seconds / 4))
        if 0 in ready:
            asked = os.read(0, 100)
            if not asked:
                return  # the worker is gone
            heard = time.monotonic()
            for byte in asked:
                if byte == ord("K"):
                    return
                _obey(command, byte)
        if command.output in ready:
            data = os.read(command.output, _CHUNK)
            if data:
                log.write(data)
            else:
                sources.remove(command.output)  # it closed its output and goes on
        if woken in ready:
            os.read(woken, 100)
            command.reap()
        if time.monotonic() - heard > silent_seconds:
            _say("silent")
            return


def _obey(command: Command, byte: int) -> None:
    if byte == ord("S"):
        command.signal(signal.SIGSTOP)
    elif byte == ord("C"):
        command.signal(signal.SIGCONT)
    elif byte == ord("T"):
        command.signal(signal.SIGTERM)
        command.signal(signal.SIGCONT)  # one that stands still would not hear it
        _say("asked")


def _drain(command: Command, log: Log) -> None:
    """What is left in the pipe; nobody who could write to it is alive."""
    os.set_blocking(command.output, False)
    try:
        while data := os.read(command.output, _CHUNK):
            log.write(data)
    except BlockingIOError:
        pass


def _children() -> list[int]:
    try:
        with open("/proc/thread-self/children", encoding="ascii") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _prctl(option: int, value: int) -> None:
    """Linux alone has it; elsewhere the process group must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _say(line: str) -> None:
    with suppress(OSError):  # the worker is gone
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
