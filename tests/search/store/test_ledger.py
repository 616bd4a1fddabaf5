"""The ledger waits for a database that is away, and is the only one that does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tuneoff.retry import Patience
from tuneoff.search.errors import LeaseLost, StorageOutage
from tuneoff.search.store import attempts
from tuneoff.search.store.ledger import Ledger

ROOT = Path(__file__).parents[3]
_numbers = itertools.count()


def gone(*_: Any, **__: Any) -> Any:
    raise sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))


CALLS: dict[str, Callable[[Ledger, attempts.Attempt], Any]] = {
    "live": lambda ledger, attempt: ledger.live([attempt.search]),
    "read": lambda ledger, attempt: ledger.read([attempt.search], {attempt.trial}),
    "touch": lambda ledger, attempt: ledger.touch(attempt),
    "progress": lambda ledger, attempt: ledger.progress(attempt, 1, 2.0),
    "resumed_from": lambda ledger, attempt: ledger.resumed_from(attempt, 0, None),
}


@pytest.fixture
def attempt(sqlite_database: Any, me: Any) -> attempts.Attempt:
    return attempts.insert(sqlite_database, me, f"ledger/{next(_numbers)}", 0, 0, 0, 9)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_made_again_when_the_database_is_back(
    sqlite_database: Any, attempt: attempts.Attempt, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    call, answers = getattr(attempts, name), [gone, gone]

    def away(*arguments: Any) -> Any:
        return (answers.pop() if answers else call)(*arguments)

    monkeypatch.setattr(attempts, name, away)
    found = CALLS[name](Ledger(sqlite_database), attempt)
    assert answers == []
    assert found is None or [row.token for row in found] == [attempt.token]


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_database_that_stays_away_is_an_outage(
    sqlite_database: Any, attempt: attempts.Attempt, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(attempts, name, gone)
    with pytest.raises(StorageOutage, match="server closed the connection"):
        CALLS[name](Ledger(replace(sqlite_database, patience=Patience(0.1))), attempt)


def test_other_errors_are_not_waited_for(sqlite_database: Any, attempt: attempts.Attempt) -> None:
    attempts.close(sqlite_database, attempt, "lost")
    with pytest.raises(LeaseLost):
        Ledger(sqlite_database).touch(attempt)


def test_nobody_else_asks_for_patience() -> None:
    """Whoever waits for the database says so by calling the ledger."""
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in ("search", "trainer", "tuneoff/testing", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if ".patiently(" in path.read_text(encoding="utf-8")
    }
    assert users == {"search/store/ledger.py"}
