"""Faults, one by one and at random: each trial is finished once, and the ledger is exact.

Workers are real processes (fleet.py) that kill, stop or signal themselves at named points, so that
each fault happens exactly where it is to happen.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.status import read_status
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import DIVERGED, FAILURE
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.trainer.contract import Task

TASK = Task(
    classes=tuple("0123456789"), sizes={"train": 80, "validation": 20, "test": 0}, digest="d" * 64
)
TRIALS, EPOCHS = 3, 3
WAIT = 120  # seconds, for what takes one on an idle machine
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of "
    "which 1.19 GiB is free."
)
_numbers = itertools.count()

# Kept by the database itself, so that not a moment escapes: a second live attempt at a trial is
# refused, and whatever is told twice is there twice.
ONE_OWNER = """
    CREATE UNIQUE INDEX one_owner ON tuneoff_attempts ("search", trial) WHERE "end" IS NULL
"""
FINISHED = "NEW.state IN ('COMPLETE', 'PRUNED', 'FAIL')"
TOLD = {
    "sqlite": f"""
        CREATE TRIGGER told AFTER UPDATE OF state ON trials WHEN {FINISHED}
        BEGIN INSERT INTO told VALUES (NEW.trial_id); END
    """,
    "postgresql": f"""
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO told VALUES (NEW.trial_id); RETURN NEW; END $$;
        CREATE TRIGGER told AFTER UPDATE OF state ON trials FOR EACH ROW WHEN ({FINISHED})
        EXECUTE FUNCTION told()
    """,
}


def fault(at: str, do: str, nth: int = 1, trial: str = "") -> dict[str, Any]:
    """See fleet.Fault."""
    return {"at": at, "do": do, "nth": nth, "trial": trial}


@dataclass
class Worker:
    """A worker process."""

    pid: int
    log: Path
    code: int | None = None
    faulted: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def wait(self, code: int) -> None:
        """Wait for its end, which must come with this exit code (-9 for SIGKILL)."""
        assert self.ended.wait(WAIT), f"worker {self.pid} never ended:\n{self.log.read_text()}"
        assert self.code == code, f"exit code {self.code}, not {code}:\n{self.log.read_text()}"

    def send(self, number: int) -> None:
        """A signal, unless it has ended."""
        self.faulted |= number != signal.SIGCONT
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Nursery:
    """Forks workers that have everything imported; see fleet.py."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        script = Path(__file__).with_name("fleet.py")
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=root,
            env={**environment, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # out of Ctrl-C's reach
        )
        self._born: list[int] = []
        self._codes: dict[int, int] = {}
        self._workers: dict[int, Worker] = {}
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            with self._news:
                if "born" in news:
                    self._born.append(news["born"])
                else:
                    worker = self._workers.pop(news["died"])
                    worker.code = news["code"]
                    worker.ended.set()
                self._news.notify_all()

    def fork(self, order: Mapping[str, Any], log: Path) -> Worker:
        assert self._process.stdin is not None
        with self._news:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            assert self._news.wait_for(lambda: self._born, WAIT), "the nursery is gone"
            worker = Worker(self._born.pop(), log)
            self._workers[worker.pid] = worker
        return worker

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def nursery(environment: dict[str, str]) -> Iterator[Nursery]:
    """The parent of all workers; none outlives it."""
    nursery = Nursery(environment)
    yield nursery
    nursery.close()


class Ordeal:
    """A small study, its workers, and what all of them wrote."""

    def __init__(self, nursery: Nursery, url: str, folder: Path, values: Mapping[str, Any]) -> None:
        self.url, self.values, self.folder = url, dict(values), folder
        self.workers: list[Worker] = []
        self._nursery = nursery
        self._database: Database | None = None
        folder.mkdir()

    def create(self) -> Study:
        """The study, made or opened by this process."""
        if self._database is None:
            self._database = open_database(self.url, create=True, patience=60)
        spec = StudySpec.parse(self.values, "test")
        return create_study(self._database, spec, TASK, self.folder / "work")

    @property
    def study(self) -> Study:
        """The study as it is stored."""
        if self._database is None:
            self._database = open_database(self.url, patience=60)
        self._database.close()  # connections from before a restart
        return open_study(self._database, self.values["name"], self.folder / "work")

    def start(self, *faults: dict[str, Any], **order: Any) -> Worker:
        """Start a worker that these faults befall; see fleet.Order."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        fixed = {"url": self.url, "name": self.values["name"], "work": str(self.folder / "work")}
        files = {"diary": str(self.folder / "diary"), "log": str(log)}
        log.touch()
        worker = self._nursery.fork({**fixed, **files, "faults": faults, **order}, log)
        worker.faulted = bool(faults)
        self.workers.append(worker)
        return worker

    def finish(self, count: int = 2, **order: Any) -> None:
        """Run workers, undisturbed, to the end of the study."""
        for worker in [self.start(**order) for _ in range(count)]:
            worker.wait(0)

    def supervise(self, count: int, *faults: dict[str, Any]) -> None:
        """Run workers to the end of the study; one that fails is replaced, as `launch` does."""
        running = [self.start(*faults) for _ in range(count)]
        while running:
            worker = running.pop(0)
            assert worker.ended.wait(WAIT), worker.log.read_text()
            if worker.code != 0:
                assert worker.code == 1, worker.log.read_text()
                assert len(self.workers) < 20, worker.log.read_text()
                running.append(self.start(*faults))

    def diary(self, what: str = "") -> list[dict[str, Any]]:
        """What the workers did, in order; of one kind or all."""
        file = self.folder / "diary"
        lines = file.read_text().splitlines() if file.exists() else []
        return [entry for entry in map(json.loads, lines) if what in ("", entry["what"])]

    def wait_for(self, what: str, count: int = 1) -> None:
        """Wait until the diary has so many entries of a kind."""
        deadline = time.monotonic() + WAIT
        while len(self.diary(what)) < count:
            assert time.monotonic() < deadline, f"never came: {count} times {what}"
            time.sleep(0.02)

    def rows(self) -> list[attempts.Attempt]:
        """The attempts, oldest first."""
        study = self.study
        return attempts.read(study.database, [search.name for search in study.arms])

    def stored(self) -> list[Any]:
        """All that the database has of the study and all that its folder has, to be compared."""
        study = self.study
        rows = [(*(getattr(r, n) for n in r.__slots__ if n != "idle"),) for r in self.rows()]
        trials = [t for search in study.arms for t in study.trials(search)]
        files = sorted(str(path) for path in study.folder.rglob("*"))
        return [rows, trials, files, self.diary("trained")]

    def close(self) -> None:
        """End its workers."""
        for worker in self.workers:
            if not worker.ended.is_set():
                worker.send(signal.SIGKILL)
                worker.ended.wait(30)
        if self._database is not None:
            self._database.close()

    # What must hold after all

    def check(self, faults: int, epochs: int | None = TRIALS * EPOCHS, again: int = 0) -> None:
        """Every trial was finished once, the ledger is exact, and nothing was trained in vain.

        Args:
            faults: how many there were; each may cost the epoch that was under way.
            epochs: what the study takes without any; None: that depends.
            again: epochs that are in the ledger twice, because their checkpoint was damaged.
        """
        study, rows = self.study, self.rows()
        for worker in self.workers:
            assert "IntegrityError" not in worker.log.read_text()  # ONE_OWNER refused somebody
        trained: dict[str, list[int]] = defaultdict(list)
        for entry in self.diary("trained"):
            trained[entry["trial"]].append(entry["epoch"])
        total = 0
        for search in study.arms:
            trials = study.trials(search)
            assert [t.number for t in trials] == list(range(len(trials)))
            for trial in trials:
                mine = [r for r in rows if (r.search, r.trial) == (search.name, trial.number)]
                key = f"{search.arm}/{search.repeat}/{trial.number:05d}"
                check_trial(trial, mine, again)
                done = sorted(set(trained[key]))
                assert done == list(range(1, len(done) + 1))
                assert sorted(trial.intermediate_values) == done
                self.check_owners(key, mine)
                total += len(done)
            spent = sum(row.epochs for row in rows if row.search == search.name)
            assert search.budget is not None
            assert spent <= search.budget
        assert epochs is None or total == epochs
        assert sum(row.epochs for row in rows) == total + again
        # A machine that lets a worker stand still past the grace period is a fault, too.
        faulted = {f"/{w.pid}" for w in self.workers if w.faulted}
        stalled = [r for r in rows if r.end == "lost" and not r.worker.endswith((*faulted,))]
        assert len(self.diary("begins")) - total <= faults + len(stalled)
        assert len(self.diary("trained")) - total <= faults + len(stalled)
        self.check_told(study)
        # What is told needs no checkpoint any more.
        assert [path for path in study.folder.rglob("*") if path.is_file()] == []

    def check_owners(self, key: str, mine: Sequence[attempts.Attempt]) -> None:
        """Processes trained a trial one after another, each within its own attempts."""
        entries = [e for e in self.diary("trained") if e["trial"] == key]
        owners = iter([int(row.worker.rpartition("/")[2]) for row in mine])
        for pid, _ in groupby(entries, key=lambda entry: entry["pid"]):
            assert pid in owners, f"{key}: {pid} trained it when it was another's"

    def check_told(self, study: Study) -> None:
        with study.database.engine.connect() as connection:
            told = Counter(connection.scalars(sa.text("SELECT trial_id FROM told")))
        for search in study.arms:
            for trial in study.trials(search):
                assert told[study.trial_id(search, trial.number)] == 1


def check_trial(trial: Any, mine: Sequence[attempts.Attempt], again: int) -> None:
    """A trial was finished by the last of its attempts, and each went on where it was left."""
    assert trial.state.is_finished()
    assert not any(row.live for row in mine)
    assert [row.number for row in mine] == list(range(len(mine)))
    assert len({row.token for row in mine}) == len(mine)
    lost = [a.reached - b.from_epoch for a, b in pairwise(mine)]
    assert sum(lost) in (0, again)
    assert min(lost, default=0) >= 0
    assert mine[0].from_epoch == 0
    assert mine[-1].reached == max(trial.intermediate_values, default=0)
    ends = {
        TrialState.COMPLETE: ("finished",),
        TrialState.PRUNED: ("pruned", "paused"),
        TrialState.FAIL: ("failed", "lost"),
    }
    assert mine[-1].end in ends[trial.state]
    left = {"lost", "released", "failed", "paused"}
    assert {row.end for row in mine[:-1]} <= left


def install(url: str) -> None:
    """Have a database watch over itself."""
    database = open_database(url, create=True, patience=60)
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE told (trial_id INTEGER)"))
        connection.execute(sa.text(ONE_OWNER))
        connection.execute(sa.text(TOLD[connection.dialect.name]))
    database.close()


@pytest.fixture(scope="module")
def sqlite_arena(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A watchful database for many studies, on SQLite."""
    url = f"sqlite:///{tmp_path_factory.mktemp('arena') / 'tuneoff.db'}"
    install(url)
    return url


@pytest.fixture(scope="module")
def postgres_arena(postgres_server: Any) -> Iterator[str]:
    """A watchful database for many studies, on Postgres."""
    postgres_server.start()
    name = postgres_server.create_database()
    install(postgres_server.url(name))
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres"])
def arena(request: pytest.FixtureRequest) -> str:
    """A watchful database for many studies, on SQLite and on Postgres."""
    if request.param == "postgres":
        request.getfixturevalue("postgres_server").start()
    url: str = request.getfixturevalue(f"{request.param}_arena")
    return url


@pytest.fixture
def make_ordeal(nursery: Nursery, tmp_path: Path) -> Iterator[Callable[..., Ordeal]]:
    """Makes a small study: (URL, grace=..., attempts=..., changes to the study file) -> Ordeal."""
    made: list[Ordeal] = []

    def make(
        url: str, *, grace: float = 60, attempts: int = 5, create: bool = True, **changes: Any
    ) -> Ordeal:
        values: dict[str, Any] = {
            "name": f"ordeal-{next(_numbers)}",
            "repeats": 1,
            "data": {"name": "digits"},
            "trial": {"epochs": EPOCHS},
            "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
            "budget": {"epochs": TRIALS * EPOCHS},
            "arms": {"random": {"sampler": "random"}},
            "workers": {"grace_seconds": grace, "max_attempts": attempts},
        }
        ordeal = Ordeal(nursery, url, tmp_path / values["name"], values | changes)
        made.append(ordeal)
        if create:
            ordeal.create()
        return ordeal

    yield make
    for ordeal in made:
        ordeal.close()


# 1, 2: Killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "nth"),
    [
        ("after claim", 1),  # between asking and the first report
        ("before epoch", 1),
        ("in epoch", 4),
        ("before checkpoint", 2),
        ("in checkpoint", 2),
        ("after checkpoint", 2),
        ("after progress", 2),
        ("after report", 3),  # between the last report and telling
        ("after tell", 1),
        ("after close", 1),
    ],
)
def test_killed_in_a_trial(
    arena: str, make_ordeal: Callable[..., Ordeal], at: str, nth: int
) -> None:
    ordeal = make_ordeal(arena)
    ordeal.start(fault(at, "KILL", nth)).wait(-signal.SIGKILL)
    ordeal.finish()
    ordeal.check(faults=1)


def test_all_are_killed_at_once(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(arena, budget={"epochs": 12 * EPOCHS}, attempts=20)
    for round_ in range(3):
        workers = [ordeal.start(epoch_seconds=0.1) for _ in range(4)]
        ordeal.wait_for("trained", 4 * (round_ + 1))
        for worker in workers:
            worker.send(signal.SIGKILL)
        for worker in workers:
            worker.wait(-signal.SIGKILL)
    ordeal.finish(4)
    ordeal.check(faults=3 * 4, epochs=12 * EPOCHS)


def test_a_machine_is_gone(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    """Nobody can see that its process is dead: the grace period has to pass."""
    ordeal = make_ordeal(arena, grace=3)
    ordeal.start(fault("in epoch", "KILL", 4), elsewhere=True).wait(-signal.SIGKILL)
    ordeal.finish()
    ordeal.check(faults=1)
    assert [row.end for row in ordeal.rows()].count("lost") == 1


# 3: Asked to leave


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TERM", "INT", "USR1"])
def test_asked_to_leave(arena: str, make_ordeal: Callable[..., Ordeal], name: str) -> None:
    ordeal = make_ordeal(arena)
    number = signal.Signals[f"SIG{name}"]
    ordeal.start(fault("in epoch", name, 3)).wait(128 + number)
    (left,) = ordeal.rows()
    assert (left.end, left.from_epoch, left.epochs) == ("released", 0, 1)
    ordeal.finish()
    ordeal.check(faults=0)  # not even the epoch that was under way was lost
    assert len(ordeal.diary("goes on")) == 1


def test_told_twice_to_leave(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(arena)
    ordeal.start(fault("in epoch", "INT TERM", 3)).wait(128 + signal.SIGTERM)
    assert [row.live for row in ordeal.rows()] == [True]
    ordeal.finish()
    ordeal.check(faults=1)


PAUSING = {
    "trial": {"epochs": 4},
    "budget": {"epochs": 16},
    "arms": {"model": {"sampler": "curve-gp", "startup": 3, "min_epochs": 1}},
}


@pytest.mark.parametrize(
    ("at", "do", "nth"),
    [
        ("before record", "KILL", 1),  # while it pauses
        ("before close", "KILL", 1),
        ("after close", "KILL", 1),
        ("after resuming claim", "KILL", 1),  # while it resumes
        ("after resumed_from", "KILL", 4),
        ("before epoch", "KILL", 4),
        ("in epoch", "TERM", 7),
    ],
)
def test_paused_and_resumed(
    arena: str, make_ordeal: Callable[..., Ordeal], at: str, do: str, nth: int
) -> None:
    ordeal = make_ordeal(arena, **PAUSING)
    code = -signal.SIGKILL if do == "KILL" else 128 + signal.SIGTERM
    ordeal.start(fault(at, do, nth)).wait(code)
    ordeal.finish()
    ordeal.check(faults=int(do == "KILL"), epochs=None)
    rows = ordeal.rows()
    assert "paused" in {row.end for row in rows}
    assert 16 - 4 < sum(row.epochs for row in rows) <= 16


# 4: Stopped past the grace period, and back


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "nth"),
    [
        ("before epoch", 1),
        ("in epoch", 4),
        ("in checkpoint", 2),
        ("after progress", 2),
        ("before report", 2),
        ("before record", 1),
    ],
)
def test_a_worker_that_comes_back_writes_nothing(
    arena: str, make_ordeal: Callable[..., Ordeal], at: str, nth: int
) -> None:
    ordeal = make_ordeal(arena, grace=2)
    stopped = ordeal.start(fault(at, "STOP", nth))
    ordeal.wait_for("fault")
    ordeal.finish()
    ordeal.check(faults=1)
    before = ordeal.stored()
    stopped.send(signal.SIGCONT)
    stopped.wait(0)
    assert ordeal.stored() == before
    ordeal.check(faults=1)
    assert [row.end for row in ordeal.rows()].count("lost") == 1
    assert "was taken over; leaving it" in stopped.log.read_text()


def test_a_worker_comes_back_while_its_trial_is_trained(
    arena: str, make_ordeal: Callable[..., Ordeal]
) -> None:
    ordeal = make_ordeal(arena, grace=2, trial={"epochs": 40}, budget={"epochs": 40})
    stopped = ordeal.start(fault("in epoch", "STOP", 4), epoch_seconds=0.1)
    ordeal.wait_for("fault")
    second = ordeal.start(epoch_seconds=0.1)
    ordeal.wait_for("trained", 6)
    stopped.send(signal.SIGCONT)
    second.wait(0)
    stopped.wait(0)
    ordeal.check(faults=1, epochs=40)


# 5: The database goes away


@pytest.mark.slow
@pytest.mark.parametrize(("outage", "mode"), [(0, "fast"), (5, "immediate"), (30, "fast")])
def test_postgres_is_restarted(
    postgres_arena: str,
    postgres_server: Any,
    make_ordeal: Callable[..., Ordeal],
    outage: int,
    mode: str,
) -> None:
    """Down for longer than the grace period, too: nobody may be called lost for that."""
    postgres_server.start()
    grace = 27 if outage == 30 else 60
    ordeal = make_ordeal(postgres_arena, grace=grace, budget={"epochs": 24 * EPOCHS})
    workers = [ordeal.start(epoch_seconds=0.2) for _ in range(4)]
    ordeal.wait_for("trained", 8)
    postgres_server.restart(outage_seconds=outage, mode=mode)
    for worker in workers:
        worker.wait(0)
    ordeal.check(faults=0, epochs=24 * EPOCHS)
    assert {row.end for row in ordeal.rows()} == {"finished"}


def test_every_connection_is_ended(
    postgres_arena: str, postgres_server: Any, make_ordeal: Callable[..., Ordeal]
) -> None:
    postgres_server.start()
    ordeal = make_ordeal(postgres_arena, grace=10, budget={"epochs": 24 * EPOCHS})
    workers = [ordeal.start() for _ in range(4)]
    for round_ in range(12):
        ordeal.wait_for("trained", 5 * (round_ + 1))
        postgres_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    for worker in workers:
        worker.wait(0)
    # An insertion whose answer was lost stands, and is called lost after the grace period.
    ordeal.check(faults=0, epochs=24 * EPOCHS)


def test_sessions_are_ended_at_random(
    postgres_arena: str, postgres_server: Any, make_ordeal: Callable[..., Ordeal]
) -> None:
    """One after another for a minute, of workers that train and of workers that start."""
    postgres_server.start()
    rounds = int(os.environ.get("TERMINATION_ROUNDS", "1"))
    epochs = 12 * EPOCHS * rounds
    ordeal = make_ordeal(
        postgres_arena,
        grace=10,
        budget={"epochs": epochs},
        arms={"random": {"sampler": "random"}, "tpe": {"sampler": "tpe", "startup": 4}},
    )
    chance, ended = random.Random(0), 0
    workers = [ordeal.start() for _ in range(6)]
    began = time.monotonic()
    while not all(worker.ended.is_set() for worker in workers):
        assert time.monotonic() < began + (60 + WAIT) * rounds, "it does not end"
        time.sleep(chance.uniform(0.02, 0.3))
        if time.monotonic() > began + 60 * rounds:
            continue  # a slow machine cannot reconnect as often as this
        ended += len(
            postgres_server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
                " pid <> pg_backend_pid() AND backend_type = 'client backend'"
                f" ORDER BY hashint4(pid + {chance.randrange(10**6)}) LIMIT 1"
            )
        )
        if chance.random() < 0.1 and sum(not w.ended.is_set() for w in workers) < 8:
            workers.append(ordeal.start())
    for worker in workers:
        worker.wait(0)
    assert ended > 20
    ordeal.check(faults=0, epochs=2 * epochs)
    print(f"{ended} sessions ended, {len(workers)} workers, {time.monotonic() - began:.0f} s")


# The network between workers and Postgres


def test_a_bad_network(
    postgres_arena: str, bad_network: Any, make_ordeal: Callable[..., Ordeal]
) -> None:
    """Answers are late, some are lost on the way, connections break, and nothing gets through."""
    name = sa.make_url(postgres_arena).database
    ordeal = make_ordeal(postgres_arena, grace=60, budget={"epochs": 8 * EPOCHS})
    ordeal.url = f"postgresql://postgres@127.0.0.1:{bad_network.port}/{name}"
    weather = bad_network.weather
    weather.delay, weather.loss, weather.reset = 0.01, 0.01, 0.003
    workers = [ordeal.start() for _ in range(3)]
    for count in (4, 12):
        ordeal.wait_for("trained", count)
        bad_network.cut()
        time.sleep(3)
        bad_network.mend()
    for worker in workers:
        worker.wait(0)
    assert bad_network.resets > 0
    ordeal.url = postgres_arena
    ordeal.check(faults=0, epochs=8 * EPOCHS)


def test_a_worker_that_is_cut_off_loses_its_trial(
    postgres_arena: str, bad_network: Any, make_ordeal: Callable[..., Ordeal]
) -> None:
    """Another one goes on with it, and what the first one says later is not heard."""
    name = sa.make_url(postgres_arena).database
    ordeal = make_ordeal(postgres_arena, grace=2)
    through = f"postgresql://postgres@127.0.0.1:{bad_network.port}/{name}"
    lonely = ordeal.start(url=through, elsewhere=True)
    lonely.faulted = True
    ordeal.wait_for("trained", 1)
    bad_network.cut()
    ordeal.finish(elsewhere=True)
    bad_network.mend()
    lonely.wait(0)
    ordeal.check(faults=1)


# 6: Sixteen at once


def test_sixteen_on_an_empty_database(storage_url: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(storage_url, create=False, budget={"epochs": 8 * EPOCHS})
    workers = [ordeal.start(spec=ordeal.values) for _ in range(16)]
    for worker in workers:
        worker.wait(0)
    with ordeal.study.database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE told AS SELECT trial_id FROM trials"))
    ordeal.check(faults=0, epochs=8 * EPOCHS)


@pytest.mark.slow
def test_sixteen_on_a_hundred_waiting_trials(
    arena: str, make_ordeal: Callable[..., Ordeal]
) -> None:
    ordeal = make_ordeal(arena, trial={"epochs": 1}, budget={"epochs": 100})
    study = ordeal.study
    for i in range(100):
        job = NewTrial({"lr": 1e-3 * (i + 1)}, 1)
        add_trial(study, study.arms[0], TrialState.WAITING, job)
    ordeal.finish(16)
    ordeal.check(faults=0, epochs=100)
    assert len(ordeal.rows()) == 100
    rates = [trial.params["lr"] for trial in ordeal.study.trials(study.arms[0])]
    assert rates == [1e-3 * (i + 1) for i in range(100)]


# 7: A trainer that hangs or raises


def failed_for_good(ordeal: Ordeal) -> str:
    """Trial 1 was told FAIL, the others came to their ends; the reason."""
    ordeal.check(faults=3)
    (search,) = ordeal.study.arms
    good, bad, *others = ordeal.study.trials(search)
    assert bad.state == TrialState.FAIL
    assert {trial.state for trial in (good, *others)} == {TrialState.COMPLETE}
    assert len([row for row in ordeal.rows() if row.trial == 1]) == 3
    reason: str = FAILURE.of(bad)
    assert read_status(ordeal.study).failures == (f"{search.name}#1: {reason}",)
    return reason


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_a_trainer_that_hangs(arena: str, make_ordeal: Callable[..., Ordeal], count: int) -> None:
    """Its worker leaves when the grace period is over, so that even a lone one gets on."""
    ordeal = make_ordeal(arena, grace=2, attempts=3)
    ordeal.supervise(count, fault("in epoch", "hang", nth=0, trial="00001"))
    reason = failed_for_good(ordeal)
    assert reason.startswith("3 attempts failed; ")
    if count == 1:
        assert reason == "3 attempts failed; the last: the trainer hung: no batch ended in 2 s"
    hung = [worker for worker in ordeal.workers if worker.code == 1]
    assert len(hung) == 3
    assert all("the trainer hung" in worker.log.read_text() for worker in hung)


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("raise", "ValueError: odd shape"),
        ("out of memory", f"RuntimeError: {OUT_OF_MEMORY}"),
    ],
)
def test_a_trainer_that_always_raises(
    arena: str, make_ordeal: Callable[..., Ordeal], do: str, reason: str
) -> None:
    ordeal = make_ordeal(arena, attempts=3)
    ordeal.supervise(2, fault("in epoch", do, nth=0, trial="00001"))
    assert failed_for_good(ordeal) == f"3 attempts failed; the last: {reason}"


@pytest.mark.slow
def test_a_sick_worker_beside_a_healthy_one(
    arena: str, make_ordeal: Callable[..., Ordeal], make_tuneoff: Callable[..., Any]
) -> None:
    """Every attempt on it fails: no trial is lost to it, and it is named."""
    ordeal = make_ordeal(arena, attempts=3)
    healthy = ordeal.start(epoch_seconds=2.0)
    ordeal.wait_for("trained")
    sick = ordeal.start(fault("in epoch", "out of memory", nth=0))
    healthy.wait(0)
    assert sick.ended.wait(WAIT)
    (search,) = ordeal.study.arms
    trials = ordeal.study.trials(search)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len(trials) == TRIALS
    failed = [row for row in ordeal.rows() if row.end == "failed"]
    assert len({row.trial for row in failed}) == len(failed) >= 2
    assert {row.worker.rpartition("/")[2] for row in failed} == {str(sick.pid)}
    said = make_tuneoff(arena)("status", ordeal.values["name"]).text
    line = (
        f"{failed[0].worker} (cpu): {len(failed)} attempts at {len(failed)} trials in a row failed"
    )
    assert line in " ".join(said.split())


@pytest.mark.slow
def test_people_see_why_a_trial_failed(
    sqlite_arena: str,
    make_ordeal: Callable[..., Ordeal],
    make_tuneoff: Callable[..., Any],
) -> None:
    ordeal = make_ordeal(sqlite_arena, attempts=1)
    ordeal.supervise(1, fault("in epoch", "out of memory", nth=0, trial="00000"))
    ordeal.check(faults=1)
    name = ordeal.values["name"]
    said = make_tuneoff(sqlite_arena)("status", name).text
    line = f"failed {name}/random/0#0: 1 attempt failed; the last: RuntimeError: {OUT_OF_MEMORY}"
    assert line in " ".join(said.split())


@pytest.mark.slow
def test_status_sees_that_a_worker_is_lost(
    arena: str,
    make_ordeal: Callable[..., Ordeal],
    make_tuneoff: Callable[..., Any],
) -> None:
    """Though no other worker is there."""
    ordeal = make_ordeal(arena)
    ordeal.start(fault("in epoch", "KILL", 4)).wait(-signal.SIGKILL)
    assert [row.live for row in ordeal.rows()] == [True]
    status = json.loads(make_tuneoff(arena)("status", ordeal.values["name"], "--json").text)
    assert status["busy"] == []
    assert status["arms"][0]["lost"] == 1
    assert [row.end for row in ordeal.rows()] == ["lost"]
    ordeal.finish()
    ordeal.check(faults=1)


def test_a_trainer_that_raises_once(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(arena)
    ordeal.start(fault("in epoch", "out of memory", 4)).wait(0)
    ordeal.check(faults=1)
    assert [row.end for row in ordeal.rows()].count("failed") == 1


# 8: Diverged


def test_a_run_that_diverges(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(arena)
    ordeal.start(fault("in epoch", "diverge", 3)).wait(0)
    ordeal.check(faults=0, epochs=2 + 2 * EPOCHS)  # what is left does not pay for another
    first, *others = ordeal.study.trials(ordeal.study.arms[0])
    assert first.state == TrialState.COMPLETE
    assert first.value == pytest.approx(0.9)
    assert first.user_attrs == DIVERGED.entry(2)
    assert len(others) == 2
    assert {row.end for row in ordeal.rows()} == {"finished"}


# 9: The disk


def test_no_space_for_a_checkpoint(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(arena)
    worker = ordeal.start(fault("before checkpoint", "disk full", 2), torch=True)
    worker.wait(1)
    assert "no space for a checkpoint" in worker.log.read_text()
    (left,) = ordeal.rows()
    assert (left.end, left.epochs) == ("released", 1)
    ordeal.finish(torch=True)
    ordeal.check(faults=1)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def corrupt(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(100) + content[300:])


def swap(path: Path) -> None:
    """The whole checkpoint of another run, under the same name."""
    from dataclasses import replace

    from tuneoff.trainer import checkpoint

    found = checkpoint.load_newest(path.parent, {})
    assert found is not None
    checkpoint.save(path.parent, replace(found, run={"run": "another"}))


@pytest.mark.parametrize("damage", [cut, corrupt, swap])
def test_a_damaged_checkpoint(
    arena: str, make_ordeal: Callable[..., Ordeal], damage: Callable[[Path], None]
) -> None:
    """The one before it is used; what it had, and the ledger has too, is trained again."""
    ordeal = make_ordeal(arena)
    ordeal.start(fault("after progress", "KILL", 2), torch=True).wait(-signal.SIGKILL)
    *_, newest = sorted(ordeal.study.folder.rglob("*.ckpt"))
    assert newest.name.startswith("000002-")
    damage(newest)
    ordeal.finish(torch=True)
    ordeal.check(faults=1, epochs=2 * EPOCHS, again=1)


# 10: Clocks


@pytest.mark.slow
def test_clocks_are_wrong(arena: str, make_ordeal: Callable[..., Ordeal]) -> None:
    ordeal = make_ordeal(arena, grace=30, budget={"epochs": 16 * EPOCHS})
    skews = ({"skew": 3600.0}, {"skew": -3600.0}, {"zone": "EAST-13"}, {"zone": "WEST+11"})
    doomed = ordeal.start(fault("in epoch", "KILL", 5), skew=-3600.0, zone="EAST-13")
    workers = [ordeal.start(epoch_seconds=0.2, **skew) for skew in skews]
    doomed.wait(-signal.SIGKILL)
    for worker in workers:
        worker.wait(0)
    ordeal.check(faults=1, epochs=16 * EPOCHS)
    assert [row.end for row in ordeal.rows()].count("lost") == 1


# 11: Killed while taking over


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [5, 1], ids=["taken over", "given up"])
def test_killed_at_every_step_of_reclaiming(
    arena: str, make_ordeal: Callable[..., Ordeal], allowed: int
) -> None:
    for nth in itertools.count(1):
        ordeal = make_ordeal(arena, attempts=allowed)
        ordeal.start(fault("in epoch", "KILL", 4)).wait(-signal.SIGKILL)
        second = ordeal.start(fault("claim write", "KILL", nth))
        assert second.ended.wait(WAIT)
        ordeal.finish()
        ordeal.check(faults=2, epochs=TRIALS * EPOCHS if allowed == 5 else None)
        (search,) = ordeal.study.arms
        failed = [t for t in ordeal.study.trials(search) if t.state == TrialState.FAIL]
        assert (failed != []) == (allowed == 1)
        assert all("no sign of life" in FAILURE.of(trial) for trial in failed)
        if second.code == 0:
            break
    assert nth > 4


# At random


GRACE = 2.5


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(int(os.environ.get("FAULT_ROUNDS", "3"))))
def test_at_random(
    request: pytest.FixtureRequest, make_ordeal: Callable[..., Ordeal], round_: int
) -> None:
    """Forty short trials, four workers and a sick one, a dozen faults; FAULT_ROUNDS: how often."""
    arena = request.getfixturevalue(("sqlite_arena", "postgres_arena")[round_ % 2])
    chance = random.Random(round_)
    ordeal = make_ordeal(
        arena,
        grace=GRACE,
        attempts=50,
        trial={"epochs": 2},
        budget={"epochs": 40},
        arms={
            "random": {"sampler": "random"},
            "model": {"sampler": "curve-gp", "startup": 6, "min_epochs": 1},
        },
    )
    workers = [ordeal.start(epoch_seconds=0.1) for _ in range(4)]
    # On a fifth one every attempt fails.
    sick = ordeal.start(fault("in epoch", "out of memory", nth=0), epoch_seconds=0.1)
    sleepers: dict[int, tuple[float, Worker]] = {}  # when to wake whom
    # A newborn that has not come to listen yet dies of any signal.
    codes = {-signal.SIGKILL, *(128 + n for n in ASKING), *(-n for n in ASKING)}
    faults, restarts = 0, 2 * (round_ % 2)
    deadline = time.monotonic() + WAIT
    while workers:
        assert time.monotonic() < deadline, "the study does not come to its end"
        time.sleep(chance.uniform(0.05, 0.4))
        for moment, worker in list(sleepers.values()):
            if time.monotonic() >= moment:
                worker.send(signal.SIGCONT)
                del sleepers[worker.pid]
        for worker in [w for w in workers if w.ended.is_set()]:
            workers.remove(worker)
            if worker.code != 0:
                assert worker.code in codes, f"{worker.code}: {worker.log.read_text()}"
                workers.append(ordeal.start(epoch_seconds=0.1))
                if restarts:  # it starts while the database does
                    restarts -= 1
                    server = request.getfixturevalue("postgres_server")
                    server.restart(chance.uniform(0, 0.5), chance.choice(("fast", "immediate")))
        if workers and faults < 12:
            worker = chance.choice(workers)
            number = chance.choice([signal.SIGKILL] * 3 + [signal.SIGSTOP] * 2 + list(ASKING))
            worker.send(number)
            faults += 1
            if number == signal.SIGSTOP:
                moment = time.monotonic() + chance.uniform(0, 1.6 * GRACE)
                sleepers[worker.pid] = moment, worker
    assert sick.ended.wait(WAIT)
    assert sick.code in (0, 1), sick.log.read_text()
    rows = ordeal.rows()
    failed = sum(row.end == "failed" for row in rows)
    ordeal.check(faults=faults + failed, epochs=None)
    assert not any(
        t.state == TrialState.FAIL for s in ordeal.study.arms for t in ordeal.study.trials(s)
    )
    spent = {
        search.arm: sum(row.epochs for row in rows if row.search == search.name)
        for search in ordeal.study.arms
    }
    assert spent["random"] == 40
    assert spent["model"] in (39, 40)
