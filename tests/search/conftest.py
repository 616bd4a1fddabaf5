"""Fixtures of the search's tests: databases shared by the session, small studies, a trainer."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from tuneoff.search.results.compare import compare
from tuneoff.search.results.decision.rule import standing_rule
from tuneoff.search.results.records import ArmRun, Recommendation, Step, StudyResults
from tuneoff.search.results.side_by_side.records import Member
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store import attempts, schema
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.store.tables import attempts_table
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.study import Search, Study
from tuneoff.testing import CurveTrainer
from tuneoff.testing.curve_trainer import TEN_CLASSES

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def hurry() -> Iterator[None]:
    """SQLite does without fsync, as our Postgres does: a test's data need not survive a crash."""

    def asynchronous(connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF").close()

    sa.event.listen(sa.Engine, "connect", asynchronous)
    yield
    sa.event.remove(sa.Engine, "connect", asynchronous)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Only Optuna's warnings."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(autouse=True)
def long_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that has been up for ever, so that attempts can be made to look old."""
    for module in (attempts, schema):
        monkeypatch.setattr(module, "db_started", lambda: sa.literal(0.0))


@pytest.fixture(scope="session")
def age() -> Callable[[Database, Attempt, float], None]:
    """Lets an attempt's last sign of progress lie so many seconds further back."""

    def age(database: Database, attempt: Attempt, seconds: float) -> None:
        table = attempts_table
        change = table.update().where(table.c.token == attempt.token)
        with database.engine.begin() as connection:
            connection.execute(change.values(progressed=table.c.progressed - seconds))

    return age


@pytest.fixture(scope="session")
def sqlite_shared_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of one SQLite file for all tests; studies in it have names of their own."""
    return f"sqlite:///{tmp_path_factory.mktemp('search') / 'shared.db'}"


@pytest.fixture(scope="session")
def postgres_shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of one Postgres database for all tests."""
    server = request.getfixturevalue("postgres_server")
    return str(server.url(server.create_database()))


def _open(url: str) -> Iterator[Database]:
    database = open_database(url, create=True, patience=5)
    yield database
    database.close()


@pytest.fixture(scope="session")
def sqlite_database(sqlite_shared_url: str) -> Iterator[Database]:
    """An open database on SQLite, for all tests."""
    yield from _open(sqlite_shared_url)


@pytest.fixture(scope="session")
def postgres_database(postgres_shared_url: str, postgres_server: Any) -> Iterator[Database]:
    """An open database on Postgres, for all tests."""
    postgres_server.start()
    yield from _open(postgres_shared_url)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """An open database, on SQLite and on Postgres, that other tests use too."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    if request.param == "postgres":
        request.getfixturevalue("postgres_server").start()
        found.close()  # connections from before a restart by another test
    return found


@pytest.fixture
def reopen() -> Iterator[Callable[[Database], Database]]:
    """Opens the same database once more, as another worker would; closed after the test."""
    opened: list[Database] = []

    def again(database: Database) -> Database:
        url = database.url.render_as_string(hide_password=False)
        opened.append(open_database(url, patience=database.patience.seconds))
        return opened[-1]

    yield again
    for database in opened:
        database.close()


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "arms":
            merged[key] = _merge(merged[key], value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


@pytest.fixture(scope="session")
def spec_values() -> Callable[..., dict[str, Any]]:
    """A small study file's values: spec_values(budget={"epochs": 6}, promote=None)...

    Sections are merged, [arms] is replaced, None takes something out.
    """

    def make(**changes: Any) -> dict[str, Any]:
        base = {
            "name": "small",
            "seed": 7,
            "repeats": 1,
            "data": {"name": "digits"},
            "trial": {"epochs": 3},
            "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
            "budget": {"epochs": 9},
            "arms": {"random": {"sampler": "random"}},
        }
        return _merge(base, changes)

    return make


@pytest.fixture(scope="session")
def make_member(spec_values: Callable[..., dict[str, Any]]) -> Callable[..., Member]:
    """Makes a study of two arms, each pick with one test error: make_member("a", [0.1], [0.2]).

    What else is given changes its study file; ``sections`` is for [arms], whose names are given.
    """

    def make(
        name: str,
        ours: Sequence[float],
        theirs: Sequence[float],
        arms: tuple[str, str] = ("bayes", "hand"),
        sections: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Member:
        listed = {"configs": [{"lr": 0.1}]}
        values = {
            "name": name,
            "repeats": max(1, len(ours)),
            "arms": {arms[0]: {"sampler": "tpe"}, arms[1]: listed},
            "compare": {"smallest_effect": 0.5},
        }
        spec = StudySpec.parse(spec_values(**(values | changes | dict(sections or {}))), "test")
        runs = tuple(
            ArmRun(arm, repeat, 9, 9, 1.0, {"complete": 3}, (_full_run(error),), pick)
            for arm, errors in zip(arms, (ours, theirs), strict=True)
            for repeat, error in enumerate(errors)
            for pick in (Recommendation(0, {"lr": f"{arm}{repeat}"}, error, (error,), (error,)),)
        )
        results = StudyResults(
            name, arms, spec.repeats, 3, 0.9, runs, rule=standing_rule(spec, spec.repeats)
        )
        return Member(spec, results, compare(results), digest=str(spec.data.path))

    return make


def _full_run(error: float) -> Step:
    return Step(9, 0, 3, error, full=True)


@pytest.fixture
def make_study(spec_values: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Study]:
    """Creates a small study of a fresh name: make_study(database, budget={"epochs": 6})."""

    def make(database: Database, **changes: Any) -> Study:
        values = spec_values(**{"name": f"small-{next(_numbers)}", **changes})
        return create_study(
            database, StudySpec.parse(values, "test"), TEN_CLASSES, tmp_path / "work"
        )

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., CurveTrainer]:
    """Makes a CurveTrainer; all of one test share one log, as processes on one machine would.

    ``fails(folder, epoch)`` is called before each epoch, ``during(folder, epoch)`` within it before
    its tick, and ``step(point)`` at every other point.
    """

    def make(
        fails: Callable[[Path, int], None] = lambda folder, epoch: None,
        during: Callable[[Path, int], None] = lambda folder, epoch: None,
        step: Callable[[str], None] = lambda point: None,
        **settings: Any,
    ) -> CurveTrainer:
        def at(point: str, folder: Path, epoch: int) -> None:
            if point == "batch":
                during(folder, epoch)
                return
            step(point)
            if point == "epoch":
                fails(folder, epoch)

        return CurveTrainer(at=at, log=tmp_path / "trained.log", root=tmp_path / "work", **settings)

    return make


@pytest.fixture
def me() -> Worker:
    """This process as a worker."""
    return Worker.here("cpu")


@pytest.fixture
def doomed() -> Worker:
    """A worker whose process has ended already: what it leaves open is stale at once."""
    alive = Worker.here("cpu")
    machine = alive.process.rpartition("/")[0]
    return replace(alive, name="doomed", process=f"{machine}/0")


@pytest.fixture
def never() -> Callable[[], bool]:
    """The wish to stop that never comes."""
    return lambda: False


@pytest.fixture
def check_ledger() -> Callable[[Study, CurveTrainer], None]:
    """Asserts what must hold of every study that is at rest; see its body."""
    from tuneoff.search.store.attempts import read

    def folder(study: Study, search: Search, number: int) -> str:
        path = study.folder / search.arm / str(search.repeat)
        path = path if search.kind == "arm" else study.folder / search.kind
        return str((path / f"{number:05d}").relative_to(study.work))

    def check(study: Study, trainer: CurveTrainer) -> None:
        trained = trainer.trained()
        for search in study.searches:
            rows = read(study.database, [search.name])
            for trial in study.trials(search):
                mine = sorted((r for r in rows if r.trial == trial.number), key=lambda r: r.number)
                # Attempts are numbered without gaps, at most the last one is live.
                assert [row.number for row in mine] == list(range(len(mine)))
                assert not any(row.live for row in mine)
                # The ledger has every epoch that was trained, each once.
                epochs = [e for f, e in trained if f == folder(study, search, trial.number)]
                assert sum(row.epochs for row in mine) == len(epochs)
                assert sorted(epochs) == list(range(1, len(epochs) + 1))
                # Every epoch was reported, and nothing else was.
                assert sorted(trial.intermediate_values) == sorted(epochs)
            if search.budget is not None:
                assert sum(row.epochs for row in rows) <= search.budget

    return check


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds, for 20 seconds at most."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    return wait
