"""What all figures share: an arm has the same colour and symbol in every one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Final

from plotly import graph_objects as go

from tuneoff.search.report.tables import Table
from tuneoff.search.results.records import TrialCurve

# Okabe and Ito's colour-blind-safe palette, without the black and the yellow that vanish on a
# dark or a light page.
_PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
_SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
GREY: Final = "rgba(128, 128, 128, 0.55)"
FAINT: Final = "rgba(128, 128, 128, 0.22)"


@dataclass(frozen=True, slots=True)
class Panels:
    """Figures that are shown together under one heading.

    Attributes:
        name: valid in an HTML id, different from that of all other panels.
        title: the heading, as text.
        caption: what is shown, as text.
        figures: one fills the width, several stand in a grid. Plotly makes mark-up of what it is
            given: names from a study are escaped (``html.escape``) before they get here.
        table: shown below the figures.
        key: True if the figures need a key to the arms' colours.
    """

    name: str
    title: str
    caption: str
    figures: tuple[go.Figure, ...]
    table: Table | None = None
    key: bool = False


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm, as "#rrggbb"."""
    return {arm: _PALETTE[i % len(_PALETTE)] for i, arm in enumerate(arms)}


def arm_symbols(arms: Sequence[str]) -> dict[str, str]:
    """A plotly symbol for each arm."""
    return {arm: _SYMBOLS[i % len(_SYMBOLS)] for i, arm in enumerate(arms)}


def transparent(colour: str, alpha: float) -> str:
    """A colour "#rrggbb" with this opacity, 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def blank(x: str, y: str, *, height: int = 420) -> go.Figure:
    """An empty figure with our axes; its ground is the page's, light or dark."""
    axis = {"gridcolor": FAINT, "zeroline": False, "linecolor": GREY, "automargin": True}
    return go.Figure(
        layout={
            "template": go.layout.Template(),  # the stock one is 7 kB in every figure
            "height": height,
            "margin": {"l": 56, "r": 12, "t": 34, "b": 48},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 13, "family": "system-ui, DejaVu Sans, sans-serif"},
            "xaxis": {**axis, "title": {"text": x}},
            "yaxis": {**axis, "title": {"text": y}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "hoverlabel": {"align": "left"},
        }
    )


def percents(errors: Iterable[float]) -> list[float]:
    """Rounded to a ten-thousandth of a point, which keeps figures small in the database."""
    return [round(100 * error, 4) for error in errors]


def measured(trials: Sequence[TrialCurve]) -> list[TrialCurve]:
    """Trials that have an error, without the NaN that a diverging one may have reported."""
    finite = (
        replace(trial, errors={n: e for n, e in trial.errors.items() if math.isfinite(e)})
        for trial in trials
    )
    return [trial for trial in finite if trial.errors]


def label(trial: TrialCurve) -> str:
    """A trial's name and state, for a figure."""
    return f"{escape(trial.arm)}/{trial.repeat}#{trial.number}, {escape(trial.state)}"
