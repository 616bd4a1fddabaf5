"""A comparison as a table for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tuneoff.search.report.wording import NONE, duration, mean_and_sd, points
from tuneoff.search.results.records import Comparison, StudyResults
from tuneoff.search.results.verdict import p_value


def summary_table(results: StudyResults, comparison: Comparison) -> Table:
    """One row for each arm, the verdict below; what comes from the study is never mark-up."""
    pairs = {pair.baseline: pair for pair in comparison.pairs}
    table = Table(
        title=Text(results.name),
        box=SIMPLE_HEAD,  # with the next two options it fits into 80 columns
        collapse_padding=True,
        pad_edge=False,
        caption=Text(comparison.verdict),
        caption_justify="left",
        caption_style="bold yellow" if comparison.thin else "bold green",
    )
    table.add_column("Arm")
    difference = f"Error minus {comparison.reference}'s"
    for name in ("Trials", "Epochs", "Time", "Validation, %", "Test, %", difference, "p"):
        table.add_column(Text(name), justify="right")
    for arm in comparison.arms:
        pair = pairs.get(arm.arm)
        cells = (
            arm.arm,
            f"{sum(arm.states.values()):,}",
            f"{arm.spent:,}",
            duration(arm.seconds),
            mean_and_sd(arm.mean_validation, arm.sd_validation),
            mean_and_sd(arm.mean_test, arm.sd_test),
            points(pair.mean) if pair else NONE,
            p_value(pair.p_holm) if pair else NONE,
        )
        table.add_row(*map(Text, cells))
    return table
