"""The report as one HTML page that needs no network: ``page.html``, filled in."""

from __future__ import annotations

from plotly.offline import get_plotlyjs

from tuneoff.search.report.browse import browsed, browsed_json
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.figures.base import arm_colours
from tuneoff.search.report.figures.why import why_panels
from tuneoff.search.report.first_screen import first_screen
from tuneoff.search.report.sections import sections
from tuneoff.search.report.template import (
    element_names,
    environment,
    figures_json,
    packed,
    script_hash,
    source,
)
from tuneoff.search.report.terms import terms
from tuneoff.search.report.wording import caveats


def html(data: ReportData) -> str:
    """The whole page, plotly.js included where there are figures.

    Every text is escaped by the template; only compressed figures and tables are inserted as they
    are. The figures escape the names that they show, and the script makes text of the tables'.
    The page's policy lets no script run but those that stand in it from here, and no request go
    out.
    """
    why = [panels for panels in why_panels(data) if panels.figures]
    panels = [*why, *all_panels(data)]
    found = sections(data, panels[len(why) :])
    tables = browsed(found)
    script, plotly = source("page.js"), get_plotlyjs() if panels else ""
    return (
        environment()
        .get_template("page.html")
        .render(
            screen=first_screen(data),
            why=why,
            terms=terms(data),
            notes=dict(caveats(data.comparison)).get("Keep in mind", []),
            sections=found,
            browsed=tables,
            names={one.name: element_names(one) for one in panels},
            colours=arm_colours(data.results.arms),
            styles=source("styles.css"),
            script=script,
            hashes=" ".join(map(script_hash, filter(None, (script, plotly)))),
            plotly=packed(plotly) if plotly else "",
            figures=packed(figures_json(panels)) if panels else "",
            tables=packed(browsed_json(tables)) if tables else "",
        )
    )
