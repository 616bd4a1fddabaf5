"""The report's figures, in plotly. An arm has the same colour and symbol in every one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import chain
from typing import Any, Final

from plotly import graph_objects as go

from tuneoff.search.results.anytime import anytime, spending_grid
from tuneoff.search.results.records import (
    TEST,
    VALIDATION,
    AnytimeCurve,
    ArmSummary,
    Comparison,
    StudyResults,
    TrialCurve,
)

# Okabe and Ito's colour-blind-safe palette, without the black and the yellow that vanish on a
# dark or a light page.
_PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
_SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
GREY: Final = "rgba(128, 128, 128, 0.55)"
FAINT: Final = "rgba(128, 128, 128, 0.22)"


@dataclass(frozen=True, slots=True)
class Panels:
    """Figures that are shown together under one heading; ``name`` is valid in an HTML id."""

    name: str
    title: str
    caption: str
    figures: tuple[go.Figure, ...]


def all_panels(
    results: StudyResults, comparison: Comparison, trials: Sequence[TrialCurve]
) -> tuple[Panels, ...]:
    return (
        anytime_panels(results),
        recommendation_panels(results, comparison),
        _parameter_panels(results, trials),
        _learning_panels(results, trials),
    )


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    return {arm: _PALETTE[i % len(_PALETTE)] for i, arm in enumerate(arms)}


def _symbols(arms: Sequence[str]) -> dict[str, str]:
    return {arm: _SYMBOLS[i % len(_SYMBOLS)] for i, arm in enumerate(arms)}


def transparent(colour: str, alpha: float) -> str:
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


def anytime_panels(results: StudyResults, points: int = 200) -> Panels:
    """Mean incumbent and its band for each arm, dotted on to the furthest arm's end."""
    figure = blank("epochs spent (pruned and lost attempts included)", "validation error, %")
    grid = spending_grid(results, points)
    curves = [curve for arm in results.arms if (curve := anytime(results, arm, grid)).spent]
    end = max((curve.spent[-1] for curve in curves), default=0)
    for curve in curves:
        colour = arm_colours(results.arms)[curve.arm]
        common = {"x": curve.spent, "legendgroup": curve.arm, "hoverinfo": "skip"}
        edge = {"width": 0, "shape": "hv", "color": colour}
        band = {"mode": "lines", "line": edge, "showlegend": False, **common}
        fill: dict[str, str] = {}
        for bound in _band(curve):
            figure.add_scatter(y=percents(bound), **fill, **band)
            fill = {"fill": "tonexty", "fillcolor": transparent(colour, 0.16)}
        figure.add_scatter(
            x=curve.spent,
            y=percents(curve.mean),
            mode="lines",
            name=escape(curve.arm),
            legendgroup=curve.arm,
            line={"color": colour, "width": 2.5, "shape": "hv"},
            hovertemplate="%{y:.2f}% after %{x} epochs",
        )
        if curve.spent[-1] < end:
            figure.add_scatter(
                x=[curve.spent[-1], end],
                y=percents([curve.mean[-1]] * 2),
                mode="lines",
                line={"color": colour, "width": 1.5, "dash": "dot"},
                showlegend=False,
                legendgroup=curve.arm,
                hoverinfo="skip",
            )
    late = [
        edge
        for curve in curves
        for spent, *edges in zip(curve.spent, curve.mean, *_band(curve), strict=True)
        for edge in edges
        if spent >= 0.1 * end
    ]
    if late:  # the first few trials would press everything that matters into the bottom
        pad = 0.05 * (max(late) - min(late)) + 0.002
        figure.update_yaxes(range=percents([min(late) - pad, max(late) + pad]))
    return Panels(
        name="anytime",
        title="Error reached after each epoch spent",
        caption="The validation error of the configuration that each arm would recommend at that"
        " point: mean over repeats, with a bootstrap 95% interval of the mean. Dotted: the arm"
        " has ended and its last recommendation stands. Lower is better. The error axis is"
        " fitted to what follows the first tenth.",
        figures=(figure,) if curves else (),
    )


def _band(curve: AnytimeCurve) -> tuple[tuple[float, ...], ...]:
    """(low, high), or nothing where a single repeat leaves no interval."""
    return (curve.low, curve.high) if curve.low else ()


def recommendation_panels(results: StudyResults, comparison: Comparison) -> Panels:
    """Each repeat's picks, joined by a line across the arms, with the mean of each arm."""
    tested = all(
        run.recommendation.test_error is not None for run in results.runs if run.recommendation
    )
    measure = TEST if tested else VALIDATION
    errors = {a.arm: a.test_errors if tested else a.validation_errors for a in comparison.arms}
    figure = blank("", f"{measure} of the pick, %", height=440)
    lines: list[tuple[float | None, float | None]] = []
    for repeat in range(results.repeats):
        found = ((i, errors[arm][repeat]) for i, arm in enumerate(results.arms))
        lines += [(i, 100 * error) for i, error in found if error is not None]
        lines.append((None, None))
    figure.add_scatter(
        x=[x for x, _ in lines],
        y=[y for _, y in lines],
        mode="lines",
        line={"color": GREY, "width": 1},
        showlegend=False,
        hoverinfo="skip",
    )
    for index, arm in enumerate(comparison.arms):
        _add_recommendations(figure, results, index, arm, errors[arm.arm])
    figure.update_xaxes(
        tickvals=list(range(len(results.arms))),
        ticktext=[escape(arm) for arm in results.arms],
        range=[-0.5, len(results.arms) - 0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=False)
    any_pick = any(arm.repeats for arm in comparison.arms)
    after = " after full training" if tested else "; test errors are not there for every pick yet"
    return Panels(
        name="recommendations",
        title=f"{measure.capitalize()} of each repeat's pick",
        caption=f"One dot for each repeat: the {measure} of what the arm recommended{after}."
        " Lines join the arms' picks of the same repeat; bars are means.",
        figures=(figure,) if any_pick else (),
    )


def _add_recommendations(
    figure: go.Figure,
    results: StudyResults,
    index: int,
    arm: ArmSummary,
    errors: Sequence[float | None],
) -> None:
    found = [(repeat, error) for repeat, error in enumerate(errors) if error is not None]
    if not found:
        return
    colour = arm_colours(results.arms)[arm.arm]
    figure.add_scatter(
        x=[index] * len(found),
        y=percents([error for _, error in found]),
        mode="markers",
        name=escape(arm.arm),
        text=[f"repeat {repeat}" for repeat, _ in found],
        marker={"color": colour, "size": 9, "symbol": _symbols(results.arms)[arm.arm]},
        hovertemplate="%{text}: %{y:.2f}%",
    )
    mean = 100 * sum(error for _, error in found) / len(found)
    figure.add_scatter(
        x=[index - 0.16, index + 0.16],
        y=[mean, mean],
        mode="lines",
        name=f"{escape(arm.arm)}, mean",
        line={"color": colour, "width": 4},
        hovertemplate="mean: %{y:.2f}%",
    )


def _parameter_panels(results: StudyResults, trials: Sequence[TrialCurve]) -> Panels:
    """One figure for each numeric hyperparameter: its value against the trial's last error."""
    with_errors = _measured(trials)
    names = dict.fromkeys(chain.from_iterable(trial.params for trial in with_errors))
    figures = []
    for name in names:
        having = [trial for trial in with_errors if _is_number(trial.params.get(name))]
        values = {trial.params[name] for trial in having}
        if len(values) > 1:
            figures.append(_parameter_figure(results, name, having))
            if min(values) > 0 and max(values) / min(values) >= 100:
                figures[-1].update_xaxes(type="log", dtick=1, exponentformat="power")
    return Panels(
        name="parameters",
        title="Hyperparameters against validation error",
        caption="One mark for each trial: filled, a full search run; hollow, a run that was"
        " stopped early or diverged, with its last error.",
        figures=tuple(figures),
    )


def _parameter_figure(results: StudyResults, name: str, trials: Sequence[TrialCurve]) -> go.Figure:
    figure = blank(escape(name), "last validation error, %", height=320)
    for arm in results.arms:
        colour, symbol = arm_colours(results.arms)[arm], _symbols(results.arms)[arm]
        for full in (False, True):
            mine = [t for t in trials if t.arm == arm and (t.state == "complete") is full]
            if not mine:
                continue
            figure.add_scatter(
                x=[trial.params[name] for trial in mine],
                y=percents([_last(trial) for trial in mine]),
                mode="markers",
                name=escape(arm),
                text=[_label(trial) for trial in mine],
                marker={
                    "color": colour,
                    "size": 7 if full else 6,
                    "opacity": 0.8 if full else 0.45,
                    "symbol": symbol if full else f"{symbol}-open",
                },
                hovertemplate="%{text}<br>%{x:.4g}: %{y:.2f}%<extra></extra>",
            )
    figure.update_layout(showlegend=False, margin={"t": 12})
    return figure


def _learning_panels(results: StudyResults, trials: Sequence[TrialCurve]) -> Panels:
    """One figure for each arm: every trial's curve, those of the picks in bold."""
    with_errors = _measured(trials)
    every = [error for trial in with_errors for error in trial.errors.values()]
    picks = {
        (run.arm, run.repeat, run.recommendation.trial)
        for run in results.runs
        if run.recommendation
    }
    figures = []
    for arm in results.arms:
        mine = [trial for trial in with_errors if trial.arm == arm]
        if not mine:
            continue
        figure = blank(f"epoch ({escape(arm)})", "validation error, %", height=340)
        colour = arm_colours(results.arms)[arm]
        for bold in (False, True):
            some = [t for t in mine if ((t.arm, t.repeat, t.number) in picks) is bold]
            figure.add_scatter(
                **_joined(some),
                mode="lines+markers",
                name="recommendations" if bold else "other trials",
                line={
                    "color": colour if bold else transparent(colour, 0.3),
                    "width": 2.5 if bold else 1,
                },
                marker={"size": 4 if bold else 3},
                hovertemplate="%{text}<br>epoch %{x}: %{y:.2f}%<extra></extra>",
            )
        pad = 0.04 * (max(every) - min(every)) + 0.002
        figure.update_yaxes(range=[100 * (min(every) - pad), 100 * (max(every) + pad)])
        figure.update_xaxes(range=[0.5, results.trial_epochs + 0.5])
        figure.update_layout(showlegend=False, margin={"t": 12})
        figures.append(figure)
    return Panels(
        name="learning",
        title="Learning curves",
        caption="Validation error after each epoch of every trial, by arm; bold: the picks of"
        " the repeats.",
        figures=tuple(figures),
    )


def _measured(trials: Sequence[TrialCurve]) -> list[TrialCurve]:
    """Trials that have an error, without the NaN that a diverging one may have reported."""
    finite = (
        replace(trial, errors={n: e for n, e in trial.errors.items() if math.isfinite(e)})
        for trial in trials
    )
    return [trial for trial in finite if trial.errors]


def _joined(trials: Sequence[TrialCurve]) -> dict[str, list[Any]]:
    """All curves as one trace with gaps: thousands of traces would stall a browser."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        epochs = sorted(trial.errors)
        x += [*epochs, None]
        y += [*percents([trial.errors[epoch] for epoch in epochs]), None]
        text += [_label(trial)] * (len(epochs) + 1)
    return {"x": x, "y": y, "text": text}


def percents(errors: Iterable[float]) -> list[float]:
    """Rounded to a ten-thousandth of a point, which keeps figures small in the database."""
    return [round(100 * error, 4) for error in errors]


def _last(trial: TrialCurve) -> float:
    return trial.errors[max(trial.errors)]


def _label(trial: TrialCurve) -> str:
    return f"{escape(trial.arm)}/{trial.repeat}#{trial.number}, {escape(trial.state)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
