"""Sentences about a model's predictions, against what they are read from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuneoff.metric import ERROR
from tuneoff.search.report.figures.model_findings import (
    coverage_finding,
    forecast_finding,
    map_finding,
)
from tuneoff.search.results.predictions.records import Axis, Coverage, Forecast, Map


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=6))
def test_errors_within_the_interval_are_counted(errors: list[float]) -> None:
    epochs = tuple(range(2, 2 + len(errors)))
    low, high = (0.2,) * len(errors), (0.6,) * len(errors)
    measured = dict(zip(epochs, errors, strict=True))
    said = forecast_finding(
        [Forecast(0, "complete", 1, 3, epochs, low, low, high, low, high, {1: 0.9, **measured})],
        ERROR,
    )
    judged = [error for error in errors if error == error]
    held = sum(0.2 <= error <= 0.6 for error in judged)
    if not judged:
        assert said == ""
        return
    assert said.startswith(f"Of {len(judged)} error")
    assert f" {held} lay within the 90% interval." in said


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_coverage_is_called_by_its_bounds(held: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    said = coverage_finding([Coverage(3, 20, (0.5, 0.9), (0, held), (0, low), (20, high))])
    assert said.startswith(f"Of 20 runs predicted after epoch 3, {held} ended within their 90%")
    assert ("too narrow" in said) is (held < low)
    assert ("too wide" in said) is (held > high)
    assert coverage_finding([]) == ""


def test_the_lowest_cell_of_a_map_is_named() -> None:
    x = Axis("lr", (), (0.001, 0.01, 0.1), True)
    y = Axis("schedule", ("cosine", "step"), (), False)
    found = Map(x, y, ((0.3, 0.2), (0.25, 0.11)), ((0, 0), (0, 0)))
    assert map_finding([found], ERROR) == (
        "On the first map the model predicts the lowest error, 11.00%, at lr 0.01 to 0.1 and"
        " schedule step."
    )
    assert map_finding([], ERROR) == ""
