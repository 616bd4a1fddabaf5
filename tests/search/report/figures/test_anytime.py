"""Error against epochs: the axis that shows the curves best, and a sentence that is true."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from drawn_studies import report_data
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.anytime import anytime_finding, anytime_panels
from tuneoff.search.report.figures.axes import choose_scale, log_ticks, spread_labels
from tuneoff.search.report.figures.readings import main_arms, under_way
from tuneoff.search.results.anytime import anytime, spending_grid


class TestScale:
    def test_even_errors_are_shown_as_they_are(self) -> None:
        assert choose_scale([0.2, 0.25, 0.3, 0.35, 0.4], 0.01).kind == "linear"

    def test_errors_of_several_magnitudes_have_a_log_axis(self) -> None:
        assert choose_scale([0.9, 0.3, 0.1, 0.03, 0.01], None).kind == "log"

    def test_curves_that_end_close_together_show_how_far_they_are_above_the_best(self) -> None:
        values = [0.30, 0.21, 0.204, 0.2034, 0.2021, 0.2014, 0.2008]
        scale = choose_scale(values, 0.2)
        assert scale.kind == "regret"
        assert scale.value(0.21) == pytest.approx(1.0)
        assert scale.title("validation error") == "validation error above 20.00%, points (log)"

    @given(st.lists(st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.9]), max_size=8))
    def test_a_log_axis_only_where_there_are_logarithms(self, values: list[float]) -> None:
        scale = choose_scale(values, min(values, default=0.0))
        if scale.is_log:
            assert all(scale.value(value) > 0 for value in values)

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
    def test_labels_keep_their_order_and_distance(self, places: list[float]) -> None:
        moved = spread_labels(places, 0.05)
        ranked = [moved[i] for i in sorted(range(len(places)), key=lambda i: places[i])]
        assert all(b - a > 0.049 for a, b in pairwise(ranked))
        assert all(-0.01 <= place <= 1.01 for place in moved)

    @given(st.floats(-4, 2), st.floats(0.02, 5))
    def test_ticks_are_few_and_on_the_axis(self, low: float, width: float) -> None:
        ticks = log_ticks(low, low + width)
        assert 2 <= len(ticks) <= 8


@pytest.mark.slow
@given(report_data())
@settings(max_examples=60, deadline=None)
def test_the_sentence_is_true(data: ReportData) -> None:
    said = anytime_finding(data)
    grid = spending_grid(data.results, 10**6)
    curves = [
        c
        for arm in main_arms(data)
        if (c := anytime(data.results, arm, grid, intervals=False)).spent
    ]
    assert bool(said) is bool(curves)
    if not said:
        return
    assert ("so far" in said) is under_way(data)
    ends = {f"{100 * curve.mean[-1]:.2f}%" for curve in curves[:2]}
    for end in ends:
        assert end in said
    if len(curves) > 1 and "Both come" not in said:
        worse, better = sorted(curves[:2], key=lambda curve: -curve.mean[-1])
        after = [int(n) for n in re.findall(r"after (\d+) epoch", said)]
        for curve, epochs in zip((worse, better), after, strict=True):
            at = dict(zip(curve.spent, curve.mean, strict=True))
            assert at[epochs] <= worse.mean[-1]
            assert all(error > worse.mean[-1] for n, error in at.items() if n < epochs)


@pytest.mark.slow
@given(report_data())
@settings(max_examples=40, deadline=None)
def test_what_the_caption_calls_the_axis_is_what_is_drawn(data: ReportData) -> None:
    for panels in anytime_panels(data):
        axis = panels.figures[0].layout.yaxis
        assert (axis.type == "log") is ("logarithmic" in panels.caption)
        low, high = axis.range
        assert low < high
