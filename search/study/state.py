"""A search as it stands: its trials and attempts, sorted by what may be done with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import History, NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import FAILURE, UNTIL
from tuneoff.search.study.study import Search, Study

ENDS: dict[TrialState, attempts.End] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""How the last attempt at a trial that was told ended."""


@dataclass(frozen=True)
class SearchState:
    """A search's trials and attempts, sorted by what may be done with them.

    Attributes:
        attempts: by trial, oldest first; without those at cached trials (see ``read_state``).
        live: RUNNING trials that a worker owns.
        paused: RUNNING trials that were paused.
        orphans: RUNNING trials that nobody owns and that were not paused: to be taken over.
        waiting: WAITING trials.
        spent, reserved: epochs trained, and epochs that live attempts may still train.
    """

    trials: tuple[FrozenTrial, ...]
    attempts: dict[int, list[Attempt]]
    live: tuple[FrozenTrial, ...]
    paused: tuple[FrozenTrial, ...]
    orphans: tuple[FrozenTrial, ...]
    waiting: tuple[FrozenTrial, ...]
    spent: int
    reserved: int

    @classmethod
    def of(
        cls, trials: Sequence[FrozenTrial], rows: Iterable[Attempt], cached: int = 0
    ) -> SearchState:
        """Sort a search's trials.

        Args:
            rows: attempts, oldest first.
            cached: epochs of the attempts that are not among them.
        """
        by_trial: dict[int, list[Attempt]] = defaultdict(list)
        for row in rows:
            by_trial[row.trial].append(row)
        live, paused, orphans = [], [], []
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                last = by_trial[trial.number][-1] if by_trial[trial.number] else None
                if last is not None and last.live:
                    live.append(trial)
                elif last is not None and last.end == "paused":
                    paused.append(trial)
                elif last is None or last.end in ("released", "lost", "failed"):
                    orphans.append(trial)
                # Else its worker has told it since the trials were read.
        return cls(
            trials=tuple(trials),
            attempts=dict(by_trial),
            live=tuple(live),
            paused=tuple(paused),
            orphans=tuple(orphans),
            waiting=tuple(t for t in trials if t.state == TrialState.WAITING),
            spent=cached + sum(attempts.spent(rows) for rows in by_trial.values()),
            reserved=sum(by_trial[t.number][-1].reserved for t in live),
        )

    def history(self, optuna_study: optuna.Study, horizon: int, budget: int | None) -> History:
        """The search as its policy sees it; a budget of None is no bound."""
        # Promoted trials are all run: they have no budget but their number.
        budget = 2**31 if budget is None else budget
        return History(
            study=optuna_study,
            trials=self.trials,
            paused=frozenset(trial.number for trial in self.paused),
            horizon=horizon,
            remaining=budget - self.spent - self.reserved,
        )

    def last(self, trial: FrozenTrial) -> Attempt | None:
        """The latest attempt at a trial."""
        rows = self.attempts.get(trial.number)
        return rows[-1] if rows else None

    def failures(self, trial: FrozenTrial) -> int:
        """How many attempts at a trial failed or were lost; released ones do not count."""
        return sum(a.end in ("failed", "lost") for a in self.attempts.get(trial.number, ()))


def read_states(study: Study, searches: Sequence[Search]) -> list[SearchState]:
    """Groups as they stand, with every attempt."""
    # Attempts first: a trial read later can only be further on than its attempts say.
    by_search: dict[str, list[Attempt]] = defaultdict(list)
    for row in attempts.read(study.database, [search.name for search in searches]):
        by_search[row.search].append(row)
    return [SearchState.of(study.trials(search), by_search[search.name]) for search in searches]


def read_state(study: Study, search: Search) -> SearchState:
    """A search as it stands, without the attempts at trials that were cached before.

    That is all that the next step depends on, and takes no longer the more trials there were.
    """
    # Trials first: of those that are finished then, all epochs have been entered.
    trials, cached = study.trials(search), study.cached[search.name]
    others = [trial for trial in trials if trial.number not in cached]
    rows = attempts.read(study.database, [search.name], {trial.number for trial in others})
    now = SearchState.of(trials, rows, sum(cached.values()))
    for trial in others:
        mine = now.attempts.get(trial.number, [])
        if trial.state.is_finished() and not any(attempt.live for attempt in mine):
            cached[trial.number] = attempts.spent(mine)
    return now


def history(study: Study, search: Search, now: SearchState) -> History:
    """A search as its policy sees it."""
    return now.history(study.optuna_study(search), study.spec.trial.epochs, search.budget)


def tell(
    study: Study, search: Search, trial: FrozenTrial, state: TrialState, value: float | None = None
) -> None:
    """Finish a trial, once: a trial that is finished already stays as it is.

    A pruned trial is told its last reported value.
    """
    trial_id = study.trial_id(search, trial.number)
    stored = study.database.optuna.get_trial(trial_id)
    if stored.state.is_finished():
        return
    if value is None and state == TrialState.PRUNED and stored.intermediate_values:
        value = stored.intermediate_values[max(stored.intermediate_values)]
    values = None if value is None else [value]
    study.database.optuna.set_trial_state_values(trial_id, state, values)


def fail(study: Study, search: Search, trial: FrozenTrial, reason: str) -> None:
    """Tell a trial FAIL, with the reason where people look for it."""
    trial_id = study.trial_id(search, trial.number)
    if not study.database.optuna.get_trial(trial_id).state.is_finished():
        study.database.optuna.set_trial_user_attr(trial_id, *FAILURE.item(reason))
        tell(study, search, trial, TrialState.FAIL)


def new_trial(study: Study, state: TrialState, job: NewTrial) -> FrozenTrial:
    """A trial to be stored, complete with its parameters."""
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        datetime_start=datetime.now() if state == TrialState.RUNNING else None,
        datetime_complete=None,
        params=study.space.check(job.params),
        distributions=dict(study.space.distributions),
        user_attrs=dict(job.note),
        system_attrs=UNTIL.entry(job.until_epoch) if state == TrialState.RUNNING else {},
        intermediate_values={},
    )


def last_epoch(trial: FrozenTrial) -> int:
    """The last epoch that was reported; 0 before the first."""
    return max(trial.intermediate_values, default=0)
