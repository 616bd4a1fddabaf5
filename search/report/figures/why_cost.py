"""What share of the baseline's epochs the reference needs to be as good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from plotly import graph_objects as go

from tuneoff.search.report.figures.base import GREY, arm_colours, shown, transparent
from tuneoff.search.report.figures.why_rows import (
    TOP,
    WORDS,
    add_diamond,
    add_interval,
    anchor_at,
    base_of,
    label_row,
    rows_figure,
    words,
)
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.comparison import Cost, PairwiseComparison
from tuneoff.search.results.numbers import share, share_span

_LEAST, _MOST = 150.0, 300.0  # percent at the end of the axis
_BAR: Final = 0.5  # the middle of the bar within a row
_NAME: Final = 26


def cost_figure(
    pairs: Sequence[PairwiseComparison], arms: Sequence[str], names: Mapping[str, ArmName]
) -> go.Figure:
    """One row for each pair: a bar as long as the share, and its interval."""
    one = len(pairs) == 1
    whose = names[pairs[0].baseline].possessive if one else "the other arm's"
    figure = rows_figure(f"epochs needed, % of {shown(whose, _NAME)}", len(pairs))
    axis = 0.0, cost_end([pair.cost for pair in pairs])
    colour = arm_colours(arms)[pairs[0].reference]
    for row, pair in enumerate(pairs):
        base = base_of(row, len(pairs))
        if pair.cost is None:
            words(figure, "not known yet", 0.0, base + _BAR, anchor="left")
        else:
            _add_cost(figure, pair.cost, base, axis, colour)
        if not one:
            label_row(
                figure, f"to be as good as {shown(names[pair.baseline].short, _NAME)}", base + 1
            )
    figure.add_shape(
        type="line",
        x0=100,
        x1=100,
        y0=0,
        y1=len(pairs) + TOP,
        line={"width": 1.5, "color": GREY, "dash": "dash"},
    )
    for text, side in (("← cheaper ", "right"), (" dearer →", "left")):
        figure.add_annotation(
            text=text,
            x=100,
            y=1.0,
            yref="paper",
            xanchor=side,
            yanchor="bottom",
            showarrow=False,
            font={"size": 12},
        )
    step = 25 if axis[1] <= 160 else 50
    ticks = list(range(0, math.floor(axis[1]) + 1, step))
    figure.update_xaxes(range=list(axis), tickvals=ticks, ticktext=[f"{tick}%" for tick in ticks])
    return figure


def cost_end(costs: Sequence[Cost | None]) -> float:
    """Percent at the end of the axis: 100% is on it, and what is finite, up to 300%."""
    ends = [
        100 * value
        for cost in costs
        if cost is not None
        for value in (cost.share, cost.low, cost.high)
        if value is not None and math.isfinite(value)
    ]
    return min(_MOST, max(_LEAST, 1.12 * max(ends, default=0.0)))


def cost_words(cost: Cost) -> str:
    """The share and its interval: "67% (31% to never)"."""
    if cost.low is None or cost.high is None:
        return f"{share(cost.share)}, one repeat"
    if cost.never and cost.price == "never":
        return "never within its own budget"
    around = share_span(cost.low, cost.high)
    return share(cost.share) if around == share(cost.share) else f"{share(cost.share)} ({around})"


def _add_cost(
    figure: go.Figure, cost: Cost, base: float, axis: tuple[float, float], colour: str
) -> None:
    end = min(100 * cost.share, axis[1])
    said = cost_words(cost)
    figure.add_shape(
        type="rect",
        x0=0,
        x1=end,
        y0=base + _BAR - 0.14,
        y1=base + _BAR + 0.14,
        line={"width": 1 if cost.never else 0, "color": colour, "dash": "dot"},
        fillcolor=transparent(colour, 0.12 if cost.never else 0.35),
        layer="below",
    )
    if cost.low is not None and cost.high is not None and math.isfinite(cost.low):
        add_interval(figure, (100 * cost.low, 100 * cost.high), base + _BAR, colour, axis, said)
    if cost.never:
        figure.add_scatter(
            x=[axis[1]],
            y=[base + _BAR],
            mode="markers",
            marker={"symbol": "triangle-right", "size": 15, "color": colour},
            cliponaxis=False,
            hovertemplate=f"{said}<extra></extra>",
        )
    else:
        add_diamond(figure, end, base + _BAR, colour, said)
    place = end if not cost.never else axis[1] / 2
    words(figure, said, place, base + WORDS, anchor=anchor_at(place, *axis), bold=True)
