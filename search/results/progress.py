"""How far the arms of a study are, read again and again at little cost while workers train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from tuneoff.metric import ERROR, Metric
from tuneoff.search.results.to_come import epochs_to_come
from tuneoff.search.store.attempts import Spent
from tuneoff.search.store.counts import Counts, count, count_epochs
from tuneoff.search.store.moment import moment
from tuneoff.search.study import table
from tuneoff.search.study.study import Study
from tuneoff.search.study.time_budget import epochs_of, seconds_of


@dataclass(frozen=True)
class ArmProgress:
    """An arm over all repeats, or one of the study's queues: full training, for example.

    Attributes:
        spent, budget: epochs; for promoted trials, the budget is what is enqueued, or will be.
        about: True if the budget is not known exactly yet.
        best: lowest validation error of a full run, 0 to 1; None before the first.
        live: how many workers are at its trials.
        metric: what ``best`` is.
        seconds: of training spent.
        budget_seconds: that may be spent; None unless the budget is in seconds.
    """

    name: str
    spent: int
    budget: int
    best: float | None
    about: bool = False
    live: int = 0
    metric: Metric = ERROR
    seconds: float = 0.0
    budget_seconds: float | None = None


def beyond_budget(name: str, spent: int, budget: int) -> list[str]:
    """Says, in a sentence, by how much a search has exceeded its budget in epochs, if it has."""
    if not 0 < budget < spent:
        return []
    return [
        f"{name} has trained {spent:,} epochs, {spent - budget:,} more than its budget: a"
        " checkpoint was gone, and a run that was cut off was trained again from where it could be."
    ]


@dataclass(frozen=True)
class Budgets:
    """What each search takes, in epochs, by its name.

    Attributes:
        known: an arm's budget; of promoted trials, what those take that did not fail.
        expected: of promoted trials that are not all enqueued yet, about what they will take; so
            of an arm whose budget is in seconds.
    """

    known: Mapping[str, int]
    expected: Mapping[str, int]

    def of(self, names: Iterable[str]) -> int:
        """The sum over some searches."""
        return sum(max(self.known[name], self.expected.get(name, 0)) for name in names)

    def is_about(self, names: Iterable[str]) -> bool:
        """True if the sum over some searches may still change."""
        return any(self.expected.get(name, 0) > self.known[name] for name in names)


def budgets(connection: sa.Connection, study: Study, counts: Mapping[str, Counts]) -> Budgets:
    """What each search takes, as far as that can be known."""
    queues = [search.name for search in study.queues]
    enqueued = count_epochs(connection, queues, study.spec.trial.epochs)
    known = {queue.name: enqueued.get(queue.name, 0) for queue in study.queues}
    expected = epochs_to_come(connection, study, counts)
    for search in study.arms:
        taken = Spent(counts[search.name].spent, counts[search.name].seconds)
        epochs = epochs_of(search, taken, study.spec.trial.epochs)
        if search.seconds is None:
            known[search.name] = epochs
        else:
            known[search.name], expected[search.name] = taken.epochs, epochs
    return Budgets(known, expected)


def counts_of(connection: sa.Connection, study: Study) -> dict[str, Counts]:
    """The counts of all searches of a study (StudyError if the Optuna study of one was deleted)."""
    counts = count(connection, [search.name for search in study.searches], study.metric.percent)
    for search in study.searches:
        if search.name not in counts:
            raise study.deleted(search)
    return counts


def read_progress(study: Study, promote: bool = True) -> list[ArmProgress]:
    """Every arm, and each queue that has trials or will have some.

    Args:
        promote: False: workers leave after the search, so that only what is enqueued is trained.
    """
    with moment(study.database.engine) as connection:
        study = study.grown(table.standing(connection, study.name).repeats)
        counts = counts_of(connection, study)
        budget = budgets(connection, study, counts)
    if not promote:
        budget = replace(budget, expected={})
    found = []
    for arm in (*study.spec.arms, *(queue.arm for queue in study.queues)):
        names = [search.name for search in study.searches if search.arm == arm]
        errors = [counts[name].best for name in names]
        found.append(
            ArmProgress(
                name=arm,
                spent=sum(counts[name].spent for name in names),
                budget=budget.of(names),
                best=min((error for error in errors if error is not None), default=None),
                about=budget.is_about(names),
                live=sum(len(counts[name].live) for name in names),
                metric=study.metric,
                seconds=sum(counts[name].seconds for name in names),
                budget_seconds=seconds_of(study, names),
            )
        )
    return [arm for arm in found if arm.budget]
