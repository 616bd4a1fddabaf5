"""Which hyperparameters decide whether a run is among the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import GREY, Panels, blank, shown
from tuneoff.search.results.importance import BEST_SHARE, Importance
from tuneoff.search.results.numbers import all_of, share
from tuneoff.search.results.records import TrialCurve

MOST = 12
"""More hyperparameters than these are not drawn."""


def importance_panels(data: ReportData) -> tuple[Panels, ...]:
    """A bar for each hyperparameter: the mean over the repeats; a mark for each repeat."""
    found = list(data.importance)
    if not found:
        return ()
    drawn = found[:MOST]
    figure = blank("share of the importance, %", "", height=110 + 30 * len(drawn))
    rows = list(range(len(drawn)))
    figure.add_bar(
        x=[round(100 * one.mean, 2) for one in drawn],
        y=rows,
        orientation="h",
        marker={"color": GREY},
        text=[shown(one.name) for one in drawn],
        textposition="none",
        hovertemplate="%{text}: %{x:.1f}%<extra></extra>",
    )
    figure.add_scatter(
        x=[round(100 * part, 2) for one in drawn for part in one.shares],
        y=[row for row, one in zip(rows, drawn, strict=True) for _ in one.shares],
        mode="markers",
        text=[f"repeat {repeat}" for one in drawn for repeat in one.repeats],
        marker={"symbol": "line-ns-open", "size": 13, "line": {"width": 2}, "color": "#d55e00"},
        hovertemplate="%{text}: %{x:.1f}%<extra></extra>",
    )
    figure.update_yaxes(
        tickvals=rows,
        ticktext=[shown(_short(one.name)) for one in drawn],
        range=[len(drawn) - 0.5, -0.5],
        showgrid=False,
    )
    figure.update_xaxes(range=[0, 100 * max(max(one.shares) for one in drawn) * 1.05])
    figure.update_layout(showlegend=False, margin={"t": 12})
    rest = f" {len(found) - MOST} more have smaller shares." if len(found) > MOST else ""
    return (
        Panels(
            name="importance",
            title="Which hyperparameters matter",
            caption=f"By how much the values among the best {share(BEST_SHARE)} of full runs differ"
            " from those among all full runs of all arms (PED-ANOVA, Watanabe et al. 2023). Bars:"
            " mean over the repeats; marks: each repeat. It says what tells good runs from others"
            " within the searched ranges, and nothing of what lies outside of them."
            + counting(data.trials, found[0].repeats)
            + rest,
            figures=(figure,),
            finding=finding(found),
        ),
    )


def counting(trials: Sequence[TrialCurve], repeats: Collection[int]) -> str:
    """How many runs count in these repeats, how many that were begun do not, and why.

    An unfinished run's error is not comparable: it would have been lower after more epochs, and
    whoever paused or stopped it judged by rules that differ between arms.
    """
    states = Counter(trial.state for trial in trials if trial.repeat in repeats)
    full, partial = states["complete"] + states["diverged"], states["pruned"] + states["paused"]
    if not partial:
        return ""
    return (
        f" Only full runs count: {full} of {full + partial}. The other {partial}, stopped or paused"
        " before their last epoch, are left out, since their errors are of fewer epochs and cannot"
        " be compared; so what mainly decides whether a run is stopped early may matter more than"
        " is shown."
    )


def finding(found: list[Importance]) -> str:
    """Which one matters most, and how sure that is."""
    first, repeats = found[0], len(found[0].shares)
    leads = sum(first.shares[i] == max(one.shares[i] for one in found) for i in range(repeats))
    low, high = min(first.shares), max(first.shares)
    spread = "" if repeats == 1 else f" ({share(low)} to {share(high)} by repeat)"
    text = f"{first.name} matters most: {share(first.mean)} of the importance{spread}"
    if repeats == 1:
        return f"{text}, as far as one repeat tells."
    if leads == repeats:
        return f"{text}; it is first in {all_of(repeats, 'repeat')}."
    return f"{text}; it is first in {leads} of {counted(repeats, 'repeat')}, so another may lead."


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:13]}…{name[-8:]}"
