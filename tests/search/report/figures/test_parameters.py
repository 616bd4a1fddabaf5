"""Hyperparameters against error: every kind is drawn, what matters comes first, and it is true."""

from __future__ import annotations

import math
import random
import re

import pytest
from drawn_studies import report_data
from hypothesis import given, settings

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import measured
from tuneoff.search.report.figures.parameter_finding import best_runs
from tuneoff.search.report.figures.parameters import MOST, explained, parameter_panels
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, StudyResults, TrialCurve


def of(trials: list[TrialCurve]) -> ReportData:
    arms = tuple(dict.fromkeys(trial.arm for trial in trials))
    runs = tuple(ArmRun(arm, 0, 9, 9, 1.0, {}, (), None) for arm in arms)
    results = StudyResults("s", arms, 1, 1, 0.9, runs)
    return ReportData(results, compare(results), trials)


def of_twenty(trials: int = 80) -> ReportData:
    rng = random.Random(0)
    found = []
    for n in range(trials):
        params = {f"p{i:02}": rng.random() for i in range(20)}
        error = 0.1 + 0.8 * abs(params["p13"] - 0.5) + 0.01 * rng.random()
        found.append(TrialCurve("bayes", 0, n, "complete", params, {1: error}))
    return of(found)


@pytest.mark.slow
@given(report_data())
@settings(max_examples=30, deadline=None)
def test_the_sentence_is_true(data: ReportData) -> None:
    for panels in parameter_panels(data):
        full = [trial for trial in measured(data.trials) if trial.state == "complete"]
        said = panels.finding
        if len(full) <= 3:
            assert not said
            continue
        best = best_runs(full)
        worst = max(best[-1].errors[4], best[0].errors[4])
        assert sum(t.errors[4] < worst for t in full) <= 2
        assert f"of {len(full)} full runs" in said
        found = re.search(r"lr from ([\d.e+-]+) to ([\d.e+-]+)", said)
        if found:
            low, high = float(found.group(1)), float(found.group(2).rstrip("."))
            lrs = [trial.params["lr"] for trial in best]
            assert math.isclose(low, min(lrs))
            assert math.isclose(high, max(lrs))


@pytest.mark.slow
@given(report_data())
@settings(max_examples=30, deadline=None)
def test_every_kind_of_parameter_that_varies_is_drawn(data: ReportData) -> None:
    trials = measured(data.trials)
    varying = {
        name
        for name in ("lr", "layers", "nesterov", "schedule")
        if len({trial.params[name] for trial in trials}) > 1
    }
    panels = parameter_panels(data)
    drawn = {figure.layout.xaxis.title.text for one in panels for figure in one.figures}
    assert drawn == varying
    for figure in (figure for one in panels for figure in one.figures):
        assert "<i>flat" not in figure.to_json()


def test_what_matters_comes_first_and_the_rest_is_counted() -> None:
    data = of_twenty()
    panels = parameter_panels(data)[0]
    assert len(panels.figures) == MOST
    assert panels.figures[0].layout.xaxis.title.text == "p13"
    assert f"Shown: {MOST} of 20 hyperparameters" in panels.caption
    assert "p13 from 0." in panels.finding
    assert explained(data.trials, "p13") > 0.5 > 0.3 > explained(data.trials, "p01")
