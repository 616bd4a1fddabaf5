"""What the epochs and seconds of a study went into, by arm: the ledger of attempts, divided up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tuneoff.search.results.records import AttemptRecord

FULL: Final = "full runs"
PAUSED: Final = "paused runs"
PRUNED: Final = "pruned runs"
DIVERGED: Final = "diverged runs"
FAILED: Final = "failed runs"
RUNNING: Final = "unfinished runs"
AGAIN: Final = "trained twice"
"""Epochs behind the last checkpoint of an attempt that was lost: another one trained them again."""

USES: Final = (FULL, PRUNED, PAUSED, DIVERGED, FAILED, AGAIN, RUNNING)
"""All that an epoch can have gone into."""

_OF_STATE: Final = {
    "complete": FULL,
    "pruned": PRUNED,
    "paused": PAUSED,
    "waiting": PAUSED,
    "diverged": DIVERGED,
    "failed": FAILED,
    "running": RUNNING,
}


@dataclass(frozen=True, slots=True)
class Spending:
    """What one arm, or one queue, spent.

    Attributes:
        arm: the arm's name, or that of a queue.
        epochs: by use, of which ``USES`` are all; they add up to the epochs of its attempts.
        seconds: by use, as ``epochs``.
        trials: that have at least one attempt, by the use of the epochs they reached.
    """

    arm: str
    epochs: Mapping[str, int]
    seconds: Mapping[str, float]
    trials: Mapping[str, int]


def spending(attempts: Iterable[AttemptRecord]) -> list[Spending]:
    """What was spent, by arm and queue, in the order in which these first trained.

    A trial's epochs up to the deepest that it reached count for how the trial stands. What its
    attempts trained beyond that was trained twice, and so many of its seconds are counted there.
    """
    trials: dict[tuple[str, int, int], list[AttemptRecord]] = defaultdict(list)
    for one in attempts:
        trials[one.arm, one.repeat, one.trial].append(one)
    epochs: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(USES, 0.0))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for (arm, _, _), rows in trials.items():
        use = _OF_STATE.get(rows[-1].state, FAILED)
        trained = sum(row.epochs for row in rows)
        taken = sum(row.seconds for row in rows)
        again = trained - min(trained, max(row.from_epoch + row.epochs for row in rows))
        taken_again = taken * again / trained if trained else 0.0
        epochs[arm].update({use: trained - again, AGAIN: again})
        seconds[arm][use] += taken - taken_again
        seconds[arm][AGAIN] += taken_again
        counts[arm][use] += 1
    return [
        Spending(
            arm,
            epochs={use: epochs[arm][use] for use in USES},
            seconds=seconds[arm],
            trials={use: counts[arm][use] for use in USES},
        )
        for arm in epochs
    ]
