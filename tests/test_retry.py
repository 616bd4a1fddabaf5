"""Patience counts all the time that passes, pauses grow, and no pause outlasts it."""

from __future__ import annotations

from dataclasses import replace

from tuneoff.retry import LEAVING_SECONDS, LISTENING_SECONDS, Patience
from tuneoff.testing.clock import FakeClock


def patience(clock: FakeClock, seconds: float, jitter: float = 1.0) -> Patience:
    return Patience(seconds, 1.0, 4.0, clock=clock, sleep=clock.sleep, jitter=lambda: jitter)


def test_pauses_double_up_to_the_longest_and_end_with_patience() -> None:
    clock = FakeClock(now=50.0)
    retry = patience(clock, 20).begin()
    tries = []
    while not retry.is_over:
        retry.pause()
        tries.append(clock.now - 50.0)
    assert tries == [1, 3, 7, 11, 15, 19, 20]
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
    assert clock.now == 1.5
    factors = {Patience(1).jitter() for _ in range(100)}
    assert len(factors) == 100
    assert 0.5 <= min(factors) < max(factors) <= 1.5


def test_no_patience_is_one_try() -> None:
    assert Patience(0).begin().is_over


def test_whoever_is_asked_to_leave_waits_out_a_short_outage_alone() -> None:
    clock = FakeClock()
    retry = replace(patience(clock, 600), stop=lambda: clock.now >= 2).begin()
    while not retry.is_over:
        retry.pause()
    assert clock.now == LEAVING_SECONDS
    retry = replace(patience(clock, 600), stop=lambda: True).begin()
    retry.pause()
    assert not retry.is_over
    assert replace(patience(clock, 0), stop=lambda: True).begin().is_over


def test_a_pause_hears_the_wish_to_leave() -> None:
    clock = FakeClock()
    retry = replace(patience(clock, 600), first_pause=60, stop=lambda: clock.now >= 10).begin()
    retry.pause()
    assert clock.now <= 10 + LISTENING_SECONDS
    assert retry.is_over
