"""Attempts that show no progress, ended by whoever looks at a study."""

from __future__ import annotations

from tuneoff.search.store import attempts
from tuneoff.search.study.study import Study


def reclaim(study: Study) -> None:
    """End what shows no progress, so that it is seen to be lost though no worker is there."""
    live = attempts.live(study.database, [search.name for search in study.searches])
    stale = {a.search for a in live if a.is_stale(study.spec.workers.grace_seconds)}
    if not stale:
        return
    # Only here: to import it takes longer than to look.
    from tuneoff.search.work.outcome import end_stale_attempts

    for search in study.searches:
        if search.name in stale:
            with study.database.lock(search.name):
                end_stale_attempts(study, search)
