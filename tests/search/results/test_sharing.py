"""How many workers were in a search at once, as the ledger says, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tuneoff.search.results.read import read_results
from tuneoff.search.results.sharing import most_at_once, sharing_sentence
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.claim import Claim, claim


def attempt(started: float, ended: float | None) -> Attempt:
    return Attempt(
        "s/a/0",
        0,
        0,
        "t",
        "w",
        "",
        "cpu",
        started,
        started,
        ended,
        "paused" if ended else None,
        None,
        0,
        3,
        0,
        0.0,
        0.0,
    )


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2)], 1),
        ([(0, 2), (1, 3)], 2),
        ([(0, None), (1, None), (2, 3)], 3),
        ([(0, 9), (1, 2), (3, 4)], 2),
    ],
)
def test_attempts_overlap(times: list[tuple[float, float | None]], most: int) -> None:
    rows = [attempt(started, ended) for started, ended in times]
    assert most_at_once(rows) == most
    assert most_at_once(rows[::-1]) == most


ARMS = {"model": {"sampler": "tpe"}, "random": {"sampler": "random"}}


def own(study: Any, search: Any, me: Worker, number: int) -> Claim:
    found = claim(study, search, replace(me, name=f"here/{number}"))
    assert isinstance(found, Claim)
    return found


@pytest.mark.slow
def test_what_is_said_of_one_worker_and_of_several(database: Any, make_study: Any, me: Any) -> None:
    study = make_study(database, arms=ARMS, workers={"per_search": 2})
    model, random = study.arms

    def sentence() -> str | None:
        return sharing_sentence(read_results(Snapshot.of(study)))

    for number in range(2):
        own(study, random, me, number)
    assert sentence() is None  # only a search that learns nothing was shared
    first = own(study, model, me, 2)
    said = sentence()
    assert said is not None
    assert said.startswith("Every search that learns from its runs had one worker at a time.")
    attempts.close(database, first.attempt, "finished")
    own(study, model, me, 3)
    assert sentence() == said
    own(study, model, me, 4)
    assert [run.workers for run in read_results(Snapshot.of(study)).runs] == [2, None]
    said = sentence()
    assert said is not None
    assert said.startswith("Up to 2 workers were at once in one search of model.")
    assert "per_search = 1 in [workers]" in said
