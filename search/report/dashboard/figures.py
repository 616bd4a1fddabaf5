"""The report's main figures, small enough for the database, as optuna-dashboard shows them."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import Final

from plotly import graph_objects as go

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.anytime import anytime_panels
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.figures.learning import learning_panels
from tuneoff.search.report.figures.ledger import ledger_panels
from tuneoff.search.report.figures.recommendations import recommendation_panels
from tuneoff.search.report.figures.why import why_panels

_POINTS: Final = 60  # of a curve
_LEARNING: Final = 800  # points of the learning curves of an arm: 35 kB
_WIDTH: Final = 48  # letters of a line: a card is half as wide as the page
_TITLES: Final = {
    ("why", 0): "Why: by how much each pick is better",
    ("why", 1): "Why: what it took to be as good",
    ("ledger", 0): "What the epochs went into",
    ("ledger", 1): "What the time went into",
}


def main_panels(data: ReportData) -> tuple[Panels, ...]:
    """The report's main figures, in its order."""
    return (
        *why_panels(data),
        *anytime_panels(data, _POINTS),
        *recommendation_panels(data),
        *learning_panels(data, _LEARNING),
        *ledger_panels(data),
    )


def dashboard_figures(main: Iterable[Panels]) -> dict[str, go.Figure]:
    """The figures by name.

    They carry their own titles and a white ground, because the dashboard shows them as they are.
    """
    figures = {}
    for panels in main:
        for i, figure in enumerate(panels.figures):
            title = _TITLES.get((panels.name, i), panels.title)
            figure.update_layout(
                title={"text": "<br>".join(wrap(title, _WIDTH)), "x": 0.02},
                margin={"t": 100},
                height=None,  # the card's own
                paper_bgcolor="white",
                plot_bgcolor="white",
                font={"color": "#1f2328"},
            )
            _wrap_axes(figure)
            figures[f"{panels.name}-{i}" if i else panels.name] = figure
    return figures


def _wrap_axes(figure: go.Figure) -> None:
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        if axis.title.text:
            axis.title.text = "<br>".join(wrap(axis.title.text, _WIDTH))
