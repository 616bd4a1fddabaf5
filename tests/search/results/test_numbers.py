"""Differences as text."""

from __future__ import annotations

import pytest

from tuneoff.metric import ERROR


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-0.0024, 0.0038, "-0.24 to +0.38"),
        (-0.5883, -0.00003, "-58.83 to just below 0"),
        (0.00003, 0.5883, "just above 0 to +58.83"),
        (-0.01, 0.0, "-1.00 to +0.00"),
        (-0.01, -0.00006, "-1.00 to -0.01"),
    ],
)
def test_the_end_of_an_interval_keeps_its_side_of_zero(low: float, high: float, text: str) -> None:
    assert ERROR.span(low, high) == text
