"""A search as it stands: its trials and attempts, sorted by what may be done with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import History
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Spent
from tuneoff.search.store.attributes import UNTIL
from tuneoff.search.study.plausible import plausible
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.time_budget import about_epochs


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
        seconds: that the epochs trained have taken.
    """

    trials: tuple[FrozenTrial, ...]
    attempts: dict[int, list[Attempt]]
    live: tuple[FrozenTrial, ...]
    paused: tuple[FrozenTrial, ...]
    orphans: tuple[FrozenTrial, ...]
    waiting: tuple[FrozenTrial, ...]
    spent: int
    reserved: int
    seconds: float = 0.0

    @classmethod
    def of(
        cls, trials: Sequence[FrozenTrial], rows: Iterable[Attempt], cached: Iterable[Spent] = ()
    ) -> SearchState:
        """Sort a search's trials.

        Args:
            rows: attempts, oldest first.
            cached: what the attempts took that are not among them.
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
        taken = [*cached, *map(attempts.taken, by_trial.values())]
        return cls(
            trials=tuple(trials),
            attempts=dict(by_trial),
            live=tuple(live),
            paused=tuple(paused),
            orphans=tuple(orphans),
            waiting=tuple(t for t in trials if t.state == TrialState.WAITING),
            spent=sum(one.epochs for one in taken),
            reserved=sum(by_trial[t.number][-1].reserved for t in live),
            seconds=sum(one.seconds for one in taken),
        )

    def history(
        self,
        optuna_study: optuna.Study,
        horizon: int,
        budget: int | None,
        seconds: float | None = None,
    ) -> History:
        """The search as its policy sees it.

        Args:
            horizon: epochs of a full run.
            budget: epochs; None for full training and the ensemble, where every trial that was
                enqueued is run whatever it costs.
            seconds: of training, where that is what the budget is given in.
        """
        claimed = self.reserved + self._owed(horizon)
        if seconds is None:
            remaining = (2**31 if budget is None else budget) - self.spent - claimed
        elif self.is_out_of_time(seconds):
            remaining = 0
        else:
            left = about_epochs(seconds, Spent(self.spent, self.seconds), horizon) - self.spent
            remaining = max(horizon, left - claimed)
        return History(
            study=optuna_study,
            trials=self.trials,
            paused=self.paused_numbers,
            horizon=horizon,
            remaining=remaining,
            trained=self.spent - self._in_progress,
        )

    def is_out_of_time(self, seconds: float | None) -> bool:
        """True if a budget of so many seconds is spent; False without one."""
        return seconds is not None and self.seconds >= seconds

    @property
    def _in_progress(self) -> int:
        """Epochs that live attempts have trained so far."""
        return sum(self.attempts[trial.number][-1].epochs for trial in self.live)

    @cached_property
    def paused_numbers(self) -> frozenset[int]:
        """The numbers of the paused trials."""
        return frozenset(trial.number for trial in self.paused)

    def _owed(self, horizon: int) -> int:
        """Epochs that are still to be trained of trials that wait to be taken over.

        They come first, as a rule; but one that failed on a worker is left to others, which may
        take a while, and is not to find its budget spent.
        """
        owed = 0
        for trial in self.orphans:
            last = self.last(trial)
            if last is not None:
                owed += max(0, last.until_epoch - last.reached)
            else:
                owed += UNTIL.get(trial) or horizon
        return owed

    def last(self, trial: FrozenTrial) -> Attempt | None:
        """The latest attempt at a trial."""
        rows = self.attempts.get(trial.number)
        return rows[-1] if rows else None


def read_state(study: Study, search: Search) -> SearchState:
    """A search as it stands, without the attempts at trials that were cached before.

    That is all that the next step depends on, and takes no longer the more trials there were.
    """
    # Trials first: of those that are finished then, all epochs have been entered.
    trials, cached = plausible(study, search, study.trials(search)), study.cached[search.name]
    others = [trial for trial in trials if trial.number not in cached]
    rows = attempts.read(study.database, [search.name], {trial.number for trial in others})
    now = SearchState.of(trials, rows, cached.values())
    for trial in others:
        mine = now.attempts.get(trial.number, [])
        if trial.state.is_finished() and not any(attempt.live for attempt in mine):
            cached[trial.number] = attempts.taken(mine)
    return now


def history(study: Study, search: Search, now: SearchState) -> History:
    """A search as its policy sees it."""
    epochs = study.spec.trial.epochs
    return now.history(study.optuna_study(search), epochs, search.budget, search.seconds)
