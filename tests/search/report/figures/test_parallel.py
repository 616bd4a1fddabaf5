"""Parallel coordinates: lines within their axes, and a sentence that the runs bear out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.parallel import MOST_AXES, MOST_LINES, parallel_panels
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, StudyResults, TrialCurve


def data_of(trials: list[TrialCurve]) -> ReportData:
    runs = (ArmRun("a", 0, 9, 0, 0.0, {}, (), None),)
    results = StudyResults("s", ("a",), 1, 3, 0.9, runs)
    return ReportData(results, compare(results), trials)


runs = st.lists(
    st.tuples(
        st.floats(1e-5, 1.0), st.integers(0, 5),
        st.sampled_from(["sgd", "adam", "<b>x</b>", 1, None, True]),
        st.integers(0, 100), st.sampled_from(["complete", "complete", "complete", "pruned"]),
    ),
    max_size=60,
)  # fmt: skip


@pytest.mark.slow
@given(drawn=runs)
@settings(max_examples=60)
def test_lines_lie_on_their_axes_and_the_sentence_is_true(drawn: list[tuple]) -> None:  # type: ignore[type-arg]
    trials = [
        TrialCurve("a", 0, i, state, {"lr": lr, "k": k, "opt": opt}, {3: error / 100})
        for i, (lr, k, opt, error, state) in enumerate(drawn)
    ]
    full = sorted((t for t in trials if t.state == "complete"), key=lambda t: t.errors[3])
    panels = parallel_panels(data_of(trials))
    if len(full) < 10:
        assert panels == ()
    for one in panels:
        (figure,) = one.figures
        for trace in figure.data:
            assert all(y is None or 0 <= y <= 1 for y in trace.y)
        assert "<b>x" not in figure.to_json()
        best = max(3, round(0.1 * len(full)))
        assert one.finding.startswith(f"The {best} best of {len(full)} full runs, up to ")
        if " lr between " in one.finding:
            low, high = (
                one.finding.partition(" lr between ")[2].split(",")[0].split(":")[0].split(" and ")
            )
            values = [t.params["lr"] for t in full[:best]]
            assert float(low) <= min(values) * 1.01
            assert float(high) >= max(values) * 0.99


@pytest.mark.slow
def test_many_runs_and_many_hyperparameters_stay_small(
    make_data: Callable[..., ReportData],
) -> None:
    trials = [
        TrialCurve("bayes", 0, i, "complete", {f"p{j}": (i * (j + 3)) % 97 / 97 for j in range(20)},
                   {3: (i % 211) / 250})
        for i in range(20_000)
    ]  # fmt: skip
    (panels,) = parallel_panels(make_data(trials=trials))
    (figure,) = panels.figures
    assert sum(y is None for trace in figure.data for y in trace.y) <= MOST_LINES + 3
    assert len(figure.layout.xaxis.tickvals) == MOST_AXES + 1
    assert len(figure.to_json()) < 300_000
