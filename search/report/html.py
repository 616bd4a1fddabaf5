"""The report as one HTML page that needs no network: ``page.html``, filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup
from plotly import graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.figures.base import Panels, arm_colours
from tuneoff.search.report.tables import finding_tables, verdict_tables
from tuneoff.search.report.wording import caveats, how_to_read, outcome, title

_LONG: Final = 12  # rows; a table with more is folded


def html(data: ReportData) -> str:
    """The whole page, plotly.js included where there are figures.

    Every text is escaped by the template; only what plotly makes is inserted as it is, and the
    figures escape the names that they show.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    panels = all_panels(data)
    return environment.get_template("page.html").render(
        title=title(data.results),
        comparison=data.comparison,
        outcome=outcome(data.comparison),
        caveats=caveats(data.comparison),
        verdict_tables=verdict_tables(data.comparison),
        panels=panels,
        drawn={one.name: _drawn(one) for one in panels},
        finding_tables=finding_tables(data.results),
        how_to_read=how_to_read(data),
        colours=arm_colours(data.results.arms),
        long=_LONG,
        plotlyjs=Markup(get_plotlyjs()) if panels else "",
    )


def _drawn(panels: Panels) -> list[Markup]:
    return [_div(f"figure-{panels.name}-{i}", one) for i, one in enumerate(panels.figures)]


def _div(name: str, figure: go.Figure) -> Markup:
    """An element with this id in which plotly draws the figure."""
    return Markup(
        to_html(
            figure,
            full_html=False,
            include_plotlyjs=False,
            default_height=f"{figure.layout.height or 420}px",
            config={"responsive": True, "displaylogo": False, "displayModeBar": False},
            div_id=name,
        )
    )
