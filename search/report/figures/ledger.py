"""What each arm's epochs and seconds went into: one bar for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from plotly import graph_objects as go

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels, arm_colours, blank, shown
from tuneoff.search.results.numbers import duration, share
from tuneoff.search.results.spending import (
    AGAIN,
    DIVERGED,
    FAILED,
    FULL,
    PAUSED,
    PRUNED,
    RUNNING,
    USES,
    Spending,
    spending,
)

QUEUES: Final = {"full": "full training", "ensemble": "ensemble", "horizon": "longer runs"}
"""What trains beside the arms, by the name in its attempts."""
_FOR: Final = {**QUEUES, "ensemble": "the ensemble"}

_GREY: Final = "#8a8f98"
_LIGHT: Final = "rgba(138, 143, 152, 0.4)"
# Full runs have the arm's colour. The others differ in pattern, not in shade alone.
_LOOKS: Final[Mapping[str, Mapping[str, Any]]] = {
    FULL: {"color": _GREY},
    PRUNED: {"color": _LIGHT},
    PAUSED: {"color": _GREY, "pattern": {"shape": ".", "fillmode": "replace"}},
    DIVERGED: {"color": _GREY, "pattern": {"shape": "x", "fillmode": "replace"}},
    FAILED: {"color": _GREY, "pattern": {"shape": "|", "fillmode": "replace"}},
    AGAIN: {"color": _GREY, "pattern": {"shape": "/", "fillmode": "replace"}},
    RUNNING: {"color": _GREY, "pattern": {"shape": "-", "fillmode": "replace"}},
}
_MEANING: Final = {
    PRUNED: "were stopped for good",
    PAUSED: "may go on",
    DIVERGED: "lost their way: the loss was no longer a number",
    FAILED: "ended in an error",
    RUNNING: "have not ended yet",
}


def ledger_panels(data: ReportData) -> tuple[Panels, ...]:
    """The epochs and the seconds of all attempts, by what they went into."""
    found = {one.arm: one for one in spending(data.attempts)}
    arms = [found[arm] for arm in data.results.arms if arm in found]
    queues = [found[queue] for queue in QUEUES if queue in found and queue not in data.results.arms]
    rows = [*arms, *queues]
    if not any(sum(one.epochs.values()) for one in rows):
        return ()
    used = [use for use in USES if any(one.epochs[use] for one in rows)]
    longest = max(sum(one.seconds.values()) for one in rows)
    unit, length = next(
        (unit, length)
        for unit, length in (("hours", 3600), ("minutes", 60), ("seconds", 1))
        if longest >= 2 * length or length == 1
    )
    times = {one.arm: {u: s / length for u, s in one.seconds.items()} for one in rows}
    colours = arm_colours(data.results.arms)
    figures = (
        _figure(rows, used, colours, "epochs", {one.arm: one.epochs for one in rows}),
        _figure(rows, used, colours, f"{unit} of device time", times),
    )
    return (
        Panels(
            name="ledger",
            title="What the epochs went into",
            caption="All epochs that were trained, and the device time they took, by what became of"
            f" the run. In the arm's colour: full runs.{_meanings(used)}",
            figures=figures,
            finding=_finding(arms, queues, data),
        ),
    )


def _meanings(used: Sequence[str]) -> str:
    said = [f"{use} {_MEANING[use]}" for use in used if use in _MEANING]
    text = f" In grey: {'; '.join(said)}." if said else ""
    if AGAIN in used:
        text += (
            " Epochs were trained twice where a worker was lost before it had stored what it had"
            " trained; they count in the budget."
        )
    return text


def _figure(
    rows: Sequence[Spending],
    used: Sequence[str],
    colours: Mapping[str, str],
    unit: str,
    amounts: Mapping[str, Mapping[str, float]],
) -> go.Figure:
    figure = blank(unit, "", height=120 + 26 * len(rows) + 20 * ((len(used) + 1) // 2))
    names = [shown(QUEUES.get(one.arm, one.arm)) for one in rows]
    for use in used:
        marker = {**_LOOKS[use], "line": {"width": 0.5, "color": _GREY}}
        if use == FULL:
            marker["color"] = [colours.get(one.arm, _GREY) for one in rows]
        figure.add_bar(
            x=[float(f"{amounts[one.arm][use]:.8g}") for one in rows],
            y=list(range(len(rows))),
            orientation="h",
            name=use,
            text=[f"{name}: {use}" for name in names],
            textposition="none",
            marker=marker,
            hovertemplate=f"%{{text}}, %{{x:,.4~g}} {unit}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.25, legend={"traceorder": "normal"})
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=names,
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )
    return figure


def _finding(arms: Sequence[Spending], queues: Sequence[Spending], data: ReportData) -> str:
    """One sentence whose parts add up to what was spent."""
    parts = {use: sum(one.epochs[use] for one in arms) for use in USES}
    total = sum(parts.values())
    after = {_FOR[one.arm]: sum(one.epochs.values()) for one in queues}
    taken = duration(sum(sum(one.seconds.values()) for one in (*arms, *queues)))
    lost = sum(one.end == "lost" for one in data.attempts)
    said = [f"{epochs:,} for {what}" for what, epochs in after.items() if epochs]
    whole = total + sum(after.values())
    if not total:
        text = f"Of {counted(whole, 'epoch')} the arms spent none: {_listed(said)}"
    else:
        uses = [
            f"{epochs:,} {'' if use == AGAIN else 'in '}{use}"
            for use, epochs in parts.items()
            if epochs
        ]
        if parts[FULL] and parts[FULL] < total:
            uses[0] += f" ({share(parts[FULL] / total)})"
        text = f"The arms spent {counted(total, 'epoch')}: {_listed(uses)}"
        if said:
            text += f"; with {_listed(said)} that makes {whole:,}"
    losses = f", and {counted(lost, 'attempt')} ended with the loss of a worker" if lost else ""
    return f"{text}, in {taken} of device time{losses}."


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
