"""The report's section on longer runs: sentences, tables and figures from records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tuneoff.metric import ERROR
from tuneoff.search.cli import summary
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.horizon import horizon_panels
from tuneoff.search.report.horizon import horizon_tables
from tuneoff.search.report.html import html
from tuneoff.search.report.markdown import markdown
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.results.horizon.findings import find
from tuneoff.search.results.horizon.records import HorizonFindings, HorizonRuns, Interval, Sampled
from tuneoff.search.results.records import ArmRun, StudyResults, TrialCurve

ARMS = ("bayes", "hand")


def sampled(i: int, arm: str, errors: Mapping[int, float]) -> Sampled:
    both = {epochs: (error,) for epochs, error in errors.items()}
    return Sampled(f"k{i}", {"lr": 0.01 * 2**i}, arm, i % 3, 1.0, 0.5, both, both)


def findings(baseline: str | None = "hand") -> HorizonFindings:
    rows = [sampled(i, ARMS[i % 2], {3: 0.5 + 0.01 * i, 30: 0.3 + 0.02 * i}) for i in range(8)]
    runs = HorizonRuns(
        horizons=(3, 30),
        population=40,
        sample=tuple(rows),
        arms=ARMS,
        baseline=baseline,
        picks={"bayes": {0: "k0", 1: "k2"}, "hand": {0: "k1", 1: "k1"}},
        log_parameters=("lr",),
        missing=0,
    )
    curves = [
        TrialCurve(
            "bayes", 0, i, "complete", {"lr": 0.1}, {1: 0.9, 2: 0.5 + i / 50, 3: 0.4 + i / 50}
        )
        for i in range(8)
    ]
    return find(runs, [*curves, TrialCurve("bayes", 0, 8, "pruned", {"lr": 0.1}, {1: 0.9})])


def results() -> StudyResults:
    runs = tuple(ArmRun(arm, 0, 9, 9, 1.0, {}, (), None) for arm in ARMS)
    return StudyResults("small", ARMS, 1, 3, 0.9, runs)


@pytest.fixture
def data() -> ReportData:
    return ReportData(results(), compare(results()), horizon=findings())


def test_an_end_of_an_interval_that_rounds_to_zero_keeps_its_side_in_the_table_too() -> None:
    found = findings()
    near = tuple(replace(pair, regret_interval=Interval(0.00003, 0.02)) for pair in found.pairs)
    table = horizon_tables(replace(found, pairs=near), ERROR)[0]
    assert "(just above 0 to +2.00)" in table.rows[0][5]


@pytest.mark.slow
def test_the_page_and_the_text_say_the_outcome_and_show_the_tables(data: ReportData) -> None:
    assert data.horizon is not None
    headings = (
        "How far a short horizon says what a long one does",
        "What each arm recommends, trained for longer",
        "Where the best configurations lie at each horizon",
    )
    for page in (html(data), markdown(data)):
        assert "Runs of 3 epochs rank configurations almost as runs of 30 do" in page
        assert "lead over hand changes by" in page
        for heading in headings:
            assert heading in page
    assert "Better than hand's by, points" in html(data).replace("&#39;", "'")


@pytest.mark.slow
def test_the_json_holds_all_of_it(tmp_path: Path, data: ReportData) -> None:
    write_report(data, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())["horizon"]
    assert content["pairs"][0]["spearman"] == pytest.approx(1)
    assert content["runs"]["sample"][0]["errors"] == {"3": [0.5], "30": [0.3]}
    assert content["curves"][0] == {
        "epoch": 1, "runs": 8, "stopped": 1, "spearman": None, "interval": None,
    }  # fmt: skip


def test_one_line_a_configuration_what_arms_recommend_on_top(data: ReportData) -> None:
    first, second = horizon_panels(data)
    figure, places = first.figures
    assert len(figure.data) == len(places.data) == 8
    assert sorted(line.y[0] for line in places.data) == list(range(1, 9))
    widths = [line.line.width for line in figure.data]
    assert widths == sorted(widths)
    assert widths.count(3) == 3
    assert list(figure.data[0].x) == [3, 30]
    assert first.key
    assert "8 of the 40 configurations" in first.caption
    assert "8 of 9" in second.caption
    assert list(second.figures[0].data[1].x) == [2]  # after epoch 1 all errors are equal


def test_names_from_a_study_are_no_mark_up(data: ReportData) -> None:
    assert data.horizon is not None
    assert data.horizon.runs is not None
    nasty = "<b>x</b>"
    sample = tuple(replace(one, arm=nasty) for one in data.horizon.runs.sample)
    changed = replace(data.horizon, runs=replace(data.horizon.runs, sample=sample))
    for figure in horizon_panels(replace(data, horizon=changed))[0].figures:
        assert all(nasty not in line.name + line.text[0] for line in figure.data)


def test_without_runs_there_is_no_figure_and_no_sentence(data: ReportData) -> None:
    for horizon in (None, find(None)):
        quiet = replace(data, horizon=horizon)
        assert horizon_panels(quiet) == ()
        assert "horizon" not in markdown(quiet)


def test_the_terminal_prints_the_sentences(
    data: ReportData, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert data.horizon is not None
    monkeypatch.setattr(summary, "console", Console(width=80))
    summary.print_summary(results(), data.comparison, data.horizon)
    said = " ".join(capsys.readouterr().out.split())
    assert "Runs of 3 epochs rank configurations almost as runs of 30 do" in said
    assert "No shift of lr" not in said
