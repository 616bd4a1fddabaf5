"""A search as it stood at an earlier moment.

A forecast may use only what was known when it was made. The attempts say what that was, by the
database's clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.state import SearchState


def as_of(now: SearchState, end: Attempt) -> SearchState:
    """A search as it stood when an attempt at one of its trials ended.

    An attempt that had not ended by then counts as live with nothing trained yet, although some of
    its epochs may have been reported: attempts do not record when each epoch was. A trial that has
    been told as pruned or failed since, without another attempt, counts as RUNNING.
    """
    rows = [row for rows in now.attempts.values() for row in rows]
    known = [row for row in (_as_known(row, end) for row in rows) if row is not None]
    by_trial: dict[int, list[Attempt]] = defaultdict(list)
    for row in known:
        by_trial[row.trial].append(row)
    trials = [_as_it_was(now.trials[number], by_trial[number]) for number in sorted(by_trial)]
    return SearchState.of(trials, known)


def _as_known(row: Attempt, end: Attempt) -> Attempt | None:
    """An attempt as it stood when the attempt ``end`` ended; None if it had not started."""
    assert end.ended is not None
    if row.trial == end.trial:
        # Attempts at one trial are ordered by number: two of them may share a time stamp.
        return row if row.number <= end.number else None
    if row.started >= end.ended:
        return None
    if row.ended is None or row.ended > end.ended:
        return replace(row, ended=None, end=None, reason=None, epochs=0, seconds=0.0)
    return row


def _as_it_was(trial: FrozenTrial, rows: Sequence[Attempt]) -> FrozenTrial:
    """A trial at the moment when these were all attempts at it."""
    was = copy(trial)
    reached = max(row.reached for row in rows)
    was.intermediate_values = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
    if rows[-1].end not in ("finished", "pruned"):
        was.state, was.value, was.datetime_complete = TrialState.RUNNING, None, None
    return was
