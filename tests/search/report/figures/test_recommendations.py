"""The picks' errors: the sentence names the lowest mean, and claims no more than that."""

from __future__ import annotations

from statistics import fmean

import pytest
from drawn_studies import report_data
from hypothesis import given, settings

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.readings import names
from tuneoff.search.report.figures.recommendations import (
    recommendation_finding,
    recommendation_panels,
    recommended_errors,
)


@pytest.mark.slow
@given(report_data())
@settings(max_examples=60, deadline=None)
def test_the_sentence_is_true(data: ReportData) -> None:
    _, errors = recommended_errors(data)
    means = {
        arm: fmean(known)
        for arm, found in errors.items()
        if (known := [error for error in found if error is not None])
    }
    said = recommendation_finding(data)
    assert bool(said) is bool(means)
    assert bool(recommendation_panels(data)) is bool(means)
    if not means:
        return
    lowest = min(means.values())
    assert f"{100 * lowest:.2f}%" in said
    if "comes next" in said:
        first = said.split(" have the lowest")[0].removeprefix("The picks of ")
        arm = next(arm for arm, name in names(data).items() if name.short == first)
        assert means[arm] == lowest
        assert "Whether that is more than luck, only the comparison says." in said
    assert "significant" not in said
