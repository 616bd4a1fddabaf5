"""How long commands wait for a database: as a variable says, which may say nonsense."""

from __future__ import annotations

import pytest

from tuneoff.search.cli.storage import PATIENCE_VARIABLE, patience_of_workers
from tuneoff.search.errors import UserError
from tuneoff.search.store.defaults import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, PATIENCE_SECONDS), ("", PATIENCE_SECONDS), ("0", 0), ("2.5", 2.5)]
)
def test_the_patience_of_workers(
    text: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(PATIENCE_VARIABLE, text)
    assert patience_of_workers() == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_patience_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, text)
    with pytest.raises(UserError, match=f"{PATIENCE_VARIABLE} = '{text}': write a number"):
        patience_of_workers()
