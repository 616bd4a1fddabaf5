"""What the models of curve-gp arms predicted: for each arm its maps, forecasts and coverage."""

from __future__ import annotations

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels, arm_colours
from tuneoff.search.report.figures.coverage import coverage_panels
from tuneoff.search.report.figures.forecasts import forecast_panels
from tuneoff.search.report.figures.predicted_maps import map_panels


def prediction_panels(data: ReportData) -> tuple[Panels, ...]:
    """The panels of each prediction, arm by arm."""
    colours = arm_colours(data.results.arms)
    return tuple(
        panels
        for i, prediction in enumerate(data.predictions)
        for panels in (
            map_panels(data, prediction, f"maps-{i}"),
            forecast_panels(
                prediction, colours[prediction.arm], f"forecasts-{i}", data.results.metric
            ),
            coverage_panels(
                prediction, colours[prediction.arm], f"coverage-{i}", data.results.metric
            ),
        )
    )
