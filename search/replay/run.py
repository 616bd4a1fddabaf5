"""One whole study on a simulated world, in a database that nobody else sees.

Nothing of a study is done in another way here: the same worker claims, trains, tells and promotes,
with a trainer that looks errors up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from tuneoff.search.replay.trainer import DEVICE, SimulatedTrainer
from tuneoff.search.replay.world import World
from tuneoff.search.results.decision.judge import judge
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import StudyResults
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.work.growth import grow
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import Task

IN_MEMORY = Path("/dev/shm")
"""A folder in memory, on Linux: nothing of a simulation need survive a power cut, and to wait for a
disk at each of its writes takes longer than all the rest."""


ROOM = 2**29
"""Bytes that must be free there: containers may have 64 MB of it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Watch:
    """Whoever waits for simulations.

    Attributes:
        stop: True once they are not wanted any more.
        on_search: called whenever an arm has finished a repeat.
    """

    stop: Callable[[], bool] = lambda: False
    on_search: Callable[[], None] = lambda: None


UNWATCHED = Watch()


class Stopped(Exception):
    """Whoever asked for a simulation does not want it any more."""


@overload
def simulate(
    spec: StudySpec,
    task: Task,
    world: World,
    seconds: float = ...,
    watch: Watch = ...,
) -> StudyResults: ...


@overload
def simulate(
    spec: StudySpec,
    task: Task,
    world: World,
    seconds: float = ...,
    watch: Watch = ...,
    *,
    read: Callable[[Snapshot], T],
) -> T: ...


def simulate(
    spec: StudySpec,
    task: Task,
    world: World,
    seconds: float = 0.0,
    watch: Watch = UNWATCHED,
    *,
    read: Callable[[Snapshot], Any] = read_results,
) -> Any:
    """What a study comes to in this world: a function of the arguments alone.

    Args:
        spec: see ``settings.simulated``.
        seconds: that an epoch is said to take.
        read: what is wanted of the study in the end; its results, unless given.

    Raises:
        Stopped: ``watch.stop`` was True.
    """
    with tempfile.TemporaryDirectory(prefix="tuneoff-", dir=_fast_folder()) as folder:
        database = open_database(f"sqlite:///{folder}/simulation.db", create=True)
        try:
            study = create_study(database, spec, task, Path(folder))
            trainer = SimulatedTrainer(world, tuple(study.space.distributions), task, seconds)
            _run(study, trainer, watch)
            return read(Snapshot.of(study))
        finally:
            database.close()


def _run(study: Study, trainer: SimulatedTrainer, watch: Watch) -> None:
    """Every search by itself, so that one that has ended is not asked for work again and again."""
    worker, done = Worker.here(DEVICE), 0
    while done < len(study.arms):
        for search in study.arms[done:]:
            if work(study, [search], trainer, worker, watch.stop).stopped:
                raise Stopped
            watch.on_search()
        done = len(study.arms)
        promotion = _Promotion(study, trainer, worker, watch)
        summary = work(study, [study.full], trainer, worker, promotion.is_over, promotion.advance)
        if summary.stopped and not promotion.has_grown:
            raise Stopped
        study = study.refreshed()


@dataclass
class _Promotion:
    """Full training, until it is done or further repeats were opened, whose searches come first."""

    study: Study
    trainer: SimulatedTrainer
    worker: Worker
    watch: Watch
    has_grown: bool = False

    def advance(self) -> bool:
        """The next step; True if it made more work."""
        judged = self.study.spec.compare.until == "decided"
        return advance(self.study, self.trainer, self._grow if judged else None)

    def is_over(self) -> bool:
        """True once whatever comes next is not full training."""
        return self.has_grown or self.watch.stop()

    def _grow(self) -> bool:
        grows = grow(self.study, judge, self.worker.name)
        self.has_grown = self.study.refreshed().repeats > self.study.repeats
        return grows


def _fast_folder() -> str | None:
    """``IN_MEMORY`` if there is room; None for the usual place of temporary files."""
    try:
        free = shutil.disk_usage(IN_MEMORY).free
    except OSError:
        return None
    return str(IN_MEMORY) if free > ROOM and os.access(IN_MEMORY, os.W_OK) else None
