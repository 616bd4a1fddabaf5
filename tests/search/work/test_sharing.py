"""How workers are spread over searches, and that their number changes nothing that is tried."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.study import Search, Study
from tuneoff.search.work.claim import Claim, Nothing, claim
from tuneoff.search.work.sharing import in_order
from tuneoff.search.work.worker import work

TPE = {"model": {"sampler": "tpe", "startup": 1}}


def named(me: Worker, number: int) -> Worker:
    return replace(me, name=f"here/{number}")


def finish(study: Study, claimed: Claim) -> None:
    for epoch in (1, 2, 3):
        attempts.progress(study.database, claimed.attempt, epoch, float(epoch))
        claimed.trial.report(epoch, 1 / epoch)
    attempts.close(study.database, claimed.attempt, "paused")


def claims(study: Study, search: Search, *workers: Worker) -> list[bool]:
    """Does each of them, in this order, get a trial of this search?"""
    return [isinstance(claim(study, search, worker), Claim) for worker in workers]


class TestRoom:
    @pytest.mark.slow
    def test_there_is_one_worker_a_search_while_there_is_a_search_for_each(
        self, database: Any, make_study: Any, me: Any
    ) -> None:
        study = make_study(database, arms=TPE, repeats=2)
        first, second = study.arms
        one, two, three = (named(me, i) for i in range(3))
        mine = claim(study, first, one)
        assert isinstance(mine, Claim)
        assert claim(study, first, two) is Nothing.WAIT
        assert claims(study, second, two) == [True]
        # Three workers and two searches: one of these has two.
        assert claims(study, first, three) == [True]

    @pytest.mark.slow
    def test_it_is_free_when_its_worker_has_ended_a_run(
        self, database: Any, make_study: Any, me: Any
    ) -> None:
        study = make_study(database, arms=TPE, repeats=2)
        search = study.arms[0]
        mine = claim(study, search, named(me, 0))
        assert isinstance(mine, Claim)
        assert claims(study, search, named(me, 1)) == [False]
        finish(study, mine)
        assert claims(study, search, named(me, 1), named(me, 0)) == [True, False]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "arm",
        [
            {"sampler": "random"},
            {"sampler": "quasi-random"},
            {"sampler": "grid"},
            {"configs": [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]},
        ],
    )
    def test_what_learns_nothing_is_shared(
        self, sqlite_database: Any, make_study: Any, me: Any, arm: Any
    ) -> None:
        study = make_study(sqlite_database, arms={"arm": arm}, repeats=2)
        workers = [named(me, i) for i in range(2)]
        assert claims(study, study.arms[0], *workers) == [True, True]

    @pytest.mark.parametrize("pruner", ["median", "hyperband", "successive-halving"])
    def test_what_a_pruner_learns_from_is_not(
        self, sqlite_database: Any, make_study: Any, me: Any, pruner: str
    ) -> None:
        arm = {"sampler": "random", "pruner": pruner}
        study = make_study(sqlite_database, arms={"arm": arm}, repeats=2)
        workers = [named(me, i) for i in range(2)]
        assert claims(study, study.arms[0], *workers) == [True, False]

    def test_the_file_may_allow_more_or_fewer(
        self, sqlite_database: Any, make_study: Any, me: Any
    ) -> None:
        workers = [named(me, i) for i in range(3)]
        for per_search, expected in ((2, [True, True, False]), (1, [True, False, False])):
            study = make_study(
                sqlite_database, arms=TPE, repeats=1, workers={"per_search": per_search}
            )
            assert claims(study, study.arms[0], *workers) == expected

    @pytest.mark.slow
    def test_a_lost_trial_is_taken_over(
        self, database: Any, make_study: Any, me: Any, doomed: Any
    ) -> None:
        study = make_study(database, arms=TPE, repeats=3)
        search = study.arms[0]
        lost = claim(study, search, doomed)
        assert isinstance(lost, Claim)
        found = claim(study, search, named(me, 0))
        assert isinstance(found, Claim)
        assert (found.trial.number, found.attempt.number) == (lost.trial.number, 1)
        assert claims(study, search, named(me, 1)) == [False]

    @pytest.mark.slow
    def test_of_several_that_ask_at_once_one_comes_in(
        self, database: Any, reopen: Any, make_study: Any, me: Any
    ) -> None:
        study = make_study(database, arms=TPE, repeats=4)
        opened = [replace(study, database=reopen(database)) for _ in range(4)]
        together = Barrier(4)

        def ask(number: int) -> Any:
            try:
                together.wait()
                return claim(opened[number], study.arms[0], named(me, number))
            finally:
                opened[number].database.optuna.remove_session()

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(4)))
        assert sum(isinstance(each, Claim) for each in found) == 1
        assert found.count(Nothing.WAIT) == 3


THREE = {
    "random": {"sampler": "random"},
    "model": {"sampler": "tpe"},
    "halving": {"sampler": "random", "pruner": "hyperband"},
}


class TestOrder:
    def order(self, study: Study, *at_work: str) -> list[str]:
        live = [attempt_at(f"{study.name}/{name}") for name in at_work]
        found = in_order(study, study.arms, live)
        assert sorted(s.name for s in found) == sorted(s.name for s in study.arms)
        return [search.name.removeprefix(f"{study.name}/") for search in found]

    def test_what_has_one_worker_only_goes_first_within_a_repeat(
        self, sqlite_database: Any, make_study: Any
    ) -> None:
        study = make_study(sqlite_database, arms=THREE, repeats=2)
        assert self.order(study) == [
            "model/0", "halving/0", "random/0", "model/1", "halving/1", "random/1",
        ]  # fmt: skip

    def test_nothing_is_shared_while_there_is_a_search_with_nobody(
        self, sqlite_database: Any, make_study: Any
    ) -> None:
        study = make_study(sqlite_database, arms=THREE, repeats=2)
        assert self.order(study, "model/0", "halving/0", "random/0")[0] == "model/1"
        everywhere = ("model/0", "random/0", "random/0", "halving/0", "model/1", "halving/1")
        assert self.order(study, *everywhere) == [
            "random/1", "model/0", "halving/0", "random/0", "model/1", "halving/1",
        ]  # fmt: skip

    def test_full_training_has_its_place(self, sqlite_database: Any, make_study: Any) -> None:
        study = make_study(sqlite_database, arms=THREE, promote={"epochs": 3})
        found = in_order(study, study.searches, [])
        assert [search.kind for search in found] == ["arm", "arm", "arm", "full", "ensemble"]


def attempt_at(search: str) -> Attempt:
    return Attempt(
        search, 0, 0, "token", "here/0", "", "cpu", 0.0, 0.0, None, None, None, 0, 3, 0, 0.0, 0.0
    )


ARMS = {
    "curves": {"sampler": "curve-gp", "startup": 2, "min_epochs": 1},
    "gp": {"sampler": "gp", "startup": 2},
    "halving": {"sampler": "tpe", "startup": 2, "pruner": "hyperband"},
    "random": {"sampler": "random"},
}


def stored(study: Study) -> dict[str, list[Any]]:
    """What was tried in every search, and what came of it."""
    return {
        f"{search.arm}/{search.repeat}": [
            (t.number, dict(t.params), t.state, t.values, t.intermediate_values)
            for t in study.trials(search)
        ]
        for search in study.arms
    }


@pytest.fixture(params=["sqlite", "postgres"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes databases with nothing in them, so that studies in each can have the same name."""
    opened: list[Database] = []

    def make() -> Database:
        url = f"sqlite:///{tmp_path / str(len(opened))}.db"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres_server")
            url = str(server.url(server.create_database()))
        opened.append(open_database(url, create=True, patience=60))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@pytest.mark.slow
def test_any_number_of_workers_tries_the_same(
    fresh: Any, reopen: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    def run(workers: int) -> dict[str, list[Any]]:
        study = make_study(
            fresh(),
            name="same",  # Hyperband's brackets depend on it
            arms=ARMS,
            repeats=2,
            trial={"epochs": 4},
            budget={"epochs": 20},
            space={"momentum": {"low": 0.5, "high": 0.99}},
        )
        jitter = random.Random(workers)

        def during(folder: Path, epoch: int) -> None:
            time.sleep(jitter.uniform(0.0, 0.02))

        def one(number: int) -> None:
            mine = replace(study, database=reopen(study.database))
            try:
                trainer = make_trainer(
                    during=during, diverges=lambda params, epoch: params.lr > 0.3 and epoch == 2
                )
                work(mine, mine.arms, trainer, named(me, number), never)
            finally:
                mine.database.optuna.remove_session()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, range(workers)))
        return stored(study)

    alone = run(1)
    assert all(len(trials) >= 4 for trials in alone.values())
    assert run(2) == alone
    assert run(4) == alone


@pytest.mark.slow
def test_top_k_tries_the_same_even_with_all_workers_in_one_search(
    sqlite_database: Any, reopen: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    def run(workers: int) -> list[Any]:
        study = make_study(
            sqlite_database,
            arms={"top-k": {"sampler": "top-k", "candidates": 5}},
            trial={"epochs": 4},
            budget={"epochs": 12},
            workers={"per_search": 3},
        )
        trainer = make_trainer(diverges=lambda params, epoch: params.lr > 0.5 and epoch == 1)

        def one(number: int) -> None:
            mine = replace(study, database=reopen(sqlite_database))
            try:
                work(mine, mine.arms, trainer, named(me, number), never)
            finally:
                mine.database.optuna.remove_session()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, range(workers)))
        (trials,) = stored(study).values()
        return trials

    alone = run(1)
    assert sorted(len(errors) for *_, errors in alone) == [1, 1, 1, 4, 4]
    assert run(3) == alone
