"""The report as three files: a page, Markdown, and JSON that holds all that the two show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tuneoff.files import write_text
from tuneoff.search.errors import UserError
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.html import html
from tuneoff.search.report.markdown import markdown
from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.records import Comparison, StudyResults, TrialCurve, plain


def write_report(
    results: StudyResults,
    comparison: Comparison,
    out: Path,
    *,
    trials: Sequence[TrialCurve] = (),
    predictions: Sequence[ArmPredictions] = (),
) -> Path:
    """Write report.html, report.md and report.json into the folder ``out``.

    The page holds all that it needs, plotly.js included, and works offline. Each file is replaced
    in one step: a reader never sees half of one.

    Args:
        results, comparison, trials, predictions: see ``ReportData``.
        out: made if it is not there.

    Returns:
        The path of report.html.

    Raises:
        UserError: ``out`` cannot be written to.
    """
    data = ReportData(results, comparison, trials, predictions)
    page = out / "report.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "report.json", as_json(data))
        write_text(out / "report.md", markdown(data))
        write_text(page, html(data))
    except OSError as error:
        raise UserError(
            f"cannot write the report into {out} ({error.strerror}); choose another folder with -o"
        ) from error
    return page


def as_json(data: ReportData) -> str:
    """All that the report shows, and what it was computed from."""
    content = {
        "results": plain(data.results),
        "comparison": data.comparison.to_dict(),
        "trials": plain(data.trials),
        "predictions": plain(data.predictions),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
