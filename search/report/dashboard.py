"""The comparison in optuna-dashboard: a note and figures on the study of full training."""

from __future__ import annotations

from typing import Final

import optuna
import optuna_dashboard
from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.anytime import anytime_panels
from tuneoff.search.report.figures.recommendations import recommendation_panels
from tuneoff.search.report.markdown import outcome_blocks, table_block
from tuneoff.search.report.tables import arms_table
from tuneoff.search.results.records import Comparison, StudyResults

_HEADING: Final = "## Comparison by tuneoff"
_POINTS: Final = 60  # of a curve: the dashboard keeps figures in the database


def publish(study: optuna.Study, results: StudyResults, comparison: Comparison) -> None:
    """Save verdict, table and figures into ``study``, where optuna-dashboard shows them.

    Safe to call again: figures are overwritten, and of the study's note only what stands below
    our heading, so that a note that somebody wrote above it stays.
    """
    theirs = optuna_dashboard.get_note(study).partition(_HEADING)[0].strip()
    ours = "\n\n".join(
        (
            _HEADING,
            *outcome_blocks(comparison),
            table_block(arms_table(comparison)),
            "What you write above this section's heading is kept; the section itself is rewritten.",
        )
    )
    optuna_dashboard.save_note(study, f"{theirs}\n\n{ours}" if theirs else ours)
    for name, figure in dashboard_figures(results, comparison).items():
        optuna_dashboard.save_plotly_graph_object(study, figure, graph_object_id=name)


def dashboard_figures(results: StudyResults, comparison: Comparison) -> dict[str, go.Figure]:
    """Figures small enough for the database, by an id that optuna-dashboard accepts.

    They carry their own titles and a white ground, because the dashboard shows them as they are.
    """
    data = ReportData(results, comparison)
    figures = {}
    for panels in (*anytime_panels(data, _POINTS), *recommendation_panels(data)):
        for figure in panels.figures:
            figure.update_layout(
                title={"text": panels.title, "x": 0.02},
                margin={"t": 90},
                paper_bgcolor="white",
                plot_bgcolor="white",
                font={"color": "#1f2328"},
            )
            figures[f"tuneoff-{panels.name}"] = figure
    return figures
