"""A comparison for the terminal: the answer, and a table of the arms."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from tuneoff.metric import capitalised
from tuneoff.search.cli.console import console, lines, styled
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.horizon import horizon_outcome
from tuneoff.search.report.to_use import nothing_to_use, to_use
from tuneoff.search.report.wording import caveats, outcome
from tuneoff.search.results.compare import names_of
from tuneoff.search.results.comparison import Comparison
from tuneoff.search.results.horizon.records import HorizonFindings
from tuneoff.search.results.numbers import NONE, duration, mean_and_sd
from tuneoff.search.results.records import StudyResults
from tuneoff.search.results.sharing import is_shared, sharing_sentence
from tuneoff.search.results.unjudged import unjudged_sentence


def print_summary(
    results: StudyResults, comparison: Comparison, horizon: HorizonFindings | None
) -> None:
    """Print the answer, the table, and what a reader must know beside them."""
    console.print(answer(comparison))
    for sentence in horizon_outcome(horizon):
        console.print(sentence, soft_wrap=True)
    if (unjudged := unjudged_sentence(results)) is not None:
        console.print(unjudged, soft_wrap=True)
    if is_shared(results):
        console.print(sharing_sentence(results))


def print_next(data: ReportData) -> None:
    """Print the settings to use and the command that trains them, or why there are none."""
    settings = to_use(data, names_of(data.results))
    if settings is None:
        console.print(nothing_to_use(data))
        return
    values = ", ".join(f"{name} = {value}" for name, value in settings.rows)
    console.print(f"Settings:  {values}")
    console.print(f"Train:     {settings.command}", soft_wrap=True)


def answer(comparison: Comparison) -> Group:
    """The verdict, the other sentences, the table, and what a reader must know beside them."""
    style = "bold green" if comparison.decided else "bold yellow"
    parts: list[RenderableType] = [styled(comparison.verdict, style)]
    parts += [lines(sentence) for sentence in outcome(comparison)]
    parts.append(summary_table(comparison))
    for heading, items in caveats(comparison):
        parts.append(lines(f"{heading}:"))
        parts += [Padding(lines(f"- {item}"), (0, 0, 0, 2)) for item in items]
    return Group(*parts)


def summary_table(comparison: Comparison) -> Table:
    """One row for each arm; on a ``PlainConsole``, strings are plain text."""
    pairs = {pair.baseline: pair for pair in comparison.pairs}
    table = Table(
        title=comparison.study,
        box=SIMPLE_HEAD,  # with the next two options it fits into 80 columns
        collapse_padding=True,
        pad_edge=False,
    )
    metric = comparison.metric
    table.add_column("Arm")
    for name in ("Epochs", "Time", f"Validation{metric.in_unit}", f"Test{metric.in_unit}"):
        table.add_column(name, justify="right")
    minus = f"{capitalised(metric.bare)} minus {comparison.reference}'s"
    if metric.maximised:
        minus = f"{comparison.reference}'s {metric.bare} minus its own"
    table.add_column(minus, justify="right")
    table.add_column(f"{comparison.reference} is")
    for arm in comparison.arms:
        pair = pairs.get(arm.arm)
        difference = [metric.difference(pair.mean)] if pair else [NONE]
        if pair and pair.low is not None and pair.high is not None:
            difference.append(f"({metric.span(pair.low, pair.high)})")
        table.add_row(
            arm.arm,
            f"{arm.spent:,}",
            duration(arm.seconds),
            mean_and_sd(arm.mean_validation, arm.sd_validation, metric),
            mean_and_sd(arm.mean_test, arm.sd_test, metric),
            lines(*difference),
            ("as good" if pair.quality == "equivalent" else pair.quality) if pair else NONE,
        )
    return table
