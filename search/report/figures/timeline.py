"""Which worker was at work when, and for which arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels, arm_colours, blank, shown
from tuneoff.search.report.figures.ledger import QUEUES
from tuneoff.search.results.crew_time import CrewTime, crew_time, end_of, last_known
from tuneoff.search.results.numbers import duration, share
from tuneoff.search.results.records import AttemptRecord

MOST_BARS: Final = 3000
"""More attempts than these are drawn together where they lie within one step of time."""
MOST_NAMES: Final = 60
"""More workers than these are not named beside their rows."""

_QUEUE_GREYS: Final = {"full": "#5c626b", "ensemble": "#8a8f98", "horizon": "#b3b8bf"}
_TROUBLE: Final = ("lost", "failed")


@dataclass(frozen=True, slots=True)
class _Bar:
    """What is drawn as one: ``attempts`` of one arm by the worker in this row."""

    row: int
    arm: str
    start: float
    end: float
    attempts: int


def timeline_panels(data: ReportData) -> tuple[Panels, ...]:
    """One row for each worker, with a bar for each attempt."""
    crew = crew_time(data.attempts)
    if crew is None or crew.ended <= crew.begun:
        return ()
    workers = list(dict.fromkeys(one.worker for one in data.attempts))
    bars, step = _bars(data.attempts, workers, crew)
    together = f" Attempts of one arm within {duration(step)} are drawn as one bar." if step else ""
    troubles = [one for one in data.attempts if one.end in _TROUBLE]
    marks = " Crosses: attempts that were lost with their worker, or failed." if troubles else ""
    return (
        Panels(
            name="timeline",
            title="Who was at work when",
            caption="One row for each worker (host and process), one bar for each attempt at a"
            " trial, in its arm's colour; grey: full training and what comes after the search."
            " A worker is there from the start of its first attempt to the end of its last."
            + marks
            + together,
            figures=(_figure(data, workers, bars, troubles, crew),),
            key=True,
            finding=_finding(data.attempts, len(workers), crew),
        ),
    )


def _bars(
    attempts: Sequence[AttemptRecord], workers: Sequence[str], crew: CrewTime
) -> tuple[list[_Bar], float]:
    """What to draw, and the step of time within which attempts were drawn together, or 0."""
    rows = {worker: row for row, worker in enumerate(workers)}
    now = last_known(attempts)
    every = [_Bar(rows[one.worker], one.arm, one.started, end_of(one, now), 1) for one in attempts]
    if len(every) <= MOST_BARS:
        return every, 0.0
    step = (crew.ended - crew.begun) / max(20, min(800, MOST_BARS // len(workers)))
    return _together(every, crew.begun, step), step


def _together(every: Sequence[_Bar], begun: float, step: float) -> list[_Bar]:
    """In each row, each step of time shows the arm that took most of it, if half was worked."""
    worked: dict[tuple[int, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    made: dict[tuple[int, int, str], int] = defaultdict(int)
    for bar in every:
        first, last = int((bar.start - begun) // step), int((bar.end - begun) // step)
        made[bar.row, first, bar.arm] += 1
        for cell in range(first, last + 1):
            low, high = begun + cell * step, begun + (cell + 1) * step
            worked[bar.row, cell][bar.arm] += max(0.0, min(bar.end, high) - max(bar.start, low))
    found: list[_Bar] = []
    for row, cell in sorted(worked):
        of = worked[row, cell]
        arm = max(of, key=lambda name: of[name])
        if sum(of.values()) < step / 2:
            continue
        start, count = begun + cell * step, made[row, cell, arm]
        before = found[-1] if found else None
        if before and (before.row, before.arm) == (row, arm) and abs(before.end - start) < step / 2:
            found[-1] = _Bar(row, arm, before.start, start + step, before.attempts + count)
        else:
            found.append(_Bar(row, arm, start, start + step, count))
    return found


def _figure(
    data: ReportData,
    workers: Sequence[str],
    bars: Sequence[_Bar],
    troubles: Sequence[AttemptRecord],
    crew: CrewTime,
) -> go.Figure:
    unit, length = _unit(crew.ended - crew.begun)
    named = len(workers) <= MOST_NAMES
    height = 96 + (max(60, 22 * len(workers)) if named else min(900, max(500, 3 * len(workers))))
    figure = blank(f"{unit} since the start", "", height=height)
    colours: Mapping[str, str] = {**_QUEUE_GREYS, **arm_colours(data.results.arms)}

    def at(moment: float) -> float:
        return float(f"{(moment - crew.begun) / length:.6g}")

    for arm in dict.fromkeys((*data.results.arms, *QUEUES)):
        mine = [bar for bar in bars if bar.arm == arm]
        if not mine:
            continue
        said = shown(QUEUES.get(arm, arm) if arm not in data.results.arms else arm)
        figure.add_bar(
            base=[at(bar.start) for bar in mine],
            x=[at(bar.end) - at(bar.start) for bar in mine],
            y=[bar.row for bar in mine],
            orientation="h",
            width=0.72 if named else 1.0,
            name=said,
            text=[f"{said}: {counted(bar.attempts, 'attempt')}" for bar in mine],
            textposition="none",
            marker={"color": colours[arm], "line": {"width": 0}},
            hovertemplate=f"%{{text}}<br>%{{base:.4~g}} + %{{x:.4~g}} {unit}<extra></extra>",
        )
    if troubles:
        rows, now = {worker: row for row, worker in enumerate(workers)}, last_known(data.attempts)
        drawn = troubles[:: 1 + len(troubles) // 500]
        figure.add_scatter(
            x=[at(end_of(one, now)) for one in drawn],
            y=[rows[one.worker] for one in drawn],
            mode="markers",
            name="lost or failed",
            text=[f"{shown(one.end or '')}: {shown(one.reason[:120])}" for one in drawn],
            marker={
                "symbol": "x",
                "size": 9,
                "color": "#c1121f",
                "line": {"width": 1, "color": "white"},
            },
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", showlegend=False, margin={"t": 12})
    figure.update_yaxes(
        tickvals=list(range(len(workers))) if named else [],
        ticktext=[shown(_short(worker)) for worker in workers] if named else [],
        range=[len(workers) - 0.5, -0.5],
        showgrid=False,
        title=None if named else {"text": counted(len(workers), "worker")},
    )
    figure.update_xaxes(rangemode="tozero")
    return figure


def _unit(seconds: float) -> tuple[str, float]:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 3 * length:
            return unit, length
    return "seconds", 1.0


def _short(name: str) -> str:
    """A worker's name, its middle left out if it is long: both ends tell workers apart."""
    return name if len(name) <= 28 else f"{name[:13]}…{name[-14:]}"


def _finding(attempts: Sequence[AttemptRecord], workers: int, crew: CrewTime) -> str:
    span = crew.ended - crew.begun
    who = "1 worker was" if workers == 1 else f"{workers:,} workers were"
    text = (
        f"{who} at work within {duration(span)}, and busy for"
        f" {share(crew.busy / crew.present if crew.present else 1.0)} of the time that"
        f" {'it was' if workers == 1 else 'they were'} there"
    )
    pause = crew.pauses[0][1] - crew.pauses[0][0] if crew.pauses else 0.0
    if pause >= 0.02 * span and pause >= 1:
        text += f"; the longest time in which nobody was at work is {duration(pause)}"
    lost, failed = (sum(one.end == end for one in attempts) for end in _TROUBLE)
    if lost or failed:
        parts = [f"{n:,} {word}" for n, word in ((lost, "lost"), (failed, "failed")) if n]
        text += f"; of {counted(len(attempts), 'attempt')} {' and '.join(parts)}"
    return f"{text}."
