"""Whose fault a failure is: judged by who else is at work, and what they have tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, End, Worker
from tuneoff.search.work.crew import LONGEST_PAUSE_SECONDS, Crew, Health
from tuneoff.search.work.worker import LONGEST_POLL_SECONDS


def crew(me: str, *others: str) -> Crew:
    return Crew(me, frozenset(others), frozenset(others))


def tried(*ends: tuple[str, End]) -> list[Attempt]:
    """Attempts at one trial, by the names of their workers and how they ended."""
    return [
        Attempt(
            "s/a/0", 0, number, "", worker, "", "cpu", 0.0, 0.0, 1.0, end, "why", 0, 3, 0, 0.0, 0.0
        )
        for number, (worker, end) in enumerate(ends)
    ]


@pytest.mark.parametrize(
    ("crew", "rows", "first", "again"),
    [
        # What did not fail here is taken over at once, whoever is there.
        (crew("a/1", "a/2"), [("a/2", "failed")], True, True),
        (crew("a/1", "b/2"), [("a/1", "released")], True, True),
        (crew("a/1", "b/2"), [("a/1", "lost")], True, True),
        # What failed here is for others, as long as there is one who has not tried it.
        (crew("a/1", "a/2"), [("a/1", "failed")], False, False),
        (crew("a/1", "a/2"), [("a/1", "failed"), ("a/2", "failed")], False, True),
        (crew("a/1", "a/2"), [("a/1", "failed"), ("a/2", "lost")], False, True),
        (crew("a/1"), [("a/1", "failed")], False, True),
        # Where there are several machines, they count and not their workers.
        (crew("a/1", "a/2", "b/1"), [("a/2", "failed")], False, False),
        (crew("a/1", "a/2", "b/1"), [("a/2", "failed"), ("b/9", "failed")], False, True),
    ],
)
def test_who_may_try(crew: Crew, rows: Any, first: bool, again: bool) -> None:
    assert crew.may_try(tried(*rows), again=False) is first
    assert crew.may_try(tried(*rows), again=True) is again


def test_what_died_twice_is_left_to_those_that_have_proven_to_be_well() -> None:
    lost: Any = [("a/1", "lost"), ("a/2", "lost")]
    started_again, healthy = crew("a/3", "a/9"), crew("a/9", "a/3")
    for someone, may in [
        (started_again, True),  # nobody is known to be well
        (replace(started_again, proven=frozenset({"a/9"})), False),
        (replace(started_again, proven=frozenset({"a/3", "a/9"})), True),
        (replace(started_again, proven=frozenset({"a/3"})), True),
        (replace(healthy, proven=frozenset({"a/9"})), True),
    ]:
        assert someone.may_try(tried(*lost), again=True) is may
        assert someone.may_try(tried(*lost[:1]), again=True)


A, B, C = (("a/1", "failed"), ("b/1", "failed"), ("c/1", "failed"))


@pytest.mark.parametrize(
    ("crew", "rows", "hopeless"),
    [
        (crew("a/1"), [A, A], False),
        (crew("a/1"), [A, A, A], True),
        # Three failures on one machine are one, as long as another one has not tried.
        (crew("a/1", "b/1"), [A, A, A], False),
        (crew("a/1", "b/1"), [("a/1", "failed"), ("a/2", "failed"), ("a/3", "failed")], False),
        (crew("b/1"), [A, A, A], False),
        (crew("a/1", "b/1"), [A, B], False),
        (crew("a/1", "b/1"), [A, B, A], True),
        (crew("a/1", "d/1"), [A, B, C], True),
        # A trial that ends workers must not end all of them.
        (crew("a/1", "b/1"), [("a/1", "lost"), ("a/2", "lost"), ("a/3", "lost")], True),
        (crew("a/1", "b/1"), [("a/1", "lost"), ("a/2", "lost"), A], True),
        (crew("a/1"), [("a/1", "released")] * 9, False),
    ],
)
def test_when_a_trial_is_given_up(crew: Crew, rows: Any, hopeless: bool) -> None:
    assert crew.is_hopeless(tried(*rows), 3) is hopeless


def test_restarts_of_one_worker_on_this_machine_count_once(doomed: Worker) -> None:
    rows = [
        replace(row, process=doomed.process)
        for row in tried(("a/1", "failed"), ("a/2", "failed"), ("a/3", "failed"))
    ]
    assert not crew("a/4", "a/9").is_hopeless(rows, 3)


@pytest.mark.slow
def test_who_is_there(database: Any, make_study: Any, me: Worker, doomed: Worker, age: Any) -> None:
    study = make_study(database, workers={"grace_seconds": 60.0})
    name = study.arms[0].name

    def begin(worker: Worker, trial: int) -> Attempt:
        return attempts.insert(database, worker, name, trial, 0, 0, 3)

    begin(me, 0)
    begin(doomed, 1)
    begin(replace(me, name="at-work/1"), 2)
    attempts.close(database, begin(replace(me, name="between-trials/1"), 3), "finished")
    silent = begin(replace(me, name="silent/1"), 4)
    age(database, silent, 61)
    begin(replace(me, name="silent/1"), 5)
    old = begin(replace(me, name="long-ago/1"), 6)
    attempts.close(database, old, "finished")
    age(database, old, 61)
    found = Crew.of(study, me.name)
    assert found.others == {"at-work/1", "between-trials/1", "silent/1"}
    assert found.known == found.others | {"long-ago/1"}
    assert found.proven == {"between-trials/1"}


def test_the_health_of_a_worker(me: Worker) -> None:
    health = Health(me, 3)
    for trial, failed, sick in [
        ("a#0", True, False),
        ("a#0", True, False),
        ("a#0", True, False),  # the trial may be at fault
        ("a#1", True, True),
        ("a#2", False, False),
        ("a#3", True, False),
        ("a#4", True, False),
        ("a#3", True, True),
    ]:
        health.note(trial, failed)
        assert health.is_sick is sick, trial
    assert health.failures == "3 attempts at 2 trials in a row failed"


def test_pauses_let_others_come_first(me: Worker) -> None:
    health, alone, beside = Health(me, 9), crew("a/1"), crew("a/1", "b/1")
    assert health.pause(beside) == 0
    pauses = []
    for _ in range(6):
        health.note("a#0", failed=True)
        assert health.pause(alone) == 0  # nobody is kept waiting
        pauses.append(health.pause(beside))
    assert pauses[0] > 1.5 * LONGEST_POLL_SECONDS  # the longest pause of one that waits
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    health.note("a#1", failed=True)
    assert health.pause(alone) == LONGEST_PAUSE_SECONDS
    health.note("a#1", failed=False)
    assert health.pause(beside) == 0
