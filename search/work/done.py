"""Is anything left to run?"""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.search.study.state import read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.work.claim import next_job, next_waiting


def is_searched(study: Study) -> bool:
    """True if no arm has anything left to run: budgets spent, lists at their ends."""
    return all(_is_searched(study, search) for search in study.arms)


def is_idle(study: Study, searches: Sequence[Search]) -> bool:
    """True if these searches of promoted trials have none left to run."""
    return all(trial.state.is_finished() for search in searches for trial in study.trials(search))


def _is_searched(study: Study, search: Search) -> bool:
    now = read_state(study, search)
    if now.live or now.orphans or now.paused or next_waiting(study, search, now) is not None:
        return False
    return next_job(study, search, now) is None
