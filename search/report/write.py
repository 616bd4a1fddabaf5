"""The report as three files: a page, Markdown, and JSON that holds all that the two show."""

from __future__ import annotations

from pathlib import Path

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.documents import document
from tuneoff.search.report.folder import write_folder
from tuneoff.search.report.html import html
from tuneoff.search.report.markdown import markdown


def write_report(data: ReportData, out: Path) -> Path:
    """Write report.html, report.md and report.json into the folder ``out``.

    The page holds all that it needs, plotly.js included, and works offline. Each file is replaced
    in one step: a reader never sees half of one. If one cannot be written, all stay as they were.

    Args:
        data: what they show.
        out: made if it is not there.

    Returns:
        The path of report.html.

    Raises:
        UserError: ``out`` cannot be written to.
    """
    write_folder(
        out,
        {"report.json": as_json(data), "report.md": markdown(data), "report.html": html(data)},
    )
    return out / "report.html"


def as_json(data: ReportData) -> str:
    """All that the report shows, and what it was computed from."""
    return document("report", data)
