"""The fakes pass what the real parts must pass."""

from __future__ import annotations

from pathlib import Path

from tuneoff.testing import CurveTrainer, FakeClock, MemoryStore, StoreConformance
from tuneoff.testing import TrainerConformance as Conformance


class TestCurveTrainer(Conformance):
    """In whole epochs."""

    def make_trainer(self, tmp_path: Path) -> CurveTrainer:
        return CurveTrainer()


class TestCurveTrainerInBatches(Conformance):
    """With ticks, and so with stops, within epochs."""

    def make_trainer(self, tmp_path: Path) -> CurveTrainer:
        return CurveTrainer(batches=3)


class TestMemoryStore(StoreConformance):
    """Objects in a dictionary."""

    def make_store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()


def test_a_memory_store_fails_as_often_as_it_is_told_to() -> None:
    store = MemoryStore()
    store.failures = [TimeoutError("away"), TimeoutError("still away")]
    raised = 0
    for _ in range(3):
        try:
            store.remove("key")
        except TimeoutError:
            raised += 1
    assert raised == 2


def test_a_fake_clock_moves_when_it_is_told_to() -> None:
    clock = FakeClock(now=5.0)
    clock.sleep(2.5)
    clock.sleep(0.5)
    assert clock() == 8.0
    assert clock.slept == [2.5, 0.5]
