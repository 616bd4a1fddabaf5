"""Trying again what may succeed later: one patience for databases, stores and downloads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

LEAVING_SECONDS = 5.0
"""Whoever is asked to leave tries no longer than this: a short outage is still waited out."""
LISTENING_SECONDS = 0.5
"""The longest time for which a pause does not look whether it is to end."""

_MOMENT = 1e-6  # seconds, which no rounding of a clock comes near


def _jitter() -> float:
    return random.uniform(0.5, 1.5)


def _never() -> bool:
    return False


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
        stop: True once whoever waits was asked to leave: then patience ends after
            ``LEAVING_SECONDS``.
    """

    seconds: float
    first_pause: float = 0.05
    longest_pause: float = 15.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = _jitter
    stop: Callable[[], bool] = _never

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
        return self.waited >= self._limit

    @property
    def _limit(self) -> float:
        seconds = self._patience.seconds
        return min(seconds, LEAVING_SECONDS) if self._patience.stop() else seconds

    def pause(self) -> None:
        """Wait for the next try, which begins when patience ends at the latest."""
        wake = self.waited + self._pause * self._patience.jitter()
        self._pause = min(2 * self._pause, self._patience.longest_pause)
        while (left := min(wake, self._limit) - self.waited) > _MOMENT:
            self._patience.sleep(min(left, LISTENING_SECONDS))
