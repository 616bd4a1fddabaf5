"""Trying again what may succeed later: one patience for databases, stores and downloads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


def _jitter() -> float:
    return random.uniform(0.5, 1.5)


@dataclass(frozen=True)
class Patience:
    """How long to try again, and how often.

    Attributes:
        seconds: from the beginning of the first try on; what the tries themselves take counts.
            With 0 there is one try.
        first_pause: seconds before the second try; each pause is twice as long as the one before.
        longest_pause: seconds.
        clock: a clock that never goes back, in seconds.
        sleep: lets so many seconds pass.
        jitter: a factor for each pause. It is random, so that many processes that lost the same
            server do not all come back to it at the same moment.
    """

    seconds: float
    first_pause: float = 0.05
    longest_pause: float = 15.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = _jitter

    def begin(self) -> Retry:
        """To be called before the first try."""
        return Retry(self)


class Retry:
    """One thing that is tried until it succeeds or patience is over.

    ::

        retry = patience.begin()
        while True:
            try:
                return action()
            except OSError as error:
                if retry.is_over:
                    raise
                retry.pause()
    """

    def __init__(self, patience: Patience) -> None:
        self._patience, self._began = patience, patience.clock()
        self._pause = patience.first_pause

    @property
    def waited(self) -> float:
        """Seconds since the first try began."""
        return self._patience.clock() - self._began

    @property
    def is_over(self) -> bool:
        """True if there is to be no further try."""
        return self.waited >= self._patience.seconds

    def pause(self) -> None:
        """Wait for the next try, which begins when patience ends at the latest."""
        left = self._patience.seconds - self.waited
        self._patience.sleep(max(0.0, min(self._pause * self._patience.jitter(), left)))
        self._pause = min(2 * self._pause, self._patience.longest_pause)
