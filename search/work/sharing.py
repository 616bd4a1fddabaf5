"""How workers are spread over the searches: which one to turn to, and how many may be in one.

What a sampler or a pruner that learns answers depends on which runs have ended. With one worker in
a search these are all that were begun, so that every answer is a function of the study file and
its seeds. With several they depend on timing. So as long as a study has as many arms' searches as
workers, each search has one worker, to the end: workers that are left over when the last searches
are open would make those, and those alone, depend on timing. That costs next to no time, if workers
turn to searches in which nobody is before they share one that may be shared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search, Study


def in_order(study: Study, searches: Sequence[Search], live: Sequence[Attempt]) -> list[Search]:
    """The searches in the order in which a worker looks for a run in them.

    Those in which nobody is go first. Among them earlier repeats do, so that repeats end together,
    and then what has one worker only, as the end of the study may wait for it. What is left is
    shared, repeat by repeat, by as few as possible.

    Args:
        searches: in order of preference.
        live: the attempts that are under way.
    """
    busy = Counter(attempt.search for attempt in live)
    return sorted(
        searches, key=lambda s: (busy[s.name] > 0, s.repeat, busy[s.name], not _learns(study, s))
    )


def has_room(study: Study, search: Search, now: SearchState, worker: Worker) -> bool:
    """True if one more worker may begin a run in this search.

    Certain under the search's lock alone. To go on with a run that nobody owns is always allowed:
    its worker was at work there before.

    Args:
        now: the search as it stands.
        worker: the one that asks.
    """
    if not (now.live and _learns(study, search)):
        return True
    limit = study.spec.workers.per_search
    return len(now.live) < (_limit(study, worker) if limit is None else limit)


def _learns(study: Study, search: Search) -> bool:
    return search.kind == "arm" and study.spec.arms[search.arm].learns


def _limit(study: Study, worker: Worker) -> int:
    """As many as are needed for every worker to have a place; 1 if there is a search for each.

    Who waits for work is not counted, and takes its place once it asks.
    """
    live = attempts.live(study.database, [search.name for search in study.searches])
    grace = study.spec.workers.grace_seconds
    at_work = {attempt.worker for attempt in live if not attempt.is_stale(grace)} | {worker.name}
    return -(-len(at_work) // len(study.arms))
