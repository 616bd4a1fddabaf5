"""Signs of life for a trial while code that gives none itself is at work on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Heartbeat:
    """A thread that shows, while a user's own loop trains, that its worker is alive.

    A loop need not say anything before its epoch ends, which may be longer than the time after
    which other workers take a trial over. Whether it hangs is for the watchdog to judge.
    """

    def __init__(self, beat: Callable[[], object], seconds: float) -> None:
        """
        Args:
            beat: called in the thread; what it raises is raised by ``check``, and ends the beating.
            seconds: between two beats.
        """
        self._beat, self._seconds = beat, seconds
        self._error: BaseException | None = None
        self._done = threading.Event()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat within the block."""
        thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def check(self) -> None:
        """Raise what the last beat has raised."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            try:
                self._beat()
            except BaseException as error:
                self._error = error
                return
