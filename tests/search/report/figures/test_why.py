"""The picture of the first screen: what it draws is what decided, and its sentence is true."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from drawn_studies import report_data
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.metric import ERROR
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.why import MOST, why_finding, why_panels
from tuneoff.search.report.figures.why_cost import cost_end, cost_words
from tuneoff.search.report.figures.why_picks import picks_axis, spread_dots
from tuneoff.search.results.compare import compare, names_of
from tuneoff.search.results.comparison import Cost, PairwiseComparison
from tuneoff.search.results.records import ArmFacts, ArmRun, Recommendation, Step, StudyResults

FACTS = {
    "bayes": ArmFacts("Bayesian optimisation"),
    "hand": ArmFacts("hand tuning"),
}


def study(ours: list[float], theirs: list[float]) -> ReportData:
    """Two arms with these test errors, repeat by repeat, of picks trained twice."""

    def run(arm: str, repeat: int, error: float) -> ArmRun:
        pick = Recommendation(
            1, {"lr": f"{arm}{repeat}"}, error, (error,), (error - 0.0005, error + 0.0005)
        )
        steps = (Step(9, 0, 9, error + 0.1, True), Step(18, 1, 9, error, True))
        return ArmRun(arm, repeat, 18, 18, 1.0, {"complete": 2}, steps, pick)

    runs = [
        run(arm, repeat, error)
        for arm, errors in (("bayes", ours), ("hand", theirs))
        for repeat, error in enumerate(errors)
    ]
    results = StudyResults("s", ("bayes", "hand"), len(ours), 9, 0.9, tuple(runs), facts=FACTS)
    return ReportData(results, compare(results))


def finding(data: ReportData) -> str:
    return why_panels(data)[0].finding


class TestSentences:
    @pytest.mark.slow
    def test_better(self) -> None:
        said = finding(study([0.10, 0.11, 0.12, 0.10], [0.20, 0.22, 0.23, 0.21]))
        assert said.startswith(
            "In all 4 repeats Bayesian optimisation has the lower test error; the interval of the"
            " mean difference (+"
        )
        assert "lies wholly on the side of Bayesian optimisation." in said

    def test_worse(self) -> None:
        said = finding(study([0.20, 0.22, 0.23, 0.21], [0.10, 0.11, 0.12, 0.10]))
        assert "lies wholly on the side of hand tuning." in said
        assert "was never as good on validation as hand tuning in the end." in said

    def test_one_repeat(self) -> None:
        assert finding(study([0.10], [0.20])).startswith(
            "In the only repeat, the pick of Bayesian optimisation has a test error 10.00 points"
            " lower than that of hand tuning; that may be luck."
        )

    def test_undecided(self) -> None:
        said = finding(study([0.10, 0.20, 0.12], [0.11, 0.15, 0.13]))
        assert "In 2 of 3 repeats" in said
        assert "allows either to be better." in said


@pytest.mark.slow
@given(report_data(least_arms=2))
@settings(max_examples=60, deadline=None)
def test_claims_are_true_of_the_data(data: ReportData) -> None:
    panels = why_panels(data)
    assert bool(panels) is bool(data.comparison.pairs)
    names = names_of(data.results)
    for pair in data.comparison.pairs:
        said = why_finding(pair, names, ERROR)
        _check_counts(said, pair)
        assert ("lies wholly on the side" in said) is (pair.quality in ("better", "worse"))
        assert ("counts as equally good" in said) is (pair.quality == "equivalent")
        if "allows either to be better" in said:
            assert pair.low is not None
            assert pair.high is not None
            assert pair.low <= 0 <= pair.high
            assert ERROR.span(pair.low, pair.high) in said
        if pair.cost is not None and pair.cost.never:
            assert "never as good" in said or "not been as good" in said or "has not been" in said
        if pair.early:
            assert "so far" in said


def _check_counts(said: str, pair: PairwiseComparison) -> None:
    found = re.match(r"In (\d+) of (\d+) repeats.*?in (\d+) ", said, re.DOTALL)
    if said.startswith("In all"):
        assert len(pair.repeats) in (pair.wins, pair.losses)
        return
    if found is None:
        assert len(pair.repeats) == 1 or pair.same == len(pair.repeats)
        return
    wins, count, losses = map(int, found.groups())
    assert wins == sum(d > 0 for d in pair.differences)
    assert losses == sum(d < 0 for d in pair.differences)
    assert count == len(pair.differences)


@pytest.mark.slow
@given(report_data(least_arms=2))
@settings(max_examples=25, deadline=None)
def test_every_dot_and_mean_is_on_the_picture(data: ReportData) -> None:
    pairs = data.comparison.pairs[:MOST]
    if not pairs:
        return
    low, high = picks_axis(pairs)
    assert low < 0 < high
    for pair in pairs:
        assert all(low <= 100 * value <= high for value in (*pair.differences, pair.mean))
    figures = why_panels(data)[0].figures
    dots = [t for t in figures[0].data if t.text is not None]
    assert [len(trace.x) for trace in dots] == [len(pair.differences) for pair in pairs]
    assert all(figure.layout.height == 300 for figure in figures)
    assert "<b>bold" not in figures[0].to_json()


@given(st.lists(st.floats(0, 1), max_size=120))
def test_dots_stay_within_their_room(places: list[float]) -> None:
    moved = spread_dots(places, 0.02, 0.17)
    assert all(abs(by) <= 0.17 + 1e-9 for by in moved)
    near: dict[tuple[int, float], int] = {}
    for place, by in zip(places, moved, strict=True):
        key = math.floor(place / 0.02), round(by, 9)
        near[key] = near.get(key, 0) + 1
    assert all(count == 1 for count in near.values())


COST = Cost(0.5, 0.3, 0.9, 50.0, 100.0, 0.1)


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (COST, "50% (30 to 90%)"),
        (replace(COST, high=math.inf), "50% (30% to never)"),
        (replace(COST, low=None, high=None), "50%, one repeat"),
        (replace(COST, share=math.inf, high=math.inf), "never (30% to never)"),
        (replace(COST, share=math.inf, low=math.inf, high=math.inf), "never within its own budget"),
        (replace(COST, low=0.5, high=0.5), "50%"),
    ],
)
def test_cost_in_words(cost: Cost, said: str) -> None:
    assert cost_words(cost) == said
    assert 150 <= cost_end([cost, None]) <= 300


def test_nothing_yet_is_no_picture() -> None:
    runs = tuple(ArmRun(arm, 0, 12, 0, 0.0, {}, (), None) for arm in ("bayes", "hand"))
    results = StudyResults("new", ("bayes", "hand"), 1, 9, 0.9, runs)
    assert why_panels(ReportData(results, compare(results))) == ()
