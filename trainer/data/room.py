"""A limit on what the threads of a process hold at the same time, in pixels or in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Room:
    """A number of units that threads share: whoever needs more than are left waits."""

    def __init__(self, units: int) -> None:
        self._units = self._free = units
        self._changed = Condition()

    @contextmanager
    def taken(self, units: int) -> Iterator[None]:
        """Take so many for as long as the block lasts; all, if it needs more than there are."""
        needed = min(units, self._units)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()
