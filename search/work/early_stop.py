"""Write down that a search has ended by the study file's rule, for all who look at the study."""

from __future__ import annotations

from tuneoff.search.policies.stopping import Stopping
from tuneoff.search.store.attributes import STOPPED, StoredStop
from tuneoff.search.study.state import SearchState, history
from tuneoff.search.study.study import Search, Study


def note_early_stop(study: Study, search: Search, now: SearchState) -> None:
    """Store how a search that has nothing left to run ended, if it ended early.

    Needs the search's lock. Whoever comes after a crash computes the same, and stores it again.
    """
    if not isinstance(search.policy, Stopping):
        return
    gain = search.policy.stopped(history(study, search, now))
    if gain is None:
        return
    stop, optuna_study = StoredStop(now.spent, gain.mean), study.optuna_study(search)
    if STOPPED.get(optuna_study) != stop:
        optuna_study.set_user_attr(*STOPPED.item(stop))
