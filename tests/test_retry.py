"""Patience counts all the time that passes, pauses grow, and no pause outlasts it."""

from __future__ import annotations

from tuneoff.retry import Patience
from tuneoff.testing.clock import FakeClock


def patience(clock: FakeClock, seconds: float, jitter: float = 1.0) -> Patience:
    return Patience(seconds, 1.0, 4.0, clock=clock, sleep=clock.sleep, jitter=lambda: jitter)


def test_pauses_double_up_to_the_longest_and_end_with_patience() -> None:
    clock = FakeClock(now=50.0)
    retry = patience(clock, 20).begin()
    while not retry.is_over:
        retry.pause()
    assert clock.slept == [1, 2, 4, 4, 4, 4, 1]
    assert retry.waited == 20


def test_time_between_pauses_counts() -> None:
    clock = FakeClock()
    retry = patience(clock, 20).begin()
    clock.now = 19.5
    assert not retry.is_over
    retry.pause()
    assert clock.slept == [0.5]
    assert retry.is_over


def test_pauses_are_jittered() -> None:
    clock = FakeClock()
    retry = patience(clock, 100, jitter=0.5).begin()
    retry.pause()
    retry.pause()
    assert clock.slept == [0.5, 1.0]
    factors = {Patience(1).jitter() for _ in range(100)}
    assert len(factors) == 100
    assert 0.5 <= min(factors) < max(factors) <= 1.5


def test_no_patience_is_one_try() -> None:
    assert Patience(0).begin().is_over
