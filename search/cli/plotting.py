"""The command that draws a study's figures in the terminal, where no browser is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from tuneoff.search.cli import options

if TYPE_CHECKING:
    from tuneoff.metric import Metric
    from tuneoff.search.results.records import StudyResults, TrialCurve
    from tuneoff.search.study.study import Study

WIDEST, HIGHEST, LOWEST = 120, 24, 10
"""Of a chart: columns, and lines."""
MOST_CHARTS: Final = 6
_MARKERS: Final = "o+x*#@%&"
_LOG_FROM: Final = 20
"""From this ratio of the greatest to the least value on, an axis is logarithmic."""
_NAME: Final = 20  # characters of a name


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together.

    Attributes:
        x, y: finite; equally many.
        joined: by a line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    joined: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn in one frame, with titles of its axes."""

    title: str
    x: str
    y: str
    series: Sequence[Series]


@click.command()
@options.study_command
@click.argument("figure", type=click.Choice(["anytime", "curves", "parameters", "picks"]))
def plot(study: Study, figure: str) -> None:
    """Draw a figure of a study in the terminal.

    anytime: the error of what each arm would recommend, against the epochs that it has spent.
    curves: learning curves of what each arm recommends, one for each repeat.
    parameters: each hyperparameter against the error of full runs.
    picks: by how much each arm's choice is better than the reference's, repeat by repeat.

    \b
    Example:
      tuneoff plot digits anytime
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.results.read import read_results
    from tuneoff.search.results.trials import trial_curves
    from tuneoff.search.study.snapshot import Snapshot

    now = Snapshot.of(study)
    charts = CHARTS[figure](read_results(now), trial_curves(now))
    for chart in charts[:MOST_CHARTS]:
        for line in drawn(chart, console.width, console.height, console.options.ascii_only):
            console.print(line, soft_wrap=True)
    if not charts:
        console.print(f"{study.name}: there is nothing to draw yet.", soft_wrap=True)
    if len(charts) > MOST_CHARTS:
        console.print(f"{len(charts) - MOST_CHARTS} more are in `tuneoff report {study.name}`.")


def drawn(chart: Chart, width: int, height: int, ascii_only: bool = False) -> list[str]:
    """A chart in lines that fit the terminal, without colours."""
    import plotext

    from tuneoff.messages import printable

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limitsize(False, False)
    columns = min(width - 1, WIDEST)
    plotext.plot_size(columns, max(LOWEST, min(HIGHEST, height - 4)))
    if ascii_only:
        plotext.frame(False)
    for axis in "xy":
        values = [value for one in chart.series for value in getattr(one, axis)]
        if values and min(values) > 0 and max(values) >= _LOG_FROM * min(values):
            getattr(plotext, f"{axis}scale")("log")
    for number, one in enumerate(chart.series):
        draw: Any = plotext.plot if one.joined else plotext.scatter
        draw(list(one.x), list(one.y), marker=_MARKERS[number % len(_MARKERS)])
    text = plotext.uncolorize(plotext.build())
    legend = "  ".join(
        f"{_MARKERS[i % len(_MARKERS)]} {printable(one.name)[:_NAME]}"
        for i, one in enumerate(chart.series)
    )
    heads = [f"{chart.title}: {chart.y} against {chart.x}", legend if len(chart.series) > 1 else ""]
    lines = [printable(line)[:width] for line in heads if line]
    return [*lines, *(line.rstrip()[:width] for line in re.split(r"\r?\n", text.rstrip()))]


def _anytime(results: StudyResults, trials: Sequence[TrialCurve]) -> list[Chart]:
    from tuneoff.search.results.anytime import anytime, spending_grid

    metric = results.metric
    grid = spending_grid(results, 200)
    curves = [anytime(results, arm, grid, intervals=False) for arm in results.arms]
    series = [
        Series(curve.arm, curve.spent, [metric.number(error) for error in curve.mean], joined=True)
        for curve in curves
        if curve.spent
    ]
    chart = Chart(results.name, "epochs spent", _shown(metric, "of the choice so far"), series)
    return [chart] if series else []


def _curves(results: StudyResults, trials: Sequence[TrialCurve]) -> list[Chart]:
    metric = results.metric
    picks = {
        (run.arm, run.repeat, run.recommendation.trial)
        for run in results.runs
        if run.recommendation is not None
    }
    return [
        Chart(f"{arm}, what it recommends", "epoch", _shown(metric), series)
        for arm in results.arms
        if (
            series := [
                Series(f"repeat {one.repeat}", *_finite(one.errors.items(), metric), joined=True)
                for one in trials
                if one.arm == arm and (one.arm, one.repeat, one.number) in picks and one.errors
            ]
        )
    ]


def _parameters(results: StudyResults, trials: Sequence[TrialCurve]) -> list[Chart]:
    full = [one for one in trials if one.state == "complete" and one.errors]
    names = dict.fromkeys(name for one in full for name in one.params)
    metric = results.metric
    return [
        Chart(name, name, _shown(metric, "of full runs"), series)
        for name in names
        if (series := list(_by_arm(results, full, name)))
    ]


def _by_arm(results: StudyResults, full: Sequence[TrialCurve], name: str) -> Iterator[Series]:
    for arm in results.arms:
        pairs = [
            (value, one.errors[max(one.errors)])
            for one in full
            if one.arm == arm and _is_number(value := one.params.get(name))
        ]
        x, y = _finite(pairs, results.metric)
        if x:
            yield Series(arm, x, y, joined=False)


def _picks(results: StudyResults, trials: Sequence[TrialCurve]) -> list[Chart]:
    from tuneoff.search.results.compare import compare

    comparison, metric = compare(results), results.metric
    by = f"{metric.points.strip() or metric.bare} by"
    return [
        Chart(
            f"{comparison.reference} against {pair.baseline}",
            "repeat",
            f"{by} which {comparison.reference} is better",
            [
                Series(
                    "difference",
                    list(pair.repeats),
                    [metric.factor * difference for difference in pair.differences],
                    joined=False,
                ),
                Series("no difference", [pair.repeats[0], pair.repeats[-1]], [0, 0], joined=True),
            ],
        )
        for pair in comparison.pairs
        if pair.repeats
    ]


def _shown(metric: Metric, of: str = "") -> str:
    """What an axis of values is called."""
    name = f"{metric.on('validation')}{metric.in_unit}"
    return f"{name}, {of}" if of else name


def _finite(pairs: Any, metric: Metric) -> tuple[list[float], list[float]]:
    """x, and y in the metric's unit, of the pairs in which both are finite, by x."""
    finite = ((x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y))
    kept = sorted((x, metric.number(y)) for x, y in finite)
    return [x for x, _ in kept], [y for _, y in kept]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


CHARTS: Final[dict[str, Callable[[StudyResults, Sequence[TrialCurve]], list[Chart]]]] = {
    "anytime": _anytime,
    "curves": _curves,
    "parameters": _parameters,
    "picks": _picks,
}
"""What draws each figure, by its name."""
