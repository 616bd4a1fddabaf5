"""How many workers shared a search, and what that means for whoever runs the same file again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuneoff.search.results.records import StudyResults
from tuneoff.search.store.attempts import Attempt


def most_at_once(rows: Sequence[Attempt]) -> int:
    """The largest number of these attempts that were under way at one moment."""
    begun = [(row.started, 1) for row in rows]
    ended = [(math.inf if row.ended is None else row.ended, -1) for row in rows]
    count = most = 0
    for _, change in sorted(begun + ended):  # at one moment, ends come before beginnings
        count += change
        most = max(most, count)
    return most


def is_shared(results: StudyResults) -> bool:
    """True if several workers were at once in a search that learns."""
    return any((run.workers or 0) > 1 for run in results.runs)


def sharing_sentence(results: StudyResults) -> str | None:
    """Whether workers shared searches that learn; None if no such search has begun."""
    workers: dict[str, int] = {}
    for run in results.runs:
        if run.workers:
            workers[run.arm] = max(run.workers, workers.get(run.arm, 0))
    if not workers:
        return None
    if not is_shared(results):
        return (
            "Every search that learns from its runs had one worker at a time. So what it tried is a"
            " function of the study file and its seeds, whatever the number of workers."
        )
    shared = ", ".join(arm for arm, most in workers.items() if most > 1)
    return (
        f"Up to {max(workers.values())} workers were at once in one search of"
        f" {shared}. What a search tries that learns from its runs then depends on"
        " which of them had ended, so another run of this file may recommend something else. With"
        " per_search = 1 in [workers] it does not."
    )
