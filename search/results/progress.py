"""How far the arms of a study are, read again and again at little cost while workers train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Totals
from tuneoff.search.study.selection import best_error
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef


@dataclass(frozen=True)
class ArmProgress:
    """An arm over all repeats, or full training, or the ensemble.

    Attributes:
        spent, budget: epochs; for promoted trials, the budget is what is enqueued.
        best: lowest validation error of a full run, 0 to 1; None before the first.
    """

    name: str
    spent: int
    budget: int
    best: float | None


def budget_of(study: Study, search: Search, trials: Sequence[FrozenTrial]) -> int:
    """A search's budget in epochs; for promoted trials, what those that did not fail take."""
    if search.budget is not None:
        return search.budget
    kept = [trial for trial in trials if trial.state != TrialState.FAIL]
    return sum(TrialRef(study, search, trial).run.recipe.epochs for trial in kept)


class ProgressReader:
    """Reads a study's progress; what has not changed since the last time is not read again.

    A reading takes one query that returns a row for each search, however many attempts there
    were, and for a search that has changed the trials that are new or had not finished.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._totals: dict[str, Totals] = {}
        self._found: dict[str, tuple[int, float | None]] = {}

    def read(self) -> list[ArmProgress]:
        """Every arm, and full training and the ensemble once they have trials."""
        names = [search.name for search in self._study.searches]
        totals = attempts.totals(self._study.database, names)
        for search in self._study.searches:
            mine = totals.get(search.name, Totals(0, 0, 0))
            # Trials that wait for full training have no attempts yet by which to notice them.
            if search.budget is None or mine != self._totals.get(search.name):
                self._found[search.name] = self._look(search)
                self._totals[search.name] = mine
        arms = [self._arm(arm) for arm in (*self._study.spec.arms, "full", "ensemble")]
        return [arm for arm in arms if arm.budget]

    def _look(self, search: Search) -> tuple[int, float | None]:
        """A search's budget in epochs, and its lowest validation error."""
        trials = self._study.trials(search)
        return budget_of(self._study, search, trials), best_error(trials)

    def _arm(self, arm: str) -> ArmProgress:
        names = [search.name for search in self._study.searches if search.arm == arm]
        errors = [best for _, best in map(self._found.__getitem__, names) if best is not None]
        return ArmProgress(
            name=arm,
            spent=sum(self._totals[name].epochs for name in names),
            budget=sum(self._found[name][0] for name in names),
            best=min(errors, default=None),
        )
