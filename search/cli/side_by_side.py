"""Several studies for the terminal: the answer, and a table that fits into 80 columns."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.padding import Padding
from rich.table import Table

from tuneoff.search.cli.console import console, lines, styled
from tuneoff.search.results.numbers import NONE
from tuneoff.search.results.side_by_side.records import Entry, PooledRow, SideBySide
from tuneoff.search.results.side_by_side.sentences import cost_range, quality_word, studies


def print_side_by_side(found: SideBySide) -> None:
    """Print the answer, the table, and what a reader must know beside them."""
    decided = bool(found.pooled) and found.pooled[0].quality not in (None, "undecided")
    console.print(styled(found.answer, "bold green" if decided else "bold yellow"))
    if found.by_study:
        console.print(lines(found.by_study))
    for row in found.pooled[:1]:
        if row.spread:
            console.print(lines(row.spread))
    for row in found.pooled[1:]:
        console.print(lines(f"{row.sentence} {row.spread}".strip()))
    console.print(studies_table(found))
    if found.notes:
        console.print("Keep in mind:")
        for note in found.notes:
            console.print(Padding(lines(f"- {note}"), (0, 0, 0, 2)))


def studies_table(found: SideBySide) -> Table:
    """A row for each study and baseline, and one for all of them together."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("Study")
    table.add_column("Against")
    table.add_column(f"{found.reference} is")
    units = {row.metric.in_points for row in found.pooled}
    unit = units.pop() if len(units) == 1 else ""
    for title in (f"Better by{unit}", "Cost"):
        table.add_column(title, justify="right")
    for column, row in enumerate(found.pooled):
        entries = [one.entries[column] for one in found.rows]
        for one, entry in zip(found.rows, entries, strict=True):
            word = entry.missing or quality_word(entry.quality)
            table.add_row(
                one.name,
                row.baseline,
                word,
                _difference(entry),
                cost_range([entry]) or NONE,
            )
        if row.mean is not None:
            table.add_row(
                f"all {studies(len(row.studies))}",
                row.baseline,
                quality_word(row.quality),
                _difference(row),
                cost_range(entries) or NONE,
                style="bold",
            )
        table.add_section()
    return table


def _difference(one: Entry | PooledRow) -> str:
    mean, low, high = one.mean, one.low, one.high
    if mean is None:
        return NONE
    if low is None or high is None:
        return one.metric.difference(mean)
    return f"{one.metric.difference(mean)} ({one.metric.span(low, high)})"
