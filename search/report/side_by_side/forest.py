"""The figure of several studies: each study's difference with its interval, and the pooled one."""

from __future__ import annotations

from typing import Final

from plotly import graph_objects as go

from tuneoff.search.report.figures.base import (
    FAINT,
    GREY,
    Panels,
    arm_colours,
    blank,
    shown,
    transparent,
)
from tuneoff.search.results.side_by_side.records import Entry, PooledRow, SideBySide
from tuneoff.search.results.side_by_side.sentences import quality_word, studies

_ROW: Final = 34  # pixels of a line
_LONGEST: Final = 20  # letters of a name beside the axis


def forest_panels(found: SideBySide) -> tuple[Panels, ...]:
    """One forest plot for each baseline that some study has been compared with."""
    every = [found.reference, *found.baselines]
    made = []
    for column, row in enumerate(found.pooled):
        entries = [
            (one.name, one.entries[column])
            for one in found.rows
            if one.entries[column].mean is None
            or one.entries[column].metric.kind == row.metric.kind
        ]
        if not any(entry.mean is not None for _, entry in entries):
            continue
        colour = arm_colours(every)[found.reference]
        made.append(
            Panels(
                name=f"forest-{column}",
                title=f"{found.reference} against {row.baseline}, study by study",
                caption="Each line is a study: the mean difference and the interval that decides in"
                f" it. Right of zero {found.reference} is better. The diamond is the pooled"
                " difference, as wide as its interval; the thin line through it is where one more"
                " study like these is expected. Squares grow with the weight in the pooled"
                f" difference.{_band_words(row)}{_cut_words(row, entries)}",
                figures=(_forest(found.reference, row, entries, colour),),
                finding=_finding(found.reference, row, [entry for _, entry in entries]),
            )
        )
    return tuple(made)


def _finding(reference: str, row: PooledRow, entries: list[Entry]) -> str:
    """What is seen in this figure."""
    known = [
        (entry.low, entry.high)
        for entry in entries
        if entry.low is not None and entry.high is not None
    ]
    right = sum(low > 0 for low, _ in known)
    left = sum(high < 0 for _, high in known)
    seen = (
        f"Of {len(known)} intervals, {_none(right)} {_lie(right)} wholly right of zero, where"
        f" {reference} is better, and {_none(left)} wholly left of it."
    )
    if row.margin is not None:
        within = sum(-row.margin <= low and high <= row.margin for low, high in known)
        count = _none(within).capitalize()
        seen += f" {count} {_lie(within)} within the grey band, where no difference matters."
    if row.low is None or row.high is None:
        return seen
    where = "right of zero" if row.low > 0 else "left of zero" if row.high < 0 else "across zero"
    return f"{seen} The diamond of all of them lies {where}."


def _none(count: int) -> str:
    return str(count) if count else "none"


def _lie(count: int) -> str:
    return "lies" if count < 2 else "lie"


def _band_words(row: PooledRow) -> str:
    if row.margin is None:
        return ""
    around = f"±{row.metric.plain(row.margin)}{row.metric.points}"
    return f" Within the grey band ({around}) the two count as equally good."


def _cut_words(row: PooledRow, entries: list[tuple[str, Entry]]) -> str:
    *_, cut = _range(row, entries)
    return " What is wider than the figure goes on beyond its edges." if cut else ""


def _forest(
    reference: str, row: PooledRow, entries: list[tuple[str, Entry]], colour: str
) -> go.Figure:
    count = len(entries) + (row.mean is not None)
    figure = blank(f"{shown(_cut(reference))} better by{row.metric.in_points}", "")
    figure.update_layout(height=110 + _ROW * count, showlegend=False, margin={"t": 12})
    labels: list[str] = []
    for place, (name, entry) in enumerate(entries):
        labels.append(shown(_cut(name)))
        if entry.mean is None:
            figure.add_annotation(
                xref="paper", x=0.5, y=place, text="no answer yet", showarrow=False,
                font={"size": 12},
            )  # fmt: skip
            continue
        _add_study(figure, place, name, entry, colour)
    if row.mean is not None:
        labels.append(f"<b>all {studies(len(row.studies))}</b>")
        _add_pooled(figure, len(entries), row, colour)
    if row.margin is not None:
        band = row.metric.factor * row.margin
        figure.add_vrect(x0=-band, x1=band, fillcolor=FAINT, line_width=0, layer="below")
    figure.add_vline(x=0, line={"color": GREY, "width": 1}, layer="below")
    low, high, _ = _range(row, entries)
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(
        tickvals=list(range(count)), ticktext=labels, range=[count - 0.5, -0.5], showgrid=False
    )
    return figure


def _add_study(figure: go.Figure, place: int, name: str, entry: Entry, colour: str) -> None:
    assert entry.mean is not None  # else there is nothing to draw
    metric = entry.metric
    said = f"{shown(name)}: {metric.difference(entry.mean)}{metric.points}"
    if entry.low is not None and entry.high is not None:
        said += f" ({metric.span(entry.low, entry.high)})"
        figure.add_scatter(
            x=[metric.factor * entry.low, metric.factor * entry.high],
            y=[place, place],
            mode="lines",
            line={"color": colour, "width": 2},
            hoverinfo="skip",
        )
    hollow = entry.weight is None
    figure.add_scatter(
        x=[metric.factor * entry.mean],
        y=[place],
        mode="markers",
        marker={
            "symbol": "square-open" if hollow else "square",
            "size": 9 if hollow else 8 + 14 * (entry.weight or 0.0) ** 0.5,
            "color": colour,
        },
        text=[f"{said}, {quality_word(entry.quality)}"],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_pooled(figure: go.Figure, place: int, row: PooledRow, colour: str) -> None:
    assert row.mean is not None
    assert row.low is not None
    assert row.high is not None
    metric = row.metric
    if row.predicted_low is not None and row.predicted_high is not None:
        figure.add_scatter(
            x=[metric.factor * x for x in (row.predicted_low, row.predicted_high)],
            y=[place, place],
            mode="lines",
            line={"color": colour, "width": 1, "dash": "dot"},
            text=[f"one more study: {metric.span(row.predicted_low, row.predicted_high)}"] * 2,
            hovertemplate="%{text}<extra></extra>",
        )
    around = metric.span(row.low, row.high)
    low, mean, high = (metric.factor * x for x in (row.low, row.mean, row.high))
    figure.add_scatter(
        x=[low, mean, high, mean, low],
        y=[place, place - 0.25, place, place + 0.25, place],
        mode="lines",
        fill="toself",
        fillcolor=transparent(colour, 0.55),
        line={"color": colour, "width": 1},
        text=[f"pooled: {metric.difference(row.mean)}{metric.points} ({around})"] * 5,
        hovertemplate="%{text}<extra></extra>",
    )


def _range(row: PooledRow, entries: list[tuple[str, Entry]]) -> tuple[float, float, bool]:
    """Ends of the axis in points, and whether they cut the pooled interval or the prediction.

    Studies are seen whole; a pooled interval of few studies may be a hundred times as wide.
    """
    ends = [0.0, *(() if row.margin is None else (-row.margin, row.margin))]
    for _, entry in entries:
        ends += [x for x in (entry.low, entry.mean, entry.high) if x is not None]
    width = max(ends) - min(ends) or 0.01
    least, most = min(ends) - 0.6 * width, max(ends) + 0.6 * width
    wide = [x for x in (row.low, row.high, row.predicted_low, row.predicted_high) if x is not None]
    left, right = min([*ends, *wide]), max([*ends, *wide])
    cut = left < least or right > most
    pad = 0.04 * width
    factor = row.metric.factor
    return factor * (max(left, least) - pad), factor * (min(right, most) + pad), cut


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
