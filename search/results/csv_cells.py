"""Lines of CSV files whose cells a spreadsheet does not take for formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

_FORMULA: Final = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may execute; the last four are full-width forms."""
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def safe_cell(text: str) -> str:
    """``text`` as a cell: with an apostrophe before what would be a formula.

    That is OWASP's advice on CSV injection: names of files and classes may be anybody's, and
    ``=HYPERLINK(...)`` would be executed when the file is opened. Numbers stay numbers.
    """
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def csv_line(cells: Sequence[str], raw: bool = False) -> str:
    """A line of a CSV file, with its end.

    Args:
        cells: texts and numbers.
        raw: leave cells as they are that a spreadsheet would take for formulas.
    """
    out = io.StringIO()
    # The csv module quotes a carriage return only if it is part of the line's end. A cell with one
    # that is not quoted is two lines to a reader.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(cells if raw else [safe_cell(cell) for cell in cells])
    return out.getvalue().removesuffix("\r\n") + "\n"
