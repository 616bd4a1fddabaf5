"""When each worker was at work: the ledger of attempts, as stretches of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuneoff.search.results.records import AttemptRecord

Stretch = tuple[float, float]
"""Its start and its end, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class CrewTime:
    """How the workers of a study spent their time.

    Attributes:
        begun, ended: of the first attempt, and of the last as far as the ledger knows, in seconds
            since 1970.
        present: seconds from each worker's first attempt to the end of its last, of all together.
        busy: those of them in which it had an attempt; overlapping ones count once.
        pauses: in which no worker had an attempt, longest first.
    """

    begun: float
    ended: float
    present: float
    busy: float
    pauses: tuple[Stretch, ...]


def end_of(attempt: AttemptRecord, now: float) -> float:
    """When an attempt ended, or ``now`` if it goes on; never before it started."""
    return max(attempt.started, now if attempt.ended is None else attempt.ended)


def last_known(attempts: Iterable[AttemptRecord]) -> float:
    """The latest moment of which the ledger knows, in seconds since 1970; 0 without attempts."""
    return max(
        (
            one.started + max(0.0, one.seconds)
            if one.ended is None
            else max(one.ended, one.started)
            for one in attempts
        ),
        default=0.0,
    )


def crew_time(attempts: Sequence[AttemptRecord]) -> CrewTime | None:
    """How the workers spent their time; None without attempts."""
    if not attempts:
        return None
    now = last_known(attempts)
    of: dict[str, list[Stretch]] = defaultdict(list)
    for one in attempts:
        of[one.worker].append((one.started, end_of(one, now)))
    joined = {worker: merged(stretches) for worker, stretches in of.items()}
    anybody = merged([stretch for stretches in joined.values() for stretch in stretches])
    pauses = [(before[1], after[0]) for before, after in pairwise(anybody)]
    return CrewTime(
        begun=anybody[0][0],
        ended=anybody[-1][1],
        present=sum(mine[-1][1] - mine[0][0] for mine in joined.values()),
        busy=sum(end - start for mine in joined.values() for start, end in mine),
        pauses=tuple(sorted(pauses, key=lambda pause: pause[0] - pause[1])),
    )


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time as stretches that neither touch nor overlap, oldest first."""
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
