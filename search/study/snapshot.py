"""A study at one moment, so that whatever a report says of it agrees with the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, End
from tuneoff.search.store.attributes import DIVERGED, ENSEMBLE, FAILURE, StoredEnsemble
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import last_epoch

LAST_ENDS: Mapping[TrialState, tuple[End, ...]] = {
    TrialState.COMPLETE: ("finished",),
    TrialState.PRUNED: ("pruned", "paused"),
    TrialState.FAIL: ("failed", "lost", "released"),
}
"""How the last attempt at a finished trial may have ended."""


@dataclass(frozen=True)
class Snapshot:
    """A study's trials and attempts at the moment at which the attempts were read.

    Attributes:
        states: of every search, by its name.
        ensemble: what is stored of the combined ensemble; None before there is one.
    """

    study: Study
    states: Mapping[str, SearchState]
    ensemble: StoredEnsemble | None

    @classmethod
    def of(cls, study: Study) -> Snapshot:
        """Read a study, which may go on meanwhile.

        The attempts of all searches are read by one query, and say what moment it is. What
        depends on them is read before; the trials, which cannot be read by one query, after them,
        and what was added to a trial since is left out again.
        """
        ensemble = ENSEMBLE.get(study.optuna_study(study.ensemble))
        finished = {
            search.name: {t.number for t in study.trials(search) if t.state.is_finished()}
            for search in study.searches
        }
        rows: dict[str, dict[int, list[Attempt]]] = defaultdict(lambda: defaultdict(list))
        for row in attempts.read(study.database, [search.name for search in study.searches]):
            rows[row.search][row.trial].append(row)
        states = {}
        for search in study.searches:
            mine = rows[search.name]
            trials = [
                _as_it_was(trial, mine.get(trial.number, ()), finished[search.name])
                for trial in study.trials(search)
            ]
            states[search.name] = SearchState.of(
                trials, [r for some in mine.values() for r in some]
            )
        return cls(study, states, ensemble)

    def state(self, search: Search) -> SearchState:
        """A search as it stood."""
        return self.states[search.name]

    def trials(self, search: Search) -> tuple[FrozenTrial, ...]:
        """A search's trials, by number. Not copies: do not change them."""
        return self.states[search.name].trials


def _as_it_was(
    trial: FrozenTrial, rows: Sequence[Attempt], finished: Collection[int]
) -> FrozenTrial:
    """A trial when these were the attempts at it.

    Args:
        finished: numbers of the trials that had been finished before the attempts were read.
    """
    reached = max((row.reached for row in rows), default=0)
    if trial.number in finished:
        known = not (rows and rows[-1].live)
    else:
        known = bool(rows) and rows[-1].end in LAST_ENDS.get(trial.state, ())
    if known or not (trial.state.is_finished() or last_epoch(trial) > reached):
        return trial
    was = copy(trial)
    was.state, was.value, was.datetime_complete = TrialState.RUNNING, None, None
    was.intermediate_values = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
    later = (DIVERGED.name, FAILURE.name)
    was.user_attrs = {k: v for k, v in trial.user_attrs.items() if k not in later}
    return was
