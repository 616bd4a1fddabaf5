"""Learning curves: runs that ended differently look different, and the sentence counts them."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from drawn_studies import STATES, report_data
from hypothesis import given, settings

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.axes import Scale
from tuneoff.search.report.figures.base import measured
from tuneoff.search.report.figures.learning import axis_top, learning_finding, learning_panels
from tuneoff.search.report.figures.readings import under_way
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, StudyResults, TrialCurve

SAID = {
    "complete": r"came to (?:its|their) end",
    "pruned": "(?:was|were) pruned",
    "paused": "(?:is|are) paused",
    "running": "(?:is|are) still running",
    "diverged": "diverged",
    "failed": "failed",
}


def of(trials: list[TrialCurve]) -> ReportData:
    arms = tuple(dict.fromkeys(trial.arm for trial in trials))
    runs = tuple(ArmRun(arm, 0, 9, 9, 1.0, {}, (), None) for arm in arms)
    results = StudyResults("s", arms, 1, 4, 0.9, runs)
    return ReportData(results, compare(results), trials)


@pytest.mark.slow
@given(report_data())
@settings(max_examples=60, deadline=None)
def test_the_sentence_is_true(data: ReportData) -> None:
    trials, said = measured(data.trials), learning_finding(data)
    assert bool(said) is bool(trials)
    if not trials:
        return
    counts = Counter(trial.state for trial in trials)
    assert said.startswith(f"Of {len(trials)} run")
    for state, pattern in SAID.items():
        found = re.search(rf"(\d+) {pattern}", said)
        assert (int(found.group(1)) if found else 0) == counts[state]
    lowest = min(error for trial in trials for error in trial.errors.values())
    assert f"the lowest error, {100 * lowest:.2f}%" in said
    assert ("so far" in said) is under_way(data)


def test_states_have_marks_of_their_own() -> None:
    states = [state for state in STATES if state != "waiting"]
    trials = [
        TrialCurve("bayes", 0, n, state, {}, {1: 0.5, 2: 0.3 + n / 100})
        for n, state in enumerate(states)
    ]
    panels = learning_panels(of(trials))[0]
    symbols = [trace.marker.symbol for trace in panels.figures[0].data if trace.mode == "markers"]
    assert len(set(symbols)) == len(symbols) == len(states)
    for name in ("came to the end", "pruned", "paused", "still running", "diverged", "failed"):
        assert f" {name} (1)" in panels.caption


def test_axes_are_shared_and_few_wild_errors_do_not_flatten_the_rest() -> None:
    trials = [
        TrialCurve(arm, 0, n, "complete", {}, {1: 0.30 + n / 1000, 2: 0.25 + n / 1000})
        for arm in ("bayes", "hand")
        for n in range(40)
    ]
    trials.append(TrialCurve("hand", 0, 99, "complete", {}, {1: 0.99, 2: 0.98}))
    panels = learning_panels(of(trials))[0]
    ranges = {tuple(figure.layout.yaxis.range) for figure in panels.figures}
    assert len(ranges) == 1
    axis = panels.figures[0].layout.yaxis
    if axis.type != "log":
        assert axis.range[1] < 50
        assert "some errors lie above, 1 curve wholly." in panels.caption


def test_the_axis_holds_all_where_nothing_is_pressed_together() -> None:
    assert axis_top([0.1, 0.2, 0.3, 0.4], Scale("linear")) == 0.4
    assert axis_top([0.0] * 5, Scale("linear")) == 0.0
    assert axis_top([0.1, 0.12] * 50 + [0.9], Scale("linear")) == 0.12


@pytest.mark.slow
def test_of_fifty_arms_the_main_ones_are_drawn() -> None:
    trials = [TrialCurve(f"arm-{n}", 0, 0, "complete", {}, {1: 0.5}) for n in range(50)]
    panels = learning_panels(of(trials))[0]
    assert len(panels.figures) == 9
    assert "Shown: 9 of 50 arms" in panels.caption
