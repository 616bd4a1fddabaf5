"""Ends a process whose trainer hangs, as nothing within the trainer can."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

LOOKS = 20
"""How often the watchdog looks, in the time after which it acts."""

T = TypeVar("T")


class Watchdog:
    """A thread that acts when the one it watches shows no sign of life for too long.

    Time counts by this thread's own looks, so that a process that was stopped for a while, or a
    machine that slept, does not pass for one that hangs.
    """

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        """
        Args:
            seconds: how long is too long.
            act: called in the watchdog's thread, once.
        """
        self._seconds, self._act = seconds, act
        self._watching, self._signs = False, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def watch(self) -> None:
        """Expect signs of life from now on."""
        self._watching = True

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Expect no signs of life within the block. To enter and to leave it is one."""
        before, self._watching = self._watching, False
        try:
            yield
        finally:
            self._signs += 1
            self._watching = before

    def over(self, items: Generator[T, None, None]) -> Iterator[T]:
        """Pass items on, and expect signs of life only from the code that makes them."""
        with closing(items):
            self.watch()
            for item in items:
                with self.resting():
                    yield item

    def _look(self) -> None:
        seen, looks = -1, 0
        while not self._done.wait(self._seconds / LOOKS):
            looks = looks + 1 if self._watching and self._signs == seen else 0
            seen = self._signs
            if looks == LOOKS:
                self._act()
                return
