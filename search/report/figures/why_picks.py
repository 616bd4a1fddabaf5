"""The differences between paired picks, repeat by repeat, with the interval that decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from plotly import graph_objects as go

from tuneoff.metric import ERROR, Metric
from tuneoff.search.report.figures.base import FAINT, GREY, STRONG, arm_colours, rounded, shown
from tuneoff.search.report.figures.why_rows import (
    DOTS,
    LINE,
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
from tuneoff.search.results.comparison import PairwiseComparison
from tuneoff.search.results.records import TEST

_WIDTH: Final = 320  # pixels of the plot on a phone: dots that lie on one another there move apart
_ROOM: Final = 0.17  # of a row's height, above and below the middle of the dots
_NAME: Final = 26  # characters of an arm's name


def picks_figure(
    pairs: Sequence[PairwiseComparison],
    arms: Sequence[str],
    names: Mapping[str, ArmName],
    metric: Metric,
) -> go.Figure:
    """One row for each pair: a dot for each repeat, the mean, its interval, and the band."""
    measure = metric.on("test" if pairs[0].measure == TEST else "validation")
    figure = rows_figure(f"difference in {measure}{metric.in_points}", len(pairs))
    axis = picks_axis(pairs, metric)
    colours = arm_colours(arms)
    for row, pair in enumerate(pairs):
        base = base_of(row, len(pairs))
        _add_margin(figure, pair, base, axis, row == 0, metric)
        _add_pair(figure, pair, base, axis, colours, metric)
        if len(pairs) > 1:
            label_row(figure, f"against {shown(names[pair.baseline].short, _NAME)}", base + 1)
    figure.add_shape(
        type="line", x0=0, x1=0, y0=0, y1=len(pairs), line={"width": 1.5, "color": GREY}
    )
    ours = shown(names[pairs[0].reference].short, _NAME)
    theirs = shown(names[pairs[0].baseline].short, _NAME) if len(pairs) == 1 else "the other arm"
    for text, x, side in (
        (f"← {theirs}<br>better", 0, "left"),
        (f"{ours} →<br>better", 1, "right"),
    ):
        figure.add_annotation(
            text=text,
            align=side,
            xref="paper",
            yref="paper",
            x=x,
            y=1.0,
            xanchor=side,
            yanchor="bottom",
            showarrow=False,
            font={"size": 12},
        )
    ticks = _ticks(*axis)
    figure.update_xaxes(
        range=list(axis), tickvals=ticks, ticktext=[f"{tick:+g}" if tick else "0" for tick in ticks]
    )
    return figure


def picks_axis(pairs: Sequence[PairwiseComparison], metric: Metric = ERROR) -> tuple[float, float]:
    """Differences at both ends of the axis: zero, all dots, means and bands are on it.

    Wide intervals, as of two repeats, and bands that are far wider than all else, go on beyond it:
    else the dots would be one.
    """
    factor = metric.factor
    values = [factor * d for pair in pairs for d in (*pair.differences, pair.mean)]
    core = max(map(abs, values)) or 0.5
    margins = [factor * pair.margin for pair in pairs if pair.margin is not None]
    core = max(core, *(min(margin, 6 * core) for margin in margins), 0.0)
    ends = [
        factor * end for pair in pairs if pair.low is not None for end in (pair.low, pair.high or 0)
    ]
    reach = 3 * core
    band = [side * min(margin, 6 * core) for margin in margins for side in (-1, 1)]
    every = [0.0, *values, *band, *(min(reach, max(-reach, end)) for end in ends)]
    low, high = min(every), max(every)
    pad = 0.07 * (high - low) or 0.5
    return low - (pad if low < 0 else 2 * pad), high + (pad if high > 0 else 2 * pad)


def spread_dots(places: Sequence[float], size: float, room: float) -> list[float]:
    """How far each dot is moved up or down so that all can be seen.

    Args:
        places: of the dots' centres, in shares of the axis, 0 to 1.
        size: of a dot, as a share of the axis.
        room: the farthest that a dot is moved.
    """
    columns: dict[int, list[int]] = {}
    for i in sorted(range(len(places)), key=lambda i: places[i]):
        columns.setdefault(math.floor(places[i] / size), []).append(i)
    moved = [0.0] * len(places)
    tallest = max(map(len, columns.values()), default=1)
    step = min(0.11, 2 * room / max(1, tallest - 1))
    for column in columns.values():
        for place, i in enumerate(column):
            moved[i] = step * (place - (len(column) - 1) / 2)
    return moved


def _add_margin(
    figure: go.Figure,
    pair: PairwiseComparison,
    base: float,
    axis: tuple[float, float],
    is_top: bool,
    metric: Metric,
) -> None:
    if pair.margin is None:
        return
    half = metric.factor * pair.margin
    figure.add_shape(
        type="rect",
        x0=max(-half, axis[0]),
        x1=min(half, axis[1]),
        y0=base,
        y1=base + 1 + (TOP if is_top else 0),
        line={"width": 0},
        fillcolor=FAINT,
        layer="below",
    )
    if is_top:
        words(figure, "as good", 0.0, base + 1 + TOP / 2, anchor=anchor_at(0.0, *axis))


def _add_pair(
    figure: go.Figure,
    pair: PairwiseComparison,
    base: float,
    axis: tuple[float, float],
    colours: Mapping[str, str],
    metric: Metric,
) -> None:
    count = len(pair.differences)
    size = 11 if count <= 12 else 9 if count <= 40 else 6
    values = [metric.factor * d for d in pair.differences]
    places = [(value - axis[0]) / (axis[1] - axis[0]) for value in values]
    moved = spread_dots(places, size / _WIDTH, _ROOM)
    figure.add_scatter(
        x=rounded(values),
        y=rounded(base + DOTS + by for by in moved),
        mode="markers",
        text=[
            f"repeat {r}: {metric.difference(d)}"
            for r, d in zip(pair.repeats, pair.differences, strict=True)
        ],
        marker={
            "size": size,
            "opacity": 0.85,
            "color": [_side(pair, d, colours) for d in pair.differences],
            "symbol": ["circle" if d > 0 else "square" if d < 0 else "circle-open" for d in values],
        },
        cliponaxis=False,
        hovertemplate="%{text}<extra></extra>",
    )
    colour = STRONG
    if pair.quality in ("better", "worse"):
        colour = colours[pair.reference if pair.quality == "better" else pair.baseline]
    said = metric.difference(pair.mean)
    if pair.low is not None and pair.high is not None:
        around = metric.span(pair.low, pair.high)
        bounded = not metric.says_nothing(pair.low, pair.high)
        said = f"{said} ({around if bounded else 'no bounds yet'})"
        ends = metric.factor * pair.low, metric.factor * pair.high
        add_interval(figure, ends, base + LINE, colour, axis, f"interval: {around}")
    mean = metric.factor * pair.mean
    add_diamond(figure, mean, base + LINE, colour, f"mean: {metric.difference(pair.mean)}")
    if count == 1:
        said = f"{said}, one repeat"
    words(figure, said, mean, base + WORDS, anchor=anchor_at(mean, *axis), bold=True)


def _side(pair: PairwiseComparison, difference: float, colours: Mapping[str, str]) -> str:
    if difference == 0:
        return STRONG
    return colours[pair.reference if difference > 0 else pair.baseline]


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high, zero among them."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= raw * 0.99)
    return [
        float(f"{i * step:.6g}") for i in range(math.ceil(low / step), math.floor(high / step) + 1)
    ]
