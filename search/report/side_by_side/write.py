"""Several studies as three files: a page, Markdown, and JSON that holds all that the two show."""

from __future__ import annotations

from pathlib import Path

from plotly.offline import get_plotlyjs

from tuneoff.metric import ERROR
from tuneoff.search.report.documents import document
from tuneoff.search.report.folder import write_folder
from tuneoff.search.report.markdown import folded, table_block, text
from tuneoff.search.report.side_by_side.forest import forest_panels
from tuneoff.search.report.side_by_side.tables import others_table, spread_table, studies_table
from tuneoff.search.report.tables import Table
from tuneoff.search.report.template import (
    element_names,
    environment,
    figures_json,
    packed,
    script_hash,
    source,
)
from tuneoff.search.results.side_by_side.records import SideBySide
from tuneoff.search.results.side_by_side.sentences import studies


def write_side_by_side(found: SideBySide, out: Path) -> Path:
    """Write studies.html, studies.md and studies.json into the folder ``out``.

    Args:
        found: what they show.
        out: made if it is not there.

    Returns:
        The path of studies.html.

    Raises:
        UserError: ``out`` cannot be written to.
    """
    write_folder(
        out,
        {
            "studies.json": as_json(found),
            "studies.md": markdown(found),
            "studies.html": html(found),
        },
    )
    return out / "studies.html"


def as_json(found: SideBySide) -> str:
    """All that is shown, and what it was computed from."""
    return document("studies", found)


def markdown(found: SideBySide) -> str:
    """The page without its figures."""
    blocks = [f"# {text(title(found))}", f"**{text(found.answer)}**"]
    blocks += [text(found.by_study)] if found.by_study else []
    blocks += [text(row.spread) for row in found.pooled[:1] if row.spread]
    blocks += [text(f"{row.sentence} {row.spread}") for row in found.pooled[1:]]
    blocks += [text(key(found)), table_block(studies_table(found))]
    if words := shared_words(found):
        blocks.append(text(words))
    if found.notes:
        blocks += ["Keep in mind:", _bullets(found.notes)]
    for table in _more_tables(found):
        blocks += [f"## {text(table.heading)}", table_block(table)]
    blocks += folded("How studies are pooled", [_bullets(found.rule)])
    return "\n\n".join(blocks) + "\n"


def html(found: SideBySide) -> str:
    """The whole page, plotly.js included where there are figures."""
    panels, table = forest_panels(found), studies_table(found)
    script, plotly = source("page.js"), get_plotlyjs() if panels else ""
    quality = found.pooled[0].quality if found.pooled else None
    names = {row.name for row in found.rows}
    return (
        environment()
        .get_template("studies.html")
        .render(
            title=title(found),
            found=found,
            tone=quality or "none",
            key=key(found),
            table=table,
            together={i for i, row in enumerate(table.rows) if row[0] not in names},
            shared=shared_words(found),
            more_tables=_more_tables(found),
            panels=panels,
            names={one.name: element_names(one) for one in panels},
            styles=source("styles.css"),
            script=script,
            hashes=" ".join(map(script_hash, filter(None, (script, plotly)))),
            plotly=packed(plotly) if plotly else "",
            figures=packed(figures_json(panels)) if panels else "",
        )
    )


def title(found: SideBySide) -> str:
    """The page's title."""
    names = ", ".join(row.name for row in found.rows[:4])
    more = f" and {len(found.rows) - 4} more" if len(found.rows) > 4 else ""
    return f"{studies(len(found.rows))} side by side: {names}{more}"


def key(found: SideBySide) -> str:
    """What the numbers in sentences and table are."""
    metric = found.pooled[0].metric if found.pooled else ERROR
    unit = "Points are percent of the images. " if metric.percent else ""
    return (
        f"{unit}In brackets: 95% intervals, or more where there are several baselines. Plus means"
        f" that {found.reference} has the {metric.lower} {metric.bare}."
    )


def shared_words(found: SideBySide) -> str:
    """What all studies have in common; empty if that is nothing."""
    if not found.shared:
        return ""
    return f"The same in all: {', '.join(f'{k.lower()} {v}' for k, v in found.shared.items())}."


def _more_tables(found: SideBySide) -> list[Table]:
    return [table for table in (spread_table(found), others_table(found)) if table.rows]


def _bullets(items: tuple[str, ...]) -> str:
    return "\n".join(f"- {text(item)}" for item in items)
