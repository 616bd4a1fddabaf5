"""What epochs went into: nothing is left out, and nothing counted twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.records import AttemptRecord
from tuneoff.search.results.spending import AGAIN, DIVERGED, FULL, PRUNED, USES, spending
from tuneoff.search.results.trials import attempt_records
from tuneoff.search.store import attempts as ledger
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.worker import work

STATES = ("complete", "pruned", "paused", "waiting", "diverged", "failed", "running", "odd")


def attempt(**changes: Any) -> AttemptRecord:
    """One attempt of three epochs that finished its trial."""
    values: dict[str, Any] = {
        "arm": "bayes", "repeat": 0, "trial": 0, "number": 0, "worker": "host/1", "device": "cpu",
        "started": 0.0, "ended": 1.0, "end": "finished", "state": "complete", "epochs": 3,
        "seconds": 6.0,
    }  # fmt: skip
    return AttemptRecord(**(values | changes))


@st.composite
def attempts(draw: st.DrawFn) -> list[AttemptRecord]:
    """A ledger, also with gaps and overlaps that no worker would write."""
    rows = []
    for trial in range(draw(st.integers(0, 6))):
        arm, state = draw(st.sampled_from(["bayes", "hand"])), draw(st.sampled_from(STATES))
        rows += [
            attempt(
                arm=arm, trial=trial, number=number, state=state, epochs=draw(st.integers(0, 9)),
                from_epoch=draw(st.integers(0, 9)), seconds=draw(st.floats(0, 1e6)),
            )
            for number in range(draw(st.integers(1, 4)))
        ]  # fmt: skip
    return rows


@given(attempts())
def test_the_parts_are_all_that_was_spent(rows: list[AttemptRecord]) -> None:
    found = spending(rows)
    for one in found:
        mine = [row for row in rows if row.arm == one.arm]
        assert sum(one.epochs.values()) == sum(row.epochs for row in mine)
        assert sum(one.seconds.values()) == pytest.approx(sum(row.seconds for row in mine))
        assert sum(one.trials.values()) == len({row.trial for row in mine})
        assert min(*one.epochs.values(), *one.seconds.values(), *one.trials.values()) >= 0
        assert tuple(one.epochs) == tuple(one.seconds) == tuple(one.trials) == USES
    assert {one.arm for one in found} == {row.arm for row in rows}


def test_epochs_behind_the_last_checkpoint_of_a_lost_worker_were_trained_twice() -> None:
    lost = attempt(end="lost", epochs=5, seconds=10.0)
    resumed = attempt(number=1, from_epoch=3, epochs=6, seconds=12.0)
    (found,) = spending([lost, resumed])
    assert (found.epochs[FULL], found.epochs[AGAIN]) == (9, 2)
    assert found.seconds[AGAIN] == pytest.approx(22 * 2 / 11)


def test_a_paused_attempt_counts_for_what_became_of_its_trial() -> None:
    rows = [
        attempt(end="paused", epochs=1),
        attempt(number=1, from_epoch=1, epochs=2),
        attempt(trial=1, end="paused", state="pruned", epochs=1),
        attempt(trial=2, state="diverged", epochs=2),
    ]
    (found,) = spending(rows)
    assert (found.epochs[FULL], found.epochs[PRUNED], found.epochs[DIVERGED]) == (3, 1, 2)


@pytest.mark.slow
def test_the_parts_of_a_real_study_are_its_ledger(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, arms={"random": {"sampler": "random", "pruner": "median"}})
    work(study, study.arms, make_trainer(), me, never)
    rows = ledger.read(sqlite_database, [search.name for search in study.searches])
    found = spending(attempt_records(Snapshot.of(study)))
    assert sum(sum(one.epochs.values()) for one in found) == ledger.spent(rows) > 0
