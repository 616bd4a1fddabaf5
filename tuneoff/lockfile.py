"""Lock files: one process at a time, and whoever waits says so and can be asked to leave."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tuneoff.retry import Patience

log = logging.getLogger(__name__)

SAY_SECONDS = 5.0
"""Whoever waits for a lock says so after this time, and again each time it has doubled."""
_POLL_SECONDS = 0.05


class StillLocked(Exception):
    """A lock was not had before patience was over; the message says who holds it."""


class Wait:
    """One wait for a lock: says now and then what is waited for, until patience is over."""

    def __init__(self, patience: Patience, describe: Callable[[], str]) -> None:
        """
        Args:
            describe: what is waited for, and who has it, in words that follow "waiting for".
        """
        self._retry, self._describe, self._due = patience.begin(), describe, SAY_SECONDS

    def is_over(self) -> bool:
        """To be asked while waiting; True if waiting is to end."""
        if self._retry.waited >= self._due:
            log.warning("waiting for %s, for %.0f s so far", self._describe(), self._retry.waited)
            self._due *= 2
        return self._retry.is_over

    def given_up(self) -> StillLocked:
        """What to raise when it is over."""
        return StillLocked(f"waited {self._retry.waited:.0f} s in vain for {self._describe()}")


@contextmanager
def locked(path: Path, patience: Patience, what: str = "") -> Iterator[None]:
    """Hold a lock file against every other process of this machine; it stays when this ends.

    The lock is freed when its holder ends, however that comes.

    Args:
        patience: with whoever holds it. The longer it lasts, the longer an honest holder may take.
        what: is locked, for people; the file unless given.

    Raises:
        StillLocked: patience was over.
        OSError: the file cannot be written.
    """
    wait = Wait(patience, lambda: f"the lock of {what or path}{_held_by(path)}")
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            if wait.is_over():
                raise wait.given_up() from None
            patience.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _held_by(path: Path) -> str:
    """Words that name the process that holds a lock file; "" where that cannot be known."""
    try:
        file = f":{path.stat().st_ino}"
        locks = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]
        pid = next(int(f[4]) for f in locks if f[1] == "FLOCK" and f[5].endswith(file))
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except (OSError, StopIteration, ValueError, IndexError):
        return ""
    if pid == os.getpid():
        return ", which another thread of this process holds"
    stopped = stat.rpartition(")")[2].split()[0] == "T"
    hint = f" though it is stopped (`kill -CONT {pid}` lets it go on)" if stopped else ""
    return f", which process {pid} holds{hint}"
