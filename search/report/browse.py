"""Tables of many rows: the page gets a few rows of each to read at once, and all of them packed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from tuneoff.search.report.sections import Section
from tuneoff.search.report.tables import Table

PAGE: Final = 100
"""Rows that are shown at a time."""


def is_browsed(table: Table) -> bool:
    """True if a table is shown a page at a time."""
    return table.kind == "browse" or len(table.rows) > PAGE


def browsed(found: Iterable[Section]) -> dict[str, Table]:
    """By the id of its element, every table of the sections that is shown a page at a time."""
    tables = [
        table
        for section in found
        for table in (*(panels.table for panels in section.panels), *section.tables)
        if table is not None and is_browsed(table)
    ]
    return {f"browse-{i}": table for i, table in enumerate(tables)}


def browsed_json(tables: Mapping[str, Table]) -> str:
    """What the page's script needs to show them."""
    content = {
        name: {
            "header": table.header,
            "rows": table.rows,
            "text": table.text_columns,
            "filters": table.filters,
        }
        for name, table in tables.items()
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
