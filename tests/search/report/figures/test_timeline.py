"""The timeline shows every worker's time, also of many workers and attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.timeline import MOST_BARS, timeline_panels
from tuneoff.search.results.records import AttemptRecord

Make = Callable[..., ReportData]


def row(worker: str, started: float, ended: float | None, **more: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "arm": "bayes", "repeat": 0, "trial": 0, "number": 0, "device": "cpu", "end": "finished",
        "state": "complete", "epochs": 3, "seconds": 1.0,
    }  # fmt: skip
    return AttemptRecord(worker=worker, started=started, ended=ended, **(values | more))


def bars(figure: go.Figure) -> list[tuple[str, int, float, float]]:
    """Arm, row, start and length of each bar."""
    return [
        (trace.name, y, base, x)
        for trace in figure.data
        if trace.type == "bar"
        for y, base, x in zip(trace.y, trace.base, trace.x, strict=True)
    ]


def test_a_bar_for_each_attempt_and_a_cross_for_each_loss(make_data: Make) -> None:
    rows = [
        row("a/1", 1000.0, 1010.0),
        row("b/2", 1005.0, 1008.0, arm="hand", end="lost", reason="<b>gone</b>"),
        row("a/1", 1050.0, 1060.0, arm="full"),
        row("b/2", 1055.0, None, end=None, state="running", seconds=15.0),
    ]
    (panels,) = timeline_panels(make_data(attempts=rows))
    (figure,) = panels.figures
    assert sorted(bars(figure)) == [
        ("bayes", 0, 0.0, 10.0),
        ("bayes", 1, 55.0, 15.0),
        ("full training", 0, 50.0, 10.0),
        ("hand", 1, 5.0, 3.0),
    ]
    crosses = figure.data[-1]
    assert (list(crosses.x), list(crosses.y)) == ([8.0], [1])
    assert crosses.text == ("lost: &lt;b&gt;gone&lt;/b&gt;",)
    assert panels.finding == (
        "2 workers were at work within 70 s, and busy for 30% of the time that they were there; the"
        " longest time in which nobody was at work is 40 s; of 4 attempts 1 lost."
    )


@pytest.mark.slow
def test_thousands_of_attempts_keep_their_time(make_data: Make) -> None:
    rows = [
        row(f"host/{w}", 10.0 * i, 10.0 * i + 9, arm=("bayes", "hand")[i // 50 % 2])
        for w in range(100)
        for i in range(200)
    ]
    (panels,) = timeline_panels(make_data(attempts=rows))
    found = bars(panels.figures[0])
    assert len(found) <= MOST_BARS
    assert {row for _, row, _, _ in found} == set(range(100))
    minutes = sum(length for *_, length in found)
    assert minutes == pytest.approx(100 * 2000 / 60, rel=0.05)
    assert len(panels.figures[0].to_json()) < 300_000
    assert "drawn as one bar" in panels.caption


@pytest.mark.parametrize("rows", [[], [row("a/1", 5.0, 5.0)]], ids=["none", "no time"])
def test_no_time_is_no_figure(make_data: Make, rows: list[AttemptRecord]) -> None:
    assert timeline_panels(make_data(attempts=rows)) == ()


def test_long_and_hostile_names_of_workers(make_data: Make) -> None:
    rows = [row("<img src=x>" + "y" * 200 + "/17", 0.0, 5.0)]
    (panels,) = timeline_panels(make_data(attempts=rows))
    (name,) = panels.figures[0].layout.yaxis.ticktext
    assert name.startswith("&lt;img")
    assert name.endswith("/17")
    assert len(name) < 40
