"""Databases that an older tuneoff wrote: upgraded whole or not at all, and their studies go on.

The fixtures are dumps of databases that version 1 left in the middle of a study of three arms and
two repeats, when its two workers were killed: finished trials, paused ones, and live attempts.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.trial import TrialState

from tuneoff.search.errors import StorageError
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store import attempts, migrations
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.attributes import RECIPE_CHANGES, REPLICA, SEED
from tuneoff.search.store.database import open_database
from tuneoff.search.store.dialects import whole_transaction
from tuneoff.search.store.tables import metadata
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.promotion import picks_of
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import FULL_RUN
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.search.work.promote import enqueue_full
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
BUDGET = 18

NEW_KEYS = {
    "trial_user_attributes": {
        "accumulation for want of memory": "tuneoff/accumulation",
        "chosen by": "tuneoff/chosen by",
        "diverged in epoch": "tuneoff/diverged epoch",
        "entered": "tuneoff/entered",
        "environment": "tuneoff/environment",
        "failure": "tuneoff/failure",
        "listed": "tuneoff/fixed configuration",
        "member": "tuneoff/member",
        "note": "tuneoff/note",
        "recipe": "tuneoff/recipe",
        "recipe changes": "tuneoff/recipe changes",
        "replica": "tuneoff/replica",
        "seed": "tuneoff/seed",
        "test error": "tuneoff/test error",
    },
    "trial_system_attributes": {"tuneoff:until_epoch": "tuneoff/until epoch"},
    "study_user_attributes": {"ensemble": "tuneoff/ensemble"},
}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def old_url(storage_url: str) -> str:
    """The URL of a database that version 1 left, on SQLite and on Postgres."""
    restore(storage_url)
    return storage_url


def restore(url: str) -> None:
    backend = sa.make_url(url).get_backend_name()
    name = f"version-1.{'sqlite' if backend == 'sqlite' else 'postgres'}.sql.gz"
    script = gzip.decompress((FIXTURES / name).read_bytes()).decode()
    engine = sa.create_engine(url)
    connection: Any = engine.raw_connection()
    if backend == "sqlite":
        connection.executescript(script)
        connection.execute("PRAGMA journal_mode=WAL")  # a dump does not hold it
    else:
        connection.cursor().execute(script)
    connection.commit()
    connection.close()
    engine.dispose()


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """Past the program under test."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def change(url: str, statement: str, **values: Any) -> None:
    with connected(url) as connection:
        connection.execute(sa.text(statement), values)


def read_rows(url: str) -> Rows:
    """Every row of every table, by table."""
    with connected(url) as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        return {
            table.name: [
                dict(row._mapping)
                for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
            ]
            for table in tables.sorted_tables
        }


def as_upgraded(old: Rows) -> Rows:
    """What this version makes of the rows of version 1."""
    new = {table: [dict(row) for row in rows] for table, rows in old.items()}
    new["tuneoff_schema"] = [{"version": 3}]
    new[migrations.VERSION_TABLE] = [{"version_num": "0003"}]
    for row in new["tuneoff_studies"]:
        row["repeats"] = json.loads(row["spec"])["repeats"]
    for row in new["tuneoff_attempts"]:
        row["search"] = row.pop("group")
    for table, keys in NEW_KEYS.items():
        for row in new[table]:
            row["key"] = keys.get(row["key"], row["key"])
    return new


@pytest.mark.slow
@pytest.mark.parametrize("create", [False, True])
def test_every_row_of_an_old_database_is_kept(
    old_url: str, create: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_rows(old_url)
    spent = Counter[str]()
    for row in before["tuneoff_attempts"]:
        spent[row["group"]] += row["epochs"]
    assert len(before["trials"]) == 15
    assert sum(spent.values()) >= len(before["trial_intermediate_values"]) > 30

    database = open_database(old_url, create=create)
    (line,) = [record.getMessage() for record in caplog.records if "tuneoff" in record.name]
    assert line.endswith("upgraded from schema 1 to 3")
    assert read_rows(old_url) == as_upgraded(before)
    for search, epochs in spent.items():
        assert attempts.spent(attempts.read(database, [search])) == epochs
    assert len(attempts.live(database, list(spent))) == 2
    database.close()

    caplog.clear()
    open_database(old_url, create=create).close()
    assert not caplog.records
    assert read_rows(old_url) == as_upgraded(before)


@pytest.mark.slow
def test_every_attribute_of_ours_gets_its_new_name_and_nobody_elses(old_url: str) -> None:
    # All names that version 1 had, on a trial of ours; and a study of somebody else's beside it.
    change(old_url, "INSERT INTO studies VALUES (99, 'digits')")
    change(
        old_url,
        "INSERT INTO trials (trial_id, number, study_id, state) VALUES (99, 0, 99, 'COMPLETE')",
    )
    for ours, study, trial in ((True, 7, 15), (False, 99, 99)):
        for table, keys in NEW_KEYS.items():
            owner, number = (
                ("study_id", study) if table.startswith("study") else ("trial_id", trial)
            )
            change(old_url, f"DELETE FROM {table} WHERE {owner} = {number}")
            for i, key in enumerate([*keys, "their own"]):
                change(
                    old_url,
                    f"INSERT INTO {table} VALUES (:id, :owner, :key, :value)",
                    id=1000 * (1 + ours) + i,
                    owner=number,
                    key=key,
                    value='"doubt"' if key in ("chosen by", "note") else "0",
                )
    before = read_rows(old_url)
    open_database(old_url).close()
    after = read_rows(old_url)
    for table, keys in NEW_KEYS.items():
        owner = "study_id" if table.startswith("study") else "trial_id"
        old = {row[f"{table[:-1]}_id"]: row for row in before[table]}
        for row in after[table]:
            was = old.pop(row[f"{table[:-1]}_id"])
            if row[owner] == 99:
                assert row == was
                continue
            assert row["key"] == keys.get(was["key"], was["key"])
            why = was["key"] == "chosen by" and was["value_json"] == '"doubt"'
            assert row["value_json"] == ('"given full runs only"' if why else was["value_json"])
        assert not old


@pytest.mark.slow
@pytest.mark.parametrize("create", [False, True])
def test_the_open_repeats_of_a_database_of_version_2_are_those_of_its_study_files(
    old_url: str, create: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with whole_transaction(sa.make_url(old_url)) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    # Another study of four repeats; a third one of one.
    for name, repeats in (("more", 4), ("one", 1)):
        change(
            old_url,
            "INSERT INTO tuneoff_studies SELECT :name, uid, :spec, task, created, draining "
            "FROM tuneoff_studies WHERE name = 'digits'",
            name=name,
            spec=json.dumps({"repeats": repeats, "workers": {"grace_seconds": 300.0}}),
        )
    before = read_rows(old_url)
    open_database(old_url, create=create).close()
    assert "upgraded from schema 2 to 3" in caplog.text
    after = read_rows(old_url)
    assert {row["name"]: row["repeats"] for row in after["tuneoff_studies"]} == {
        "digits": 2,
        "more": 4,
        "one": 1,
    }
    for row in after["tuneoff_studies"]:
        del row["repeats"]
    assert after.pop("tuneoff_schema") == [{"version": 3}]
    assert after.pop(migrations.VERSION_TABLE) == [{"version_num": "0003"}]
    assert after == {table: rows for table, rows in before.items() if table in after}


@pytest.mark.slow
def test_the_tables_are_those_that_the_program_has(storage_url: str) -> None:
    def compare(url: str) -> list[Any]:
        with connected(url) as connection:
            context = MigrationContext.configure(
                connection,
                opts={
                    "include_name": lambda name, kind, parents: (
                        kind != "table" or name in metadata.tables
                    ),
                    "compare_type": True,
                },
            )
            return list(compare_metadata(context, metadata))

    open_database(storage_url, create=True).close()
    assert compare(storage_url) == []
    change(storage_url, f"DROP TABLE {migrations.VERSION_TABLE}")
    for table in reversed(metadata.sorted_tables):
        change(storage_url, f"DROP TABLE {table.name}")
    assert compare(storage_url) != []


def test_revisions_are_numbered_and_the_last_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions == [f"{i:04d}" for i in range(int(migrations.HEAD), 0, -1)]


# Many at once, and crashes


def _open(url: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        database = open_database(url)
        database.optuna.get_all_studies()
        database.close()
        results.put("")
    except BaseException as error:
        results.put(repr(error))


@pytest.mark.slow
def test_many_processes_may_upgrade_at_once(old_url: str) -> None:
    before = read_rows(old_url)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(8), context.Queue()
    workers = [context.Process(target=_open, args=[old_url, barrier, results]) for _ in range(8)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(30)
    results.close()
    assert found == [""] * 8
    assert read_rows(old_url) == as_upgraded(before)


def _die_in_the_middle(url: str, last_words: str) -> None:
    def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if last_words in statement:
            os._exit(9)

    sa.event.listen(sa.Engine, "after_cursor_execute", look)
    open_database(url)


@pytest.mark.slow
@pytest.mark.parametrize(
    "last_words",
    [
        f"INSERT INTO {migrations.VERSION_TABLE}",
        "ALTER TABLE tuneoff_attempts",
        "UPDATE trial_user_attributes",
        "ALTER TABLE tuneoff_studies",
        "UPDATE tuneoff_studies",
        "UPDATE tuneoff_schema",
        f"UPDATE {migrations.VERSION_TABLE}",
    ],
)
def test_what_a_crash_in_the_middle_leaves_is_upgraded(old_url: str, last_words: str) -> None:
    before = read_rows(old_url)
    process = multiprocessing.get_context("fork").Process(
        target=_die_in_the_middle, args=[old_url, last_words]
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert read_rows(old_url) == before
    open_database(old_url).close()
    assert read_rows(old_url) == as_upgraded(before)


@pytest.mark.slow
def test_what_a_crash_left_while_it_made_the_tables_is_made(storage_url: str) -> None:
    # Version 1 made its tables one by one, and entered its number last.
    change(storage_url, "CREATE TABLE tuneoff_schema (version INTEGER PRIMARY KEY)")
    with pytest.raises(StorageError, match="holds no tuneoff study; run `tuneoff create`"):
        open_database(storage_url)
    open_database(storage_url, create=True).close()
    assert read_rows(storage_url)["tuneoff_schema"] == [{"version": 3}]


# Who stands in the way


def put_at_work(url: str, worker: Worker, seconds_ago: float = 0.0) -> None:
    """Give a live attempt this worker, who showed progress so long ago."""
    clock = {
        "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
        "postgresql": "EXTRACT(EPOCH FROM clock_timestamp())",
    }[sa.make_url(url).get_backend_name()]
    change(
        url,
        f"UPDATE tuneoff_attempts SET worker = :worker, process = :process, "
        f"progressed = {clock} - :ago "
        'WHERE "group" = \'digits/hand/0\' AND "end" IS NULL',
        worker=worker.name,
        process=worker.process,
        ago=seconds_ago,
    )


@pytest.mark.slow
def test_an_old_database_whose_workers_run_is_left_alone(
    old_url: str, me: Worker, doomed: Worker
) -> None:
    elsewhere = Worker("elsewhere/1", "another-machine/pid:[1]/1/1", "cuda:0")
    for worker in (me, elsewhere):
        put_at_work(old_url, worker)
        before = read_rows(old_url)
        for create in (False, True):
            with pytest.raises(StorageError) as caught:
                open_database(old_url, create=create)
            assert f"whose workers still run ({worker.name}); stop them, or wait 300 s" in str(
                caught.value
            )
            assert "\n" not in str(caught.value)
        assert read_rows(old_url) == before


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["dead", "silent"])
def test_workers_that_are_gone_do_not_stand_in_the_way(
    old_url: str, gone: str, doomed: Worker
) -> None:
    if gone == "dead":
        put_at_work(old_url, doomed)
    else:
        put_at_work(old_url, Worker("elsewhere/1", "another-machine/pid:[1]/1/1", "cpu"), 301)
    open_database(old_url).close()


def test_many_workers_are_not_all_named(sqlite_url: str, me: Worker) -> None:
    restore(sqlite_url)
    put_at_work(sqlite_url, me)
    connection = sqlite3.connect(sa.make_url(sqlite_url).database or "")
    for i in range(5):
        connection.execute(
            'INSERT INTO tuneoff_attempts SELECT "group", trial + 100 + ?, number, token, ?, '
            'process, device, started, progressed, ended, "end", reason, from_epoch, '
            "until_epoch, epochs, seconds FROM tuneoff_attempts "
            'WHERE "group" = \'digits/hand/0\' AND "end" IS NULL AND trial < 100',
            (i, f"a/{i}"),
        )
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match=r"\(a/0, a/1, a/2 and 3 more\)"):
        open_database(sqlite_url)


@pytest.mark.slow
def test_who_may_not_change_the_tables_is_told_who_must(
    postgres_url: str, postgres_server: Any
) -> None:
    restore(postgres_url)
    change(postgres_url, "CREATE ROLE reader LOGIN")
    change(postgres_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    url = postgres_url.replace("postgres@", "reader@")
    try:
        with pytest.raises(StorageError) as caught:
            open_database(url)
        assert "was written by an older tuneoff (schema 1, this one has 3)" in str(caught.value)
        assert "run `tuneoff status` once as a user who may change its tables" in str(caught.value)
        assert "\n" not in str(caught.value)
        # Once somebody has upgraded it, one who may only read can read it.
        open_database(postgres_url).close()
        change(postgres_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        database = open_database(url)
        assert len(database.optuna.get_all_studies()) == 8
        database.close()
    finally:
        change(postgres_url, "DROP OWNED BY reader")
        change(postgres_url, "DROP ROLE reader")


# Going on


@pytest.mark.slow
def test_a_study_of_an_older_version_takes_a_horizon(old_url: str, tmp_path: Path) -> None:
    """Its search is made when the file asks for it, and not before."""
    database = open_database(old_url, patience=5)
    study = open_study(database, "digits", tmp_path / "work")
    assert study.horizon not in study.searches
    values = study.spec.model_dump() | {"horizon": {"epochs": [2, 4]}}
    longer = create_study(database, StudySpec.parse(values, "test"), study.task, study.work)
    assert longer.uid == study.uid
    assert longer.horizon in longer.searches
    assert longer.trials(longer.horizon) == ()
    database.close()


@pytest.mark.slow
def test_a_study_that_an_older_version_began_is_finished(
    old_url: str,
    make_trainer: Callable[..., CurveTrainer],
    me: Worker,
    never: Callable[[], bool],
    tmp_path: Path,
) -> None:
    """Its checkpoints are gone: what is trained again is in the ledger and in the budget."""
    before, lost = Counter[str](), Counter[str]()
    for row in read_rows(old_url)["tuneoff_attempts"]:
        before[row["group"]] += row["epochs"]
        lost[row["group"]] += row["epochs"] * (row["end"] is None)
    database = open_database(old_url, patience=5)
    study = open_study(database, "digits", tmp_path / "work")
    finished = {
        search.name: {t.number: t for t in study.trials(search) if t.state.is_finished()}
        for search in study.arms
    }
    trainer = make_trainer(task=study.task)
    work(study, study.arms, trainer, me, never)
    trained = Counter[str]()
    for (folder, _), times in trainer.trained().items():
        trained["digits/" + "/".join(folder.split("/")[1:3])] += times
    for search in study.arms:
        trials, rows = study.trials(search), attempts.read(database, [search.name])
        assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
        for number, trial in finished[search.name].items():
            assert trials[number] == trial
        assert not any(row.live for row in rows)
        assert attempts.spent(rows) == before[search.name] + trained[search.name]
        assert attempts.spent(rows) <= BUDGET + lost[search.name]
    database.close()


@pytest.mark.slow
def test_full_trainings_that_an_older_version_began_are_not_done_again(
    old_url: str,
    make_trainer: Callable[..., CurveTrainer],
    me: Worker,
    never: Callable[[], bool],
    tmp_path: Path,
) -> None:
    """It gave each recommendation one training, with the seed of its repeat."""
    database = open_database(old_url, patience=5)
    study = open_study(database, "digits", tmp_path / "work")
    trainer = make_trainer(task=study.task)
    work(study, study.arms, trainer, me, never)
    promote = study.spec.promote
    assert promote is not None
    for (_, repeat), params in picks_of(Snapshot.of(study)).items():
        began = {(key_of(t.params), REPLICA.of(t)) for t in study.trials(study.full)}
        if (key_of(params), repeat) not in began:
            note = {
                **REPLICA.entry(repeat),
                **SEED.entry((study.spec.seed, FULL_RUN, repeat)),
                **RECIPE_CHANGES.entry(promote.changes()),
            }
            add_trial(study, study.full, TrialState.WAITING, NewTrial(params, 0, note))
    old = study.trials(study.full)
    work(study, (study.full,), trainer, me, never, lambda: enqueue_full(study) > 0)
    trials = study.trials(study.full)
    assert len(trials) > len(old)
    assert [(t.params, t.user_attrs[SEED.name]) for t in trials[: len(old)]] == [
        (t.params, t.user_attrs[SEED.name]) for t in old
    ]
    seeds = [(key_of(t.params), SEED.of(t)) for t in trials]
    assert len(set(seeds)) == len(seeds)
    trained = Counter(key for key, _ in seeds)
    picked = {key_of(params) for params in picks_of(Snapshot.of(study)).values()}
    assert {trained[key] for key in picked} == {promote.seeds}
    assert all(t.state == TrialState.COMPLETE for t in trials)
    database.close()
