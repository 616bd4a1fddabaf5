"""Whatever is killed, whenever: no trial is lost or run twice, and the ledger stays exact."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

PAUSING = "digits/bayes/0"
LISTED, RANDOM = "digits/hand/0", "digits/random/0"
TRIAL_EPOCHS = 3
RUNG = 1  # where PAUSING pauses
CONFIGS = 3
PASSWORD = "open-sesame"


class Watch:
    """Looks at the attempts again and again, for what may never be seen."""

    def __init__(self, ledger: Any) -> None:
        self.looks = 0
        self.owned_twice: list[Any] = []
        self._ledger = ledger
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(30)

    def _look(self) -> None:
        while not self._done.wait(0.1):
            rows = self._ledger.attempts()
            live = Counter((row.search, row.trial) for row in rows if row.end is None)
            self.owned_twice += [trial for trial, count in live.items() if count > 1]
            self.looks += 1


class Ordeal:
    """``tuneoff run`` on a small study, again and again."""

    def __init__(
        self, tuneoff: Any, ledger: Any, until: Any, study: list[str], seed: int, budget: int
    ) -> None:
        self.tuneoff = tuneoff
        self.budget = budget
        self.ledger = ledger
        self.running: Any = None
        self._until = until
        self._study = study
        self._random = random.Random(seed)

    def start(self) -> None:
        self.running = self.tuneoff.start("run", *self._study, "--workers", "2")

    def some_way_on(self) -> None:
        """Wait for a random moment, some epochs from now, within an epoch."""
        goal = self.ledger.spent() + self._random.randint(1, 5)
        self._until(
            lambda: self.ledger.spent() >= goal or self.running.process.poll() is not None,
            f"{goal} epochs",
        )
        threading.Event().wait(self._random.uniform(0, 0.3))
        assert self.running.process.poll() is None, self.running.text

    def kill_worker(self) -> None:
        """SIGKILL one worker; the launcher is to start another."""
        workers = self._until(self.running.workers, "a worker")
        with contextlib.suppress(psutil.NoSuchProcess):
            self._random.choice(workers).kill()
        self._until(lambda: "a worker died (signal 9)" in self.running.text, "word of it")

    def kill_parent(self) -> None:
        """SIGKILL the launcher alone; its workers are to notice and leave."""
        self.running.process.kill()
        self.running.wait()
        self.nobody_is_left()
        self.start()

    def kill_all(self) -> None:
        """SIGKILL the launcher and its workers at once, as a power cut does."""
        workers = self.running.workers()
        for process in (self.running.process, *workers):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.running.wait()
        self.nobody_is_left()
        self.start()

    def ask(self, number: int) -> None:
        """SIGTERM or Ctrl-C: workers are drained before the launcher leaves."""
        self.running.signal(number)
        assert self.running.wait() == 128 + number, self.running.text
        assert self.tuneoff.leftovers() == []
        assert [row for row in self.ledger.attempts() if row.end is None] == []
        assert "The same command goes on from here." in self.running.text
        self.start()

    def finish(self) -> None:
        """Let it come to its end."""
        assert self.running.wait(180) == 0, self.running.text
        assert self.tuneoff.leftovers() == []

    def nobody_is_left(self) -> None:
        self._until(lambda: not self.tuneoff.leftovers(), "the end of all workers", 60)


@pytest.fixture
def ordeal(
    make_tuneoff: Callable[..., Any],
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
    digits: Callable[..., list[str]],
) -> Callable[..., Ordeal]:
    """Makes an Ordeal: (storage URL, seed, epochs of each budget) -> Ordeal."""

    def make(url: str, seed: int, budget: int = 12) -> Ordeal:
        # A rate that diverges would end trials early.
        study = digits(
            repeats="1",
            budget__epochs=str(budget),
            space__lr__high="0.3",
            ensemble__members='[{ model = "proxy" }]',
        )
        return Ordeal(make_tuneoff(url), read_ledger(url), until, study, seed, budget)

    return make


def check(ordeal: Ordeal) -> None:
    """What must hold after all."""
    rows, trials = ordeal.ledger.attempts(), ordeal.ledger.trials()
    attempts = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.number):
        attempts[row.search, row.trial].append(row)
    assert set(attempts) == {(trial["search"], trial["number"]) for trial in trials}
    assert len({row.token for row in rows}) == len(rows)
    for trial in trials:
        mine = attempts[trial["search"], trial["number"]]
        assert [row.number for row in mine] == list(range(len(mine)))
        check_end(trial, mine)
        # Every epoch that was reported is in the ledger once: each attempt goes on from where the
        # one before had come to.
        assert [row.from_epoch for row in mine] == [0, *(reached(row) for row in mine[:-1])]
        assert reached(mine[-1]) == trial["epochs"]
        # A trial is taken over as it was left; more is asked of it only after a pause.
        for before, after in pairwise(mine):
            more = after.until_epoch > before.until_epoch
            assert more if before.end == "paused" else after.until_epoch == before.until_epoch
    # None was lost, none is there twice.
    numbers = defaultdict(list)
    for trial in trials:
        numbers[trial["search"]].append(trial["number"])
    assert set(numbers) == {PAUSING, LISTED, RANDOM, "digits/full", "digits/ensemble"}
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert len(numbers["digits/ensemble"]) == 1
    assert len(numbers[LISTED]) == CONFIGS
    assert len(numbers[RANDOM]) == ordeal.budget // TRIAL_EPOCHS
    check_budgets(rows, trials, ordeal.budget)


def check_end(trial: Mapping[str, Any], mine: list[Any]) -> None:
    """Every trial was finished, once, by the last of its attempts, or was left paused."""
    pauses = trial["search"] == PAUSING
    finished, left = ("COMPLETE", "finished", TRIAL_EPOCHS), ("PRUNED", "paused", RUNG)
    end = (trial["state"], mine[-1].end, trial["epochs"])
    assert end in ((finished, left) if pauses else (finished,))
    assert {row.end for row in mine[:-1]} <= {"lost", "released", *(["paused"] if pauses else [])}
    assert all(reached(row) == row.until_epoch == RUNG for row in mine if row.end == "paused")


def check_budgets(rows: list[Any], trials: list[Mapping[str, Any]], budget: int) -> None:
    """No budget is exceeded, and none left over that could have paid for a run."""
    for search in (PAUSING, LISTED, RANDOM):
        left = budget - sum(row.epochs for row in rows if row.search == search)
        assert left >= 0
        if search != LISTED:  # whose list ends before its budget does
            assert left < TRIAL_EPOCHS
        if any(trial["search"] == search and trial["state"] == "PRUNED" for trial in trials):
            assert left < TRIAL_EPOCHS - RUNG


def reached(row: Any) -> int:
    """The epoch to which an attempt brought its trial."""
    epoch: int = row.from_epoch + row.epochs
    return epoch


def outcomes(ledger: Any, search: str) -> list[float]:
    return [trial["value"] for trial in ledger.trials() if trial["search"] == search]


def test_killed_outright(
    sqlite_url: str,
    ordeal: Callable[..., Ordeal],
    finished_once: Any,
    read_ledger: Callable[..., Any],
) -> None:
    run = ordeal(sqlite_url, seed=1)
    with Watch(run.ledger) as watch:
        run.start()
        for step in (run.kill_worker, run.kill_parent, run.kill_worker, run.kill_all):
            run.some_way_on()
            step()
        run.finish()
    assert watch.owned_twice == []
    assert watch.looks > 20
    check(run)
    # What a killed run comes to is, to the last bit, what a run left in peace came to.
    calm = read_ledger(f"sqlite:///{finished_once.folder}/tuneoff.db")
    assert outcomes(run.ledger, "digits/hand/0") == outcomes(calm, "digits/hand/0")


def test_asked_to_leave(sqlite_url: str, ordeal: Callable[..., Ordeal]) -> None:
    run = ordeal(sqlite_url, seed=2, budget=36)  # not done before `tuneoff stop` is heard
    with Watch(run.ledger) as watch:
        run.start()
        run.some_way_on()
        run.ask(signal.SIGINT)
        run.some_way_on()
        run.tuneoff("stop", "digits")
        assert run.running.wait() == 0
        assert "Stopped by `tuneoff stop`" in run.running.text
        assert [row for row in run.ledger.attempts() if row.end is None] == []
        run.start()
        run.finish()
    assert watch.owned_twice == []
    check(run)
    # Nothing was lost, so nothing was trained again.
    assert {row.end for row in run.ledger.attempts()} == {"finished", "paused", "released"}
    assert run.ledger.spent() == sum(trial["epochs"] for trial in run.ledger.trials())


def test_on_postgres(
    postgres_url: str, postgres_server: Any, ordeal: Callable[..., Ordeal]
) -> None:
    """The database goes away, too, and its password is seen by nobody."""
    run = ordeal(postgres_url.replace("postgres@", f"postgres:{PASSWORD}@"), seed=3)
    with Watch(run.ledger) as watch:
        run.start()
        run.some_way_on()
        workers = run.running.workers()
        assert len(workers) == 2
        assert PASSWORD not in str([worker.cmdline() for worker in workers])
        run.ask(signal.SIGTERM)
        run.some_way_on()
        run.kill_worker()
        postgres_server.restart(outage_seconds=6)  # the new worker finds no database
        run.finish()
    assert watch.owned_twice == []
    check(run)
    assert PASSWORD not in run.running.text
    assert "***" in run.running.text
    kept = [file for file in run.tuneoff.work.rglob("*") if file.suffix in (".log", ".html")]
    assert len(kept) >= 3
    assert PASSWORD not in "".join(file.read_text() for file in kept)
