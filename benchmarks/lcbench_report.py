"""Tables and a figure from the records of lcbench.py."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

from plotly import graph_objects as go
from plotly.colors import hex_to_rgb

from tuneoff.search.report.figures.base import arm_colours

Record = Mapping[str, Any]

TIE = 1e-9  # regrets that differ by no more are equal
FLOOR = 1e-4  # lowest regret drawn: the axis is logarithmic, and 0 is reached
POINTS = 260  # of a drawn curve


def tables(records: Sequence[Record], policies: Sequence[str]) -> str:
    """Records of one space, worker count and budget, in Markdown; the first policy is ours."""
    by_policy = {policy: [r for r in records if r["policy"] == policy] for policy in policies}
    by_policy = {policy: runs for policy, runs in by_policy.items() if runs}
    parts = [_title(records), _summary(by_policy)]
    if len(by_policy) > 1:
        parts += [
            f"Wins/ties/losses of {next(iter(by_policy))} in pairs, at each mark:",
            _wins(by_policy),
        ]
    return "\n\n".join(parts)


def figure(records: Sequence[Record], policies: Sequence[str]) -> go.Figure:
    """Mean regret and a band of one standard error against what was spent."""
    drawn = go.Figure(layout={"title": {"text": _title(records)}, "hovermode": "x"})
    drawn.update_xaxes(title_text=f"full-run equivalents spent (x {records[0]['horizon']} epochs)")
    drawn.update_yaxes(title_text="mean normalised regret", type="log", exponentformat="power")
    for policy, colour in arm_colours(policies).items():
        runs = [record for record in records if record["policy"] == policy]
        if not runs:
            continue
        horizon, last = runs[0]["horizon"], runs[0]["equivalents"] * runs[0]["horizon"]
        # Whole ticks of the clock: within one, runs of equal depth come in one after another.
        workers = runs[0]["workers"]
        step = workers * max(1, last // POINTS // workers)
        grid = range(step, last + 1, step)
        x = [epochs / horizon for epochs in grid]
        values = [[_regret(record, epochs) for record in runs] for epochs in grid]
        means = [fmean(row) for row in values]
        errors = [_standard_error(row) for row in values]
        if len(runs) > 1:
            low = [_shown(m - e) for m, e in zip(means, errors, strict=True)]
            high = [_shown(m + e) for m, e in zip(means, errors, strict=True)]
            drawn.add_scatter(
                x=[*x, *reversed(x)],
                y=[*high, *reversed(low)],
                fill="toself",
                fillcolor=f"rgba{(*hex_to_rgb(colour), 0.16)}",
                line={"width": 0},
                legendgroup=policy,
                showlegend=False,
                hoverinfo="skip",
            )
        drawn.add_scatter(
            x=x,
            y=[_shown(mean) for mean in means],
            mode="lines",
            name=f"{policy} (n = {len(runs)})",
            legendgroup=policy,
            line={"color": colour, "width": 2.5},
        )
    return drawn


def _title(records: Sequence[Record]) -> str:
    first = records[0]
    sets = len({record["dataset"] for record in records})
    workers = first["workers"]
    return (
        f"LCBench, space {first['space']}, {workers} worker{'s' * (workers > 1)}, "
        f"{first['equivalents']} equivalents of {first['horizon']} epochs, "
        f"{sets} data set{'s' * (sets > 1)}: mean normalised regret ± standard error"
    )


def _summary(by_policy: Mapping[str, Sequence[Record]]) -> str:
    marks = _marks(by_policy)
    rows = []
    for policy, runs in by_policy.items():
        row = [policy, str(len(runs))]
        for mark in marks:
            values = [record["regret"][mark] for record in runs]
            row.append(f"{fmean(values):.3f} ± {_standard_error(values):.3f}")
        row += [_median_to(runs, "to_hand"), _median_to(runs, "to_grid")]
        asked = sum(record["suggestions"] for record in runs)
        row.append(f"{sum(record['seconds'] for record in runs) / asked:.3g}")
        rows.append(row)
    ends = ["to hand (median)", "to grid (median)", "s a suggestion"]
    return _markdown(["policy", "n", *marks, *ends], rows)


def _wins(by_policy: Mapping[str, Sequence[Record]]) -> str:
    marks = _marks(by_policy)
    ours, *others = by_policy
    mine = {_pair(record): record["regret"] for record in by_policy[ours]}
    rows = []
    for other in others:
        theirs = {_pair(record): record["regret"] for record in by_policy[other]}
        pairs = [(mine[pair], theirs[pair]) for pair in mine.keys() & theirs.keys()]
        row = [other, str(len(pairs))]
        for mark in marks:
            gains = [b[mark] - a[mark] for a, b in pairs]
            wins, losses = sum(g > TIE for g in gains), sum(g < -TIE for g in gains)
            row.append(f"{wins}/{len(pairs) - wins - losses}/{losses}")
        rows.append(row)
    return _markdown(["against", "pairs", *marks], rows)


def _pair(record: Record) -> tuple[str, int]:
    return record["dataset"], record["repeat"]


def _marks(by_policy: Mapping[str, Sequence[Record]]) -> list[str]:
    return sorted(next(iter(by_policy.values()))[0]["regret"], key=int)


def _median_to(runs: Sequence[Record], name: str) -> str:
    value = median(math.inf if record[name] is None else record[name] for record in runs)
    return f"{value:.1f}" if math.isfinite(value) else f"> {runs[0]['equivalents']}"


def _regret(record: Record, epochs: int) -> float:
    """The regret after ``epochs`` epochs; before the curve begins, its first value."""
    curve = record["curve"]
    at = bisect_right(curve, epochs, key=lambda point: point[0])
    return float(curve[max(0, at - 1)][1])


def _shown(regret: float) -> float:
    return round(max(regret, FLOOR), 6)


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
