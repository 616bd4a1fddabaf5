"""Signals that ask a process to leave: heard once, obeyed between batches."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Final

_AT_ONCE: Final = b"Ended at once. The same command goes on from the last checkpoints.\n"


class Stop:
    """True once a signal asked this process to leave; a second one ends it at once.

    Attributes:
        signal: the number of the signal that came; 0 before.
    """

    def __init__(self, parent: int | None = None, patient: bool = False) -> None:
        """
        Args:
            parent: also stop when this is no longer our parent process.
            patient: further signals change nothing. Slurm sends the same wish to a launcher and
                to its workers, and in several signals; it kills those that take too long itself.
        """
        self.signal = 0
        self._patient = patient
        self._parent = parent
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        if self._parent is not None and os.getppid() != self._parent:
            return True
        return self.signal != 0

    def __enter__(self) -> Stop:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            if self._patient:
                return
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h")  # progress bars hide the cursor
            with suppress(OSError):
                os.write(2, _AT_ONCE)
            os._exit(128 + number)
        self.signal = number
