"""Time that only moves when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FakeClock:
    """Stands in for ``time.monotonic`` (call it) and ``time.sleep`` (its ``sleep``).

    Attributes:
        now: seconds.
        slept: every pause that was asked for, in seconds.
    """

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, at once."""
        self.slept.append(seconds)
        self.now += seconds
