"""How busy workers were: time is neither lost nor counted twice."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.crew_time import crew_time, merged
from tuneoff.search.results.records import AttemptRecord


def attempt(worker: str, started: float, ended: float | None, **more: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "arm": "bayes", "repeat": 0, "trial": 0, "number": 0, "device": "cpu", "end": "finished",
        "state": "complete", "epochs": 3, "seconds": 1.0,
    }  # fmt: skip
    return AttemptRecord(worker=worker, started=started, ended=ended, **(values | more))


TIMES = st.integers(0, 50).map(float)
STRETCHES = st.lists(st.tuples(TIMES, TIMES).map(lambda ends: (min(ends), max(ends))))


@pytest.mark.slow
@given(STRETCHES)
def test_merged_stretches_cover_the_same_time_once(stretches: list[tuple[float, float]]) -> None:
    found = merged(stretches)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))
    for moment in range(100):
        half = moment / 2 + 0.25  # within no end
        assert any(a < half < b for a, b in stretches) == any(a < half < b for a, b in found)


@given(st.lists(st.tuples(st.sampled_from("abc"), TIMES, TIMES), min_size=1))
def test_workers_are_never_busier_than_they_were_there(
    rows: list[tuple[str, float, float]],
) -> None:
    attempts = [attempt(worker, min(s, e), max(s, e)) for worker, s, e in rows]
    found = crew_time(attempts)
    assert found is not None
    assert 0 <= found.busy <= found.present <= (found.ended - found.begun) * 3
    assert sum(end - start for start, end in found.pauses) <= found.ended - found.begun
    lengths = [end - start for start, end in found.pauses]
    assert lengths == sorted(lengths, reverse=True)


def test_gaps_of_one_worker_and_of_all() -> None:
    found = crew_time(
        [attempt("a", 0, 10), attempt("b", 5, 10), attempt("a", 30, 40), attempt("a", 42, 50)]
    )
    assert found is not None
    assert (found.begun, found.ended) == (0, 50)
    assert (found.present, found.busy) == (50 + 5, 10 + 5 + 10 + 8)
    assert found.pauses == ((10, 30), (40, 42))


def test_what_goes_on_lasts_as_long_as_the_ledger_knows() -> None:
    found = crew_time([attempt("a", 0, None, end=None, seconds=7.0), attempt("b", 2, 9)])
    assert found is not None
    assert found.ended == pytest.approx(9)
    assert found.busy == pytest.approx(9 + 7)
    assert crew_time([]) is None
