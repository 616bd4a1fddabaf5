"""The bars of the ledger and the sentence below them add up to what was spent."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.ledger import ledger_panels
from tuneoff.search.results.records import AttemptRecord

Make = Callable[..., ReportData]


def row(arm: str, trial: int, epochs: int, state: str = "complete", **more: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "repeat": 0, "number": 0, "worker": "host/1", "device": "cpu", "started": 0.0,
        "ended": 9.0, "end": "finished", "seconds": 2.0 * epochs,
    }  # fmt: skip
    return AttemptRecord(arm=arm, trial=trial, epochs=epochs, state=state, **(values | more))


ROWS = (
    row("bayes", 0, 9),
    row("bayes", 1, 2, "pruned"),
    row("bayes", 2, 1, "diverged"),
    row("bayes", 3, 4, end="lost"),
    row("bayes", 3, 7, number=1, from_epoch=2),
    row("hand", 0, 9),
    row("full", 0, 1000),
)


def test_the_sentence_adds_up(make_data: Make) -> None:
    (panels,) = ledger_panels(make_data(attempts=ROWS))
    assert panels.finding == (
        "The arms spent 32 epochs: 27 in full runs (84%), 2 in pruned runs, 1 in diverged runs and"
        " 2 trained twice; with 1,000 for full training that makes 1,032, in 34 min of device"
        " time, and 1 attempt ended with the loss of a worker."
    )
    parts = re.findall(r"(\d[\d,]*) (?:in|trained|for) [a-z]+ ?[a-z]*", panels.finding)
    assert sum(int(part.replace(",", "")) for part in parts) == 1032


def test_the_bars_add_up(make_data: Make) -> None:
    (panels,) = ledger_panels(make_data(attempts=ROWS))
    epochs, minutes = panels.figures
    assert sum(sum(trace.x) for trace in epochs.data) == sum(one.epochs for one in ROWS)
    assert sum(sum(t.x) for t in minutes.data) == pytest.approx(sum(o.seconds for o in ROWS) / 60)
    assert list(epochs.layout.yaxis.ticktext) == ["bayes", "hand", "full training"]


def test_only_what_occurs_is_explained(make_data: Make) -> None:
    (panels,) = ledger_panels(make_data(attempts=[row("hand", 0, 9)]))
    assert panels.finding == "The arms spent 9 epochs: 9 in full runs, in 18 s of device time."
    assert "pruned" not in panels.caption
    assert "twice" not in panels.caption


def test_nothing_spent_is_no_figure(make_data: Make) -> None:
    assert ledger_panels(make_data()) == ()
    assert ledger_panels(make_data(attempts=[row("hand", 0, 0, "running", end=None)])) == ()


def test_names_are_escaped_and_fifty_arms_have_a_row_each(make_data: Make) -> None:
    arms = ["<b>x</b>", *(f"arm{i}" for i in range(49))]
    (panels,) = ledger_panels(make_data(arms, attempts=[row(arm, 0, 3) for arm in arms]))
    axis = panels.figures[0].layout.yaxis
    assert len(axis.tickvals) == 50
    assert axis.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<b>" not in "".join(panels.figures[0].data[0].text)
