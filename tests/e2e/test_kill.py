"""Whatever is killed, whenever: no trial is lost or run twice, and the ledger stays exact."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

TRIALS = {"digits/bayes/0": 4, "digits/hand/0": 3, "digits/random/0": 4}
TRIAL_EPOCHS = 3
BUDGET = 12
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
            live = Counter((row.group, row.trial) for row in rows if row.end is None)
            self.owned_twice += [trial for trial, count in live.items() if count > 1]
            self.looks += 1


class Ordeal:
    """``tuneoff run`` on a small study, again and again."""

    def __init__(self, tuneoff: Any, ledger: Any, until: Any, study: list[str], seed: int) -> None:
        self.tuneoff = tuneoff
        self.ledger = ledger
        self.kills = 0
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
        self.kills += 1
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
        self.kills += len(workers)
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
) -> Iterator[Callable[..., Ordeal]]:
    """Makes an Ordeal: (storage URL, seed) -> Ordeal, started."""

    def make(url: str, seed: int) -> Ordeal:
        # A rate that diverges would end trials early.
        study = digits(
            repeats="1", space__lr__high="0.3", ensemble__members='[{ model = "proxy" }]'
        )
        return Ordeal(make_tuneoff(url), read_ledger(url), until, study, seed)

    return make


def check(ordeal: Ordeal) -> None:
    """What must hold after all."""
    rows, trials = ordeal.ledger.attempts(), ordeal.ledger.trials()
    attempts = defaultdict(list)
    for row in rows:
        attempts[row.group, row.trial].append(row)
    # Every trial was finished, once, by the last of its attempts.
    assert {trial["state"] for trial in trials} == {"COMPLETE"}
    assert set(attempts) == {(trial["group"], trial["number"]) for trial in trials}
    for mine in attempts.values():
        assert [row.number for row in mine] == list(range(len(mine)))
        assert [row.end for row in mine if row.end in ("finished", "pruned")] == ["finished"]
        assert mine[-1].end == "finished"
        assert {row.end for row in mine[:-1]} <= {"lost", "released"}
    assert len({row.token for row in rows}) == len(rows)
    # None was lost, none is there twice.
    numbers = defaultdict(list)
    for trial in trials:
        numbers[trial["group"]].append(trial["number"])
    for group, count in TRIALS.items():
        assert numbers[group] == list(range(count))
    assert numbers["digits/ensemble"] == [0]
    assert numbers["digits/full"] == list(range(len(numbers["digits/full"])))
    # The ledger: an epoch may be trained again after a kill, and no more than one.
    over = sum(row.epochs for row in rows) - sum(trial["epochs"] for trial in trials)
    assert 0 <= over <= ordeal.kills
    for mine in attempts.values():
        assert sum(row.epochs for row in mine) >= TRIAL_EPOCHS
    for group in TRIALS:
        assert sum(row.epochs for row in rows if row.group == group) <= BUDGET + over


def outcomes(ledger: Any, group: str) -> list[float]:
    return [trial["value"] for trial in ledger.trials() if trial["group"] == group]


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
    run = ordeal(sqlite_url, seed=2)
    with Watch(run.ledger) as watch:
        run.start()
        run.some_way_on()
        run.ask(signal.SIGINT)
        run.some_way_on()
        run.tuneoff("stop", "digits")
        assert run.running.wait() == 0
        assert "Drained by `tuneoff stop`" in run.running.text
        assert [row for row in run.ledger.attempts() if row.end is None] == []
        run.start()
        run.finish()
    assert watch.owned_twice == []
    check(run)
    # Nothing was lost, so nothing was trained again.
    assert {row.end for row in run.ledger.attempts()} == {"finished", "released"}
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
