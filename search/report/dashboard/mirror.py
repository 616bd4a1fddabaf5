"""The Optuna study NAME: a copy of every search run of a study, for optuna-dashboard.

It is derived: nothing reads it but people, and one that was deleted is made again. Whoever writes
to it does so in one transaction, which locks the study and raises its revision. What was read under
another revision is not written. So a run is copied once, however many publish at once, and no older
state is written over a newer one; and a publisher that is killed leaves nothing half done.

Finished trials are never written again: Optuna's storages and the browser keep them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from optuna.trial import FrozenTrial

from tuneoff.search.errors import StudyError
from tuneoff.search.report.dashboard.runs import (
    KEYS,
    Run,
    as_copied,
    mark_of,
    recipe_in_words,
)
from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.attempts import Attempt, read_trials_attempts
from tuneoff.search.store.attributes import COMPARISON, MIRROR, SOURCE, StoredMirror, StoredSource
from tuneoff.search.store.moment import moment
from tuneoff.search.store.study_writing import (
    add_study,
    find_study,
    lock_study,
    read_system_attributes,
    write_attributes,
    writing,
)
from tuneoff.search.store.tables import attempts_table
from tuneoff.search.store.trial_ids import id_of
from tuneoff.search.store.trial_writing import add_trials, replace_trials
from tuneoff.search.store.trials import read_trials_of
from tuneoff.search.study.snapshot import as_it_stands
from tuneoff.search.study.study import Search, Study

log = logging.getLogger(__name__)

BATCH: Final = 250
"""Trials that are written in one transaction: workers on SQLite wait for it."""


class NotOurs(StudyError):
    """There is an Optuna study of this name that somebody else made."""


@dataclass(frozen=True)
class Mirror:
    """The copy as it was found.

    Attributes:
        id: of the Optuna study.
    """

    id: int
    stored: StoredMirror


@dataclass(frozen=True)
class _Open:
    """A trial of the copy that is not finished: its id, and what it was copied from."""

    id: int
    source: StoredSource


def find_mirror(connection: sa.Connection, study: Study) -> Mirror | None:
    """The copy of a study's search runs; None before it is made.

    Raises:
        NotOurs: an Optuna study of this name is somebody else's.
    """
    study_id = find_study(connection, study.name)
    if study_id is None:
        return None
    marks = tables.read_study_attributes(connection, study.name)
    if marks.get(COMPARISON.name) != study.uid:
        raise NotOurs(
            f"an Optuna study named {study.name} is there already and is not tuneoff's; it stays "
            "as it is, and the dashboard shows no comparison: rename it there, or take another "
            "name for the study"
        )
    stored = read_system_attributes(connection, study_id, MIRROR.name).get(MIRROR.name, {})
    return Mirror(study_id, StoredMirror(**stored))


def make_mirror(study: Study) -> None:
    """Make the copy, still empty, unless it is there (errors as ``find_mirror``)."""
    user: dict[str, Any] = COMPARISON.entry(study.uid) | {
        "arms": ", ".join(f"{i} {arm}" for i, arm in enumerate(study.spec.arms)),
        "budget": f"{study.spec.budget.words} for each arm and repeat",
        "recipe": recipe_in_words(study.spec.recipe()),
    }
    system = MIRROR.entry(StoredMirror()) | {"study:metric_names": [study.metric.stored_name]}
    try:
        with writing(study.database.engine) as connection:
            add_study(connection, study.name, user, system)
    except sa.exc.IntegrityError:
        with study.database.engine.connect() as connection:
            find_mirror(connection, study)


def look(connection: sa.Connection, study: Study) -> str:
    """What all that is shown of a study depends on, but the time, in a few bytes."""
    names = [search.name for search in study.searches]
    s, t, a = tables.studies.c, tables.trials.c, attempts_table.c
    states = (
        sa.select(tables.state, sa.func.count())
        .join_from(tables.studies, tables.trials, s.study_id == t.study_id)
        .where(s.study_name.in_(names))
        .group_by(tables.state)
        .order_by(tables.state)
    )
    totals = sa.select(
        sa.func.count(), sa.func.count(a.end), sa.func.sum(a.epochs), sa.func.sum(a.seconds)
    ).where(a.search.in_(names))
    queues = (study.full.name, study.ensemble.name)
    noted = [tables.read_study_attributes(connection, queue) for queue in queues]
    found = [
        study.repeats,
        [list(row) for row in connection.execute(states)],
        list(connection.execute(totals).one()),
        noted,
        study.spec.model_dump_json(),
    ]
    return hashlib.blake2b(json.dumps(found).encode(), digest_size=8).hexdigest()


def copy_runs(study: Study, mirror: Mirror) -> Mirror | None:
    """Bring the copy up to date with the searches.

    Returns:
        The copy as it is now; None if somebody else has written to it meanwhile, or deleted it:
        then the rest is theirs, or comes next time.
    """
    engine = study.database.engine
    searches = {search.name: search for search in study.arms}
    with moment(engine) as connection:
        known = _open_trials(connection, mirror.id)
        new = _new_trials(connection, searches, mirror.stored.copied)
        marks = _marks(connection, searches) if known else {}
    changed = [source for source, one in known.items() if marks.get(source) != one.source.mark]
    wanted = [*changed, *(found for found, _ in new)]
    for start in range(0, len(wanted), BATCH):
        with moment(engine) as connection:
            runs = _read_runs(connection, study, searches, wanted[start : start + BATCH])
        current = _write(study, mirror, runs, known)
        if current is None:
            return None
        mirror = current
    return mirror


def save_state(
    study: Study, mirror: Mirror, values: Mapping[str, Any], connection: sa.Connection
) -> Mirror | None:
    """Within ``writing``: raise the revision, with what else is to be known of the copy.

    Returns:
        The copy as it is now; None if somebody else has written to it meanwhile, or deleted it.
    """
    if not lock_study(connection, mirror.id):
        return None
    found = find_mirror(connection, study)
    if found is None or (found.id, found.stored.revision) != (mirror.id, mirror.stored.revision):
        return None
    stored = replace(mirror.stored, revision=mirror.stored.revision + 1, **values)
    write_attributes(connection, tables.study_system_attributes, mirror.id, MIRROR.entry(stored))
    return Mirror(mirror.id, stored)


def _write(
    study: Study, mirror: Mirror, runs: Sequence[Run], known: Mapping[int, _Open]
) -> Mirror | None:
    copies = [as_copied(study, run) for run in runs]
    changed, added = [], []
    copied = dict(mirror.stored.copied)
    for run, trial in zip(runs, copies, strict=True):
        there = known.get(id_of(run.trial))
        if there is None:
            added.append(trial)
            copied[run.search.name] = run.trial.number + 1
        elif SOURCE.of(trial) != there.source:
            changed.append((there.id, trial))
    if not (changed or added):
        return mirror
    with writing(study.database.engine) as connection:
        current = save_state(study, mirror, {"copied": copied}, connection)
        if current is not None:
            trials = [trial for _, trial in changed]
            for trial in trials:  # the link to the log is there
                trial.system_attrs = {SOURCE.name: trial.system_attrs[SOURCE.name]}
            replace_trials(connection, [i for i, _ in changed], trials, KEYS)
            add_trials(connection, mirror.id, added)
    return current


def _open_trials(connection: sa.Connection, study_id: int) -> dict[int, _Open]:
    """The trials of the copy that may still change, by the ids of those they are copies of."""
    t, a = tables.trials.c, tables.system_attributes.c
    query = (
        sa.select(t.trial_id, a.value_json)
        .join_from(tables.trials, tables.system_attributes, t.trial_id == a.trial_id)
        .where(
            t.study_id == study_id, tables.state.in_(("RUNNING", "WAITING")), a.key == SOURCE.name
        )
        .order_by(t.trial_id)
    )
    found = [
        _Open(trial_id, StoredSource(**json.loads(text)))
        for trial_id, text in connection.execute(query)
    ]
    return {one.source.id: one for one in found}


def _new_trials(
    connection: sa.Connection, searches: Mapping[str, Search], copied: Mapping[str, int]
) -> list[tuple[int, datetime]]:
    """The ids of trials that are not copied yet, in the order in which they began.

    Those of one search stay in the order of their numbers, so that after any part of them it takes
    one number for each search to know which are copied.
    """
    s, t = tables.studies.c, tables.trials.c
    query = (
        sa.select(t.trial_id, s.study_name, t.number, t.datetime_start)
        .join_from(tables.studies, tables.trials, s.study_id == t.study_id)
        .where(s.study_name.in_(list(searches)))
        .order_by(t.number)
    )
    latest: dict[str, datetime] = defaultdict(lambda: datetime.min)
    found = []
    for trial_id, name, number, begun in connection.execute(query):
        latest[name] = max(latest[name], begun or datetime.min)
        if number >= copied.get(name, 0):
            found.append((trial_id, latest[name]))
    return sorted(found, key=lambda pair: pair[1])  # stable


def _read_runs(
    connection: sa.Connection, study: Study, searches: Mapping[str, Search], ids: Sequence[int]
) -> list[Run]:
    """These trials with their attempts, in the order of the ids."""
    s, t = tables.studies.c, tables.trials.c
    query = (
        sa.select(t.trial_id, s.study_name)
        .join_from(tables.studies, tables.trials, s.study_id == t.study_id)
        .where(t.trial_id.in_(ids))
    )
    names: dict[int, str] = {row.trial_id: row.study_name for row in connection.execute(query)}
    trials = read_trials_of(connection, ids)
    numbers: dict[str, list[int]] = defaultdict(list)
    for trial_id in ids:
        numbers[names[trial_id]].append(trials[trial_id].number)
    runs = {}
    for name, some in numbers.items():
        attempts: dict[int, list[Attempt]] = defaultdict(list)
        for row in read_trials_attempts(connection, name, some):
            attempts[row.trial].append(row)
        mine = [trials[i] for i in ids if names[i] == name]
        for trial in as_it_stands(study, searches[name], mine, attempts):
            rows = attempts[trial.number]
            mark = _mark(trials[id_of(trial)], rows)
            runs[id_of(trial)] = Run(searches[name], trial, rows, mark)
    return [runs[trial_id] for trial_id in ids]


def _mark(trial: FrozenTrial, rows: Sequence[Attempt]) -> str:
    """The mark of a run, of which the trial is as stored."""
    ended = sum(row.end is not None for row in rows)
    epochs = sum(row.epochs for row in rows)
    return mark_of(trial.state.name, len(trial.intermediate_values), len(rows), ended, epochs)


def _marks(connection: sa.Connection, searches: Mapping[str, Search]) -> dict[int, str]:
    """The marks of all runs, by the ids of their trials, counted by the database.

    Of finished ones the reported epochs are not counted: their state has changed anyway.
    """
    s, t, a, r = tables.studies.c, tables.trials.c, attempts_table.c, tables.reported.c
    joined = tables.studies.join(tables.trials, s.study_id == t.study_id)
    names = list(searches)
    totals = (
        sa.select(a.search, a.trial, sa.func.count(), sa.func.count(a.end), sa.func.sum(a.epochs))
        .where(a.search.in_(names))
        .group_by(a.search, a.trial)
    )
    attempts = {(search, trial): row for search, trial, *row in connection.execute(totals)}
    running = sa.and_(s.study_name.in_(names), tables.state == "RUNNING")
    counted = (
        sa.select(t.trial_id, sa.func.count())
        .select_from(joined.join(tables.reported, r.trial_id == t.trial_id))
        .where(running)
        .group_by(t.trial_id)
    )
    reported = {trial_id: number for trial_id, number in connection.execute(counted)}  # noqa: C416
    query = (
        sa.select(t.trial_id, s.study_name, t.number, tables.state)
        .select_from(joined)
        .where(s.study_name.in_(names))
    )
    return {
        trial_id: mark_of(
            state, reported.get(trial_id, 0), *attempts.get((name, number), (0, 0, 0))
        )
        for trial_id, name, number, state in connection.execute(query)
    }
