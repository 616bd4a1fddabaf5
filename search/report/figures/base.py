"""What all figures share: an arm has the same colour and symbol in every one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Final

from plotly import graph_objects as go

from tuneoff.messages import printable
from tuneoff.search.report.figures.colours import arm_colours as arm_colours
from tuneoff.search.report.figures.colours import arm_dashes as arm_dashes
from tuneoff.search.report.figures.colours import arm_symbols as arm_symbols
from tuneoff.search.report.figures.colours import channels
from tuneoff.search.report.tables import Table
from tuneoff.search.results.records import TrialCurve

GREY: Final = "rgba(128, 128, 128, 0.55)"
STRONG: Final = "#808080"
"""Of marks that belong to no arm, and must be seen on a light and a dark page."""
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
        code: text that is shown as it is, below the table, and can be copied.
        finding: one sentence that reads these figures of this study, as text; empty if there is
            nothing to say.
    """

    name: str
    title: str
    caption: str
    figures: tuple[go.Figure, ...]
    table: Table | None = None
    key: bool = False
    finding: str = ""
    code: str = ""


def transparent(colour: str, alpha: float) -> str:
    """A colour "#rrggbb" with this opacity, 0 to 1."""
    red, green, blue = channels(colour)
    return f"rgba({red}, {green}, {blue}, {alpha})"


def shown(text: str, most: int = 200) -> str:
    """Foreign text as plotly shows it: no mark-up, one line, at most so many characters."""
    text = printable(text)
    # Quotes need no escape in text, and plotly would show theirs as they are.
    return escape(text if len(text) <= most else f"{text[: most - 1]}…", quote=False)


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
            "xaxis": {**axis, "title": {"text": x, "font": {"size": 13}}},
            "yaxis": {**axis, "title": {"text": y, "font": {"size": 13}}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "hoverlabel": {"align": "left"},
        }
    )


def rounded(values: Iterable[float]) -> list[float]:
    """Rounded to five digits, of which a figure shows four: a third of the size."""
    return [float(f"{value:.5g}") for value in values]


def measured(trials: Sequence[TrialCurve]) -> list[TrialCurve]:
    """Trials that have an error, without the NaN that a diverging one may have reported."""
    finite = (
        replace(trial, errors={n: e for n, e in trial.errors.items() if math.isfinite(e)})
        for trial in trials
    )
    return [trial for trial in finite if trial.errors]


def label(trial: TrialCurve) -> str:
    """A trial's name and state, for a figure."""
    return f"{shown(trial.arm)}/{trial.repeat}#{trial.number}, {shown(trial.state)}"
