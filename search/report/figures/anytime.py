"""The incumbent's error against the epochs spent."""

from __future__ import annotations

from html import escape

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels, arm_colours, blank, percents, transparent
from tuneoff.search.results.anytime import AnytimeCurve, anytime, spending_grid


def anytime_panels(data: ReportData, points: int = 200) -> tuple[Panels, ...]:
    """Each arm's mean incumbent with a band; dotted from the arm's end to that of the last arm.

    Args:
        points: at most so many on each curve.
    """
    results = data.results
    figure = blank("epochs spent (pruned and lost attempts included)", "validation error, %")
    grid = spending_grid(results, points)
    curves = [curve for arm in results.arms if (curve := anytime(results, arm, grid)).spent]
    colours = arm_colours(results.arms)
    end = max((curve.spent[-1] for curve in curves), default=0)
    for curve in curves:
        colour = colours[curve.arm]
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
    if late:
        # On a scale that shows the first few trials too, the rest would lie flat at the bottom.
        pad = 0.05 * (max(late) - min(late)) + 0.002
        figure.update_yaxes(range=percents([min(late) - pad, max(late) + pad]))
    panels = Panels(
        name="anytime",
        title="Error reached after each epoch spent",
        caption="The validation error of each arm's incumbent, the configuration that it would"
        " recommend at that point: mean over repeats, with a bootstrap 95% interval of the mean."
        " Dotted: the arm has ended, and its last recommendation stands. Lower is better. The"
        " error axis is scaled to what follows the first tenth of the epochs.",
        figures=(figure,) if curves else (),
    )
    return (panels,)


def _band(curve: AnytimeCurve) -> tuple[tuple[float, ...], ...]:
    """(low, high), or nothing where a single repeat leaves no interval."""
    return (curve.low, curve.high) if curve.low else ()
