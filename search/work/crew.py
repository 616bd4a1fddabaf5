"""Whose fault a failure is, the trial's or the worker's: judged by who else is at work.

An attempt that fails says little: the trial may be at fault, or the machine. So a trial that
failed somewhere is tried elsewhere first, and as long as there is somebody who has not tried it,
failures in one place count once. A trial that was lost with its worker, twice, is left to those on
which others have ended well. A worker on which one trial after another fails is at fault itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.processes import process_is_gone
from tuneoff.search.store.workers import workers
from tuneoff.search.study.study import Study

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 6.0, 60.0
"""Pauses after failures in a row: the first is longer than a waiting worker's pause between looks,
so that each of them sees the trial before this worker does."""

LOSSES = 2
"""After so many lost attempts a trial is left to those that have proven to be well: one loss may be
anything, and waits for nobody."""


@dataclass(frozen=True)
class Crew:
    """The workers that are at work in a study, as far as the ledger shows.

    A place is a machine where workers are on several, and else a worker.

    Attributes:
        me: the worker that asks.
        others: names of those that have shown progress within the grace period.
        known: names of these and of those that have shown none for longer; none that has ended.
        proven: names of those, of ``me`` and ``others``, on which an attempt has ended well.
    """

    me: str
    others: frozenset[str]
    known: frozenset[str]
    proven: frozenset[str] = frozenset()

    @classmethod
    def of(cls, study: Study, me: str) -> Crew:
        """Read who is there.

        Args:
            me: the name of the worker that asks.
        """
        names = [search.name for search in study.searches]
        seen = [w for w in workers(study.database, names) if not process_is_gone(w.process)]
        grace = study.spec.workers.grace_seconds
        here = {worker.name for worker in seen if worker.idle <= grace} - {me}
        well = {worker.name for worker in seen if worker.well}
        return cls(
            me,
            others=frozenset(here),
            known=frozenset({worker.name for worker in seen} - {me}),
            proven=frozenset(well & (here | {me})),
        )

    def may_try(self, rows: Sequence[Attempt], again: bool) -> bool:
        """True if this worker may take a trial over, now that others have had the chance.

        Args:
            rows: the attempts at it.
            again: also if it has failed here, and nobody else is left to try it.
        """
        lost = sum(row.end == "lost" for row in rows)
        if lost >= LOSSES and self.proven and self.me not in self.proven:
            return False  # this worker may be the one that died, started again
        if self._place(self.me) not in self._failed(rows):
            return True
        return again and not self._untried(rows)

    def is_hopeless(self, rows: Sequence[Attempt], most: int) -> bool:
        """True if a trial has failed, or was lost, too often.

        Args:
            rows: the attempts at it.
            most: how many failed or lost attempts are too many.
        """
        lost = sum(row.end == "lost" for row in rows)
        failed = sum(row.end == "failed" for row in rows)
        if lost + failed < most:
            return False
        return lost + len(self._failed(rows)) >= most or not self._untried(rows)

    @cached_property
    def _several_machines(self) -> bool:
        return len({_machine(name) for name in (self.me, *self.others)}) > 1

    def _place(self, name: str) -> str:
        return _machine(name) if self._several_machines else name

    def _failed(self, rows: Sequence[Attempt]) -> set[str]:
        """Places where a trial failed. Those that have ended on this machine count as one."""
        failed = [row for row in rows if row.end == "failed"]
        if self._several_machines:
            return {_machine(row.worker) for row in failed}
        return {"" if process_is_gone(row.process) else row.worker for row in failed}

    def _untried(self, rows: Sequence[Attempt]) -> set[str]:
        """Places of this and of other workers where a trial has not failed, and was not lost."""
        tried = self._failed(rows) | {self._place(row.worker) for row in rows if row.end == "lost"}
        return {self._place(name) for name in (self.me, *self.others)} - tried


def _machine(name: str) -> str:
    return name.rpartition("/")[0]


@dataclass
class Health:
    """How one worker fares: which of its latest attempts in a row failed.

    Attributes:
        worker: its name.
        most: so many failures in a row are too many, if they are at different trials.
    """

    worker: Worker
    most: int
    _failed: list[str] = field(default_factory=list)

    def note(self, trial: str, failed: bool) -> None:
        """An attempt at a trial has ended."""
        if failed:
            self._failed.append(trial)
        else:
            self._failed.clear()

    @property
    def is_sick(self) -> bool:
        """True if the worker is at fault."""
        return len(self._failed) >= self.most and len(set(self._failed)) > 1

    @property
    def failures(self) -> str:
        """The failures in a row, for people."""
        return f"{len(self._failed)} attempts at {len(set(self._failed))} trials in a row failed"

    def pause(self, crew: Crew) -> float:
        """Seconds to wait before the next attempt, so that others come first."""
        if not self._failed or not (crew.known or len(set(self._failed)) > 1):
            return 0.0
        longer: float = FIRST_PAUSE_SECONDS * 2 ** (len(self._failed) - 1)
        return min(longer, LONGEST_PAUSE_SECONDS)
