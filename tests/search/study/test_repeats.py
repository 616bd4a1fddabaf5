"""Repeats that are opened while a study runs: once, by however many workers, whatever dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from tuneoff.search.results.progress import read_progress
from tuneoff.search.results.status import read_status
from tuneoff.search.store.attempts import Spent
from tuneoff.search.store.attributes import ENTERED, NOTE
from tuneoff.search.study import table
from tuneoff.search.study.opening import open_repeats, open_study
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.table import Standing
from tuneoff.search.work.manual import enqueue_by_hand
from tuneoff.search.work.worker import work

ARMS = {"a": {"sampler": "random"}, "b": {"sampler": "quasi-random"}}

# Opens repeats, and dies in the middle: some of the Optuna studies are there, and others are not.
DIES_WHILE_OPENING = """
import os, sys
import sqlalchemy as sa
from pathlib import Path
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import open_repeats, open_study

url, name, work, last_words = sys.argv[1:]
study = open_study(open_database(url), name, Path(work))
seen = []

def look(connection, cursor, statement, *_):
    seen.append(last_words in statement)
    if sum(seen) == (2 if "INSERT" in last_words else 1):
        os._exit(9)

sa.event.listen(sa.Engine, "after_cursor_execute", look)
open_repeats(study, 3)
"""


def arms_of(study: Any) -> list[str]:
    return [search.name.removeprefix(f"{study.name}/") for search in study.arms]


def optuna_studies(study: Any) -> list[str]:
    """The names of the arms' Optuna studies, sorted."""
    every = [found.study_name for found in study.database.optuna.get_all_studies()]
    mine = [name.removeprefix(f"{study.name}/") for name in every if name.startswith(study.name)]
    return sorted(set(mine) - {"full", "ensemble"})


@pytest.mark.slow
def test_opened_repeats_are_seen_by_whoever_reads_the_study(database: Any, make_study: Any) -> None:
    study = make_study(database, arms=ARMS)
    assert (study.repeats, study.standing()) == (1, Standing(draining=False, repeats=1))
    opened = open_repeats(study, 3)
    assert arms_of(opened) == ["a/0", "b/0", "a/1", "b/1", "a/2", "b/2"]
    assert optuna_studies(study) == sorted(arms_of(opened))
    for search in opened.arms:
        stored = opened.optuna_study(search)
        assert stored.direction == optuna.study.StudyDirection.MINIMIZE
        assert stored.metric_names == ["validation error"]
    # What was read before is as it was; every new reading has them.
    assert arms_of(study) == ["a/0", "b/0"]
    assert study.refreshed() == opened
    assert Snapshot.of(study).study == opened
    assert open_study(database, study.name, study.work).repeats == 3
    assert [arm.budget for arm in read_status(study).arms] == [27, 27]
    assert [arm.budget for arm in read_progress(study)] == [27, 27]
    # The settings are those that the study was created with.
    assert opened.spec.repeats == 1


def test_what_a_process_holds_of_a_study_is_kept_when_it_grows(
    sqlite_database: Any, make_study: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS)
    first, policy = study.arms[0], study.arms[0].policy
    study.cached[first.name][0] = Spent(3, 1.5)
    grown = study.grown(2)
    assert grown.arms[0] is first
    assert grown.arms[0].policy is policy
    assert grown.cached is study.cached
    assert grown.grown(1) is grown


@pytest.mark.slow
def test_repeats_are_never_closed(database: Any, make_study: Any) -> None:
    study = open_repeats(make_study(database, arms=ARMS), 3)
    assert open_repeats(study, 2).repeats == 3
    assert study.refreshed().repeats == 3


@pytest.mark.slow
@pytest.mark.parametrize("last_words", ["INSERT INTO studies", "UPDATE tuneoff_studies"])
def test_what_a_killed_worker_began_to_open_is_opened(
    database: Any, make_study: Any, last_words: str
) -> None:
    study = make_study(database, arms=ARMS)
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-P", "-c", DIES_WHILE_OPENING]
    died = subprocess.run([*command, url, study.name, str(study.work), last_words], timeout=60)
    assert died.returncode == 9
    assert study.refreshed().repeats == 1
    assert arms_of(open_repeats(study, 3)) == ["a/0", "b/0", "a/1", "b/1", "a/2", "b/2"]
    assert study.refreshed().repeats == 3
    assert optuna_studies(study) == ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"]


@pytest.mark.slow
def test_many_workers_that_open_a_repeat_at_once_open_it_once(
    database: Any, make_study: Any, reopen: Any
) -> None:
    study = make_study(database, arms=ARMS)
    barrier = threading.Barrier(6)

    def opens(own: Any) -> int:
        mine = open_study(own, study.name, study.work)
        barrier.wait(30)
        return int(open_repeats(mine, 2).repeats)

    databases = [reopen(database) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(opens, databases)) == [2] * 6
    assert study.refreshed().repeats == 2
    assert optuna_studies(study) == ["a/0", "a/1", "b/0", "b/1"]


@pytest.mark.slow
def test_a_worker_runs_the_repeats_that_others_open(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(database, arms=ARMS)
    trainer = make_trainer()
    assert work(study, study.arms, trainer, me, never).attempts == 6

    def opens() -> bool:
        """As another worker would, while this one finds nothing more to do."""
        open_repeats(study, 3)
        return False

    assert work(study, study.arms, trainer, me, never, opens).attempts == 12
    now = Snapshot.of(study)
    assert [len(now.trials(search)) for search in now.study.arms] == [3] * 6
    check_ledger(now.study, trainer)


def test_one_query_tells_a_worker_whether_to_leave_and_what_was_opened(
    sqlite_database: Any, make_study: Any
) -> None:
    study = make_study(sqlite_database)
    statements = []

    def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sa.event.listen(sqlite_database.engine, "after_cursor_execute", look)
    try:
        study.standing()
    finally:
        sa.event.remove(sqlite_database.engine, "after_cursor_execute", look)
    assert len(statements) == 1


@pytest.mark.slow
def test_what_was_entered_by_hand_in_every_repeat_is_entered_in_the_new_ones(
    database: Any, make_study: Any
) -> None:
    arms = {"hand": {"configs": [{"lr": 0.1}]}, "a": {"sampler": "random"}}
    study = make_study(database, arms=arms, repeats=2, budget={"epochs": 18})
    enqueue_by_hand(study, {"lr": 0.2}, None, None, "everywhere")
    enqueue_by_hand(study, {"lr": 0.3}, None, 1, None)  # in one repeat only
    # Opened once, as far as the number, and again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "raise_repeats", lambda *_: None)
        open_repeats(study, 4)
    opened = open_repeats(study, 4)
    found = {
        search.repeat: [(trial.params["lr"], trial.state.name) for trial in opened.trials(search)]
        for search in opened.arms
        if search.arm == "hand"
    }
    assert found[2] == found[3] == [(0.2, "WAITING")]
    new = next(search for search in opened.arms if (search.arm, search.repeat) == ("hand", 3))
    (trial,) = opened.trials(new)
    assert NOTE.of(trial) == "everywhere"
    assert ENTERED.is_set(trial)
