"""Figures of many trials leave out what nobody could tell from the rest, and say so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.learning import learning_panels
from tuneoff.search.report.figures.parameters import parameter_panels
from tuneoff.search.report.figures.thinning import (
    HEIGHT,
    LAYERS,
    WIDTH,
    thinned_curves,
    thinned_marks,
)
from tuneoff.search.report.html import html
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, Recommendation, Step, StudyResults, TrialCurve

ARMS = ("bayes", "random")


def data(trials: int) -> ReportData:
    """Two arms in one repeat; each recommends the worst of its trials."""
    rng = np.random.default_rng(0)
    curves = []
    for number in range(trials):
        epochs = int(rng.choice([1, 3, 9]))
        end = 0.1 + 0.3 * rng.random()
        curves.append(
            TrialCurve(
                ARMS[number % 2],
                0,
                number // 2,
                "complete" if epochs == 9 else "pruned",
                {name: float(10 ** rng.uniform(-4, 0)) for name in ("lr", "decay", "momentum")},
                {n: end + 0.3 * math.exp(-n) + 0.01 * rng.random() for n in range(1, epochs + 1)},
            )
        )
    runs = []
    for arm in ARMS:
        worst = max((c for c in curves if c.arm == arm), key=lambda c: min(c.errors.values()))
        found = Recommendation(worst.number, worst.params, 0.4)
        steps = (Step(9, worst.number, 9, 0.4, True),)
        runs.append(ArmRun(arm, 0, 9, 9, 1.0, {"complete": 1}, steps, found))
    results = StudyResults("many", ARMS, 1, 9, 0.9, tuple(runs))
    return ReportData(results, compare(results), curves)


@pytest.mark.slow
def test_the_page_of_20000_trials_has_less_than_three_megabytes() -> None:
    assert len(html(data(20_000))) < 3_000_000


def test_of_few_trials_each_is_drawn_and_nothing_is_said() -> None:
    few = data(12)
    (parameters,), (learning,) = parameter_panels(few), learning_panels(few)
    for figure in parameters.figures:
        assert sum(len(trace.x) for trace in figure.data) == 12
    gaps = sum(list(trace.x).count(None) for figure in learning.figures for trace in figure.data)
    assert gaps == 12
    assert "left out" not in parameters.caption + learning.caption


@pytest.mark.slow
def test_what_is_left_out_is_counted_in_the_caption() -> None:
    many = data(4000)
    (parameters,), (learning,) = parameter_panels(many), learning_panels(many)
    marks = sum(len(trace.x) for figure in parameters.figures for trace in figure.data)
    curves = sum(list(trace.x).count(None) for figure in learning.figures for trace in figure.data)
    assert 1000 < marks < 12_000
    assert 100 < curves < 4000
    assert f"some are left out: {marks:,} of 12,000 are drawn." in parameters.caption
    assert f"some are left out: {curves:,} of 4,000 are drawn." in learning.caption


@pytest.mark.slow
def test_a_recommended_curve_is_never_left_out() -> None:
    many = data(4000)
    for figure, run in zip(learning_panels(many)[0].figures, many.results.runs, strict=True):
        assert run.recommendation is not None
        bold = next(trace for trace in figure.data if trace.name == "recommended")
        assert f"{run.arm}/0#{run.recommendation.trial}, " in bold.text[0]


@pytest.mark.slow
def test_a_mark_is_left_out_only_beside_one_that_is_preferred() -> None:
    rng = np.random.default_rng(1)
    x, y, rank = rng.random((3, 3000))
    pixels = 5
    kept = thinned_marks(list(x), list(y), list(rank), pixels)
    assert kept == sorted(kept)
    assert len(kept) < 3000
    for i in set(range(3000)) - set(kept):
        near = [
            j
            for j in kept
            if abs(x[i] - x[j]) * WIDTH < pixels and abs(y[i] - y[j]) * HEIGHT < pixels
        ]
        assert min(rank[j] for j in near) < rank[i]


def test_a_curve_is_left_out_only_where_others_pass() -> None:
    usual = [[(1, 0.5), (2, 0.4), (3, 0.3)]] * (LAYERS + 3)
    odd = [[(1, 0.5), (2, 0.4), (3, 0.9)], [(2, 0.1)], []]
    kept = thinned_curves([*usual, *odd])
    assert kept == [*range(LAYERS), LAYERS + 3, LAYERS + 4]
