"""A search as it stands: its trials and attempts, sorted by what may be done with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import History
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.study import Search, Study


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
                # An attempt that has ended otherwise finished the trial after the trials were read.
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
        """The search as its policy sees it.

        Args:
            horizon: epochs of a full run.
            budget: epochs; None for full training and the ensemble, where every trial that was
                enqueued is run whatever it costs.
        """
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
