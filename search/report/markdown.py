"""The report as Markdown: all but the figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.tables import Table, coverage_table, finding_tables, verdict_tables
from tuneoff.search.report.wording import caveats, how_to_read, outcome, title
from tuneoff.search.results.records import Comparison


def markdown(data: ReportData) -> str:
    """The report without its figures."""
    blocks = [f"# {text(title(data.results))}", *outcome_blocks(data.comparison)]
    for table in _tables(data):
        blocks += [f"## {text(table.heading)}", table_block(table)]
    blocks += ["## How to read this", _bullets(how_to_read(data))]
    return "\n\n".join(blocks) + "\n"


def outcome_blocks(comparison: Comparison) -> list[str]:
    """The verdict, the other comparisons, and what to keep in mind."""
    blocks = [f"**{text(comparison.verdict)}**", *map(text, outcome(comparison))]
    for heading, items in caveats(comparison):
        blocks += [f"{text(heading)}:", _bullets(items)]
    return blocks


def table_block(table: Table) -> str:
    """A table without its heading."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(map(text, cells)) + " |"

    left = {0, *table.text_columns}
    rule = "|" + "|".join(":--" if i in left else "--:" for i in range(len(table.header))) + "|"
    return "\n".join((line(table.header), rule, *map(line, table.rows)))


def text(raw: str) -> str:
    """``raw`` with everything escaped that would become mark-up, a table cell or a new line."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(raw.split()))


def _tables(data: ReportData) -> Iterator[Table]:
    yield from verdict_tables(data.comparison)
    yield from finding_tables(data.results)
    yield from filter(None, map(coverage_table, data.predictions))


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {text(item)}" for item in items)
