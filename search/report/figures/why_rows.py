"""Rows, direction words and interval marks that the two figures of ``why`` share."""

from __future__ import annotations

from typing import Final

from plotly import graph_objects as go

from tuneoff.search.report.figures.base import blank

HEIGHT: Final = 300
TOP: Final = 0.32  # of a row, above the rows: for the words inside the plot
LINE, WORDS, DOTS = 0.36, 0.1, 0.66
"""Heights within a row of what is drawn in it, 0 to 1 from below."""


def rows_figure(x: str, rows: int) -> go.Figure:
    """An empty figure with so many rows, row 0 on top; x is the title of its axis."""
    figure = blank(x, "", height=HEIGHT)
    figure.update_layout(showlegend=False, margin={"l": 16, "r": 12, "t": 40, "b": 46})
    figure.update_xaxes(fixedrange=True, title_standoff=6)
    figure.update_yaxes(
        range=[0, rows + TOP],
        showticklabels=False,
        showgrid=False,
        fixedrange=True,
        automargin=False,
    )
    for row in range(1, rows):
        figure.add_shape(
            type="line",
            xref="paper",
            x0=0,
            x1=1,
            y0=row,
            y1=row,
            line={"width": 1, "color": "rgba(128, 128, 128, 0.3)"},
        )
    return figure


def base_of(row: int, rows: int) -> float:
    """The lower edge of a row on the axis."""
    return float(rows - 1 - row)


def words(
    figure: go.Figure, text: str, x: float, y: float, *, anchor: str = "center", bold: bool = False
) -> None:
    """Text inside the plot, at (x, y) of its axes."""
    figure.add_annotation(
        text=f"<b>{text}</b>" if bold else text,
        x=x,
        y=y,
        xanchor=anchor,
        yanchor="middle",
        showarrow=False,
        font={"size": 12},
    )


def label_row(figure: go.Figure, text: str, top: float) -> None:
    """A row's name, in its upper left corner."""
    figure.add_annotation(
        text=text,
        xref="paper",
        x=0,
        y=top - 0.02,
        xanchor="left",
        yanchor="top",
        showarrow=False,
        font={"size": 12},
    )


def anchor_at(x: float, low: float, high: float) -> str:
    """Where text of half the plot's width must be anchored at x to stay inside low to high."""
    place = (x - low) / (high - low)
    return "left" if place < 0.28 else "right" if place > 0.72 else "center"


def add_interval(
    figure: go.Figure,
    ends: tuple[float, float],
    y: float,
    colour: str,
    axis: tuple[float, float],
    hover: str,
) -> None:
    """A thick line, cut at the axis's ends, where an arrow says that it goes on."""
    low, high = (min(axis[1], max(axis[0], end)) for end in ends)
    figure.add_scatter(
        x=[low, high],
        y=[y, y],
        mode="lines+markers",
        line={"color": colour, "width": 5},
        marker={
            "symbol": [
                "triangle-left" if ends[0] < axis[0] else "line-ns",
                "triangle-right" if ends[1] > axis[1] else "line-ns",
            ],
            "size": 12,
            "color": colour,
            "line": {"width": 3, "color": colour},
        },
        cliponaxis=False,
        hovertemplate=f"{hover}<extra></extra>",
    )


def add_diamond(figure: go.Figure, x: float, y: float, colour: str, hover: str) -> None:
    """The mark of a mean or a share."""
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={
            "symbol": "diamond",
            "size": 15,
            "color": colour,
            "line": {"width": 2, "color": "#ffffff"},
        },
        cliponaxis=False,
        hovertemplate=f"{hover}<extra></extra>",
    )
