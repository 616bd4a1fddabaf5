"""How much full training and the ensemble will take, as long as they are not all enqueued."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from tuneoff.search.store.counts import Counts
from tuneoff.search.store.leaders import leaders
from tuneoff.search.study.judging import Pick, full_trainings
from tuneoff.search.study.study import Study


def epochs_to_come(
    connection: sa.Connection, study: Study, counts: Mapping[str, Counts]
) -> dict[str, int]:
    """About how many epochs a queue will have taken in the end, by its search's name.

    It is known exactly once the queue is filled, and then left out here. Until then the picks are
    taken to be the best trials so far, those of arms that have none to differ from all others, and
    the [promote] ``top`` to be among them.
    """
    spec = study.spec
    if spec.promote is None:
        return {}
    full, ensemble = counts[study.full.name], counts[study.ensemble.name]
    found = {}
    searching = any(_is_open(counts[search.name]) for search in study.arms)
    if searching or not full.states:
        found[study.full.name] = _full_trainings(connection, study) * spec.promote.epochs
    over = not searching and full.states and not _is_open(full)
    if not ensemble.states and not (over and full.best is None):
        members = sum(recipe.epochs for recipe in spec.member_recipes())
        found |= {study.ensemble.name: members} if members else {}
    return found


def _is_open(counts: Counts) -> bool:
    """True if a search has not begun, or has trials that are not finished."""
    unfinished = ("running", "waiting", "interrupted", "paused")
    return not counts.states or any(counts.states[state] for state in unfinished)


def _full_trainings(connection: sa.Connection, study: Study) -> int:
    """About how many full trainings there will be."""
    best = leaders(connection, [search.name for search in study.arms])
    picks: dict[Pick, str] = {
        (search.arm, search.repeat): best[search.name].key if search.name in best else search.name
        for search in study.arms
    }
    promising = [b.key for b in sorted(best.values(), key=lambda b: b.value)]
    return full_trainings(study.spec, picks, promising)
