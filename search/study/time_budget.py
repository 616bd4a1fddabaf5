"""Budgets in seconds: how many epochs they are about enough for."""

from __future__ import annotations

from collections.abc import Collection

from tuneoff.search.store.attempts import Spent
from tuneoff.search.study.study import Search, Study


def about_epochs(seconds: float, spent: Spent, horizon: int) -> int:
    """Epochs that a search of so many seconds comes to in all, at its pace so far.

    While there is time left, a run may begin: at least so many more are counted then.

    Args:
        seconds: the budget.
        spent: what the search has taken so far.
        horizon: epochs of a full run.
    """
    if spent.seconds >= seconds:
        return spent.epochs
    about = int(seconds * spent.epochs / spent.seconds) if spent.seconds > 0 else 0
    return max(about, spent.epochs + horizon)


def epochs_of(search: Search, spent: Spent, horizon: int) -> int:
    """The budget of an arm's search in epochs: about, where it is in seconds."""
    if search.seconds is None:
        return search.budget or 0
    return about_epochs(search.seconds, spent, horizon)


def seconds_of(study: Study, names: Collection[str]) -> float | None:
    """The seconds of these searches together; None if their budget is in epochs, or they have none.

    Args:
        names: of searches of one arm, or of a queue.
    """
    limits = [search.seconds for search in study.arms if search.name in names]
    known = [limit for limit in limits if limit is not None]
    return sum(known) if known else None
