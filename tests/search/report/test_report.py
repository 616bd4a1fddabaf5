"""The report: complete, escaped, readable by machines, and safe to write twice."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import re
from pathlib import Path

import pytest
from markupsafe import escape

from tuneoff.search.cli.console import PlainConsole
from tuneoff.search.cli.summary import answer, summary_table
from tuneoff.search.errors import UserError
from tuneoff.search.report.dashboard.figures import dashboard_figures, main_panels
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.markdown import markdown
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import (
    ArmRun,
    Confirmed,
    Ensemble,
    Member,
    Recommendation,
    Step,
    StudyResults,
    TrialCurve,
)

EPOCHS = 3
NASTY = '<script>alert("1")</script> & |x| `y` [z](http://example.org)'


def arm_run(arm: str, repeat: int, error: float, *, tested: bool = True) -> ArmRun:
    steps = (
        Step(EPOCHS, 0, EPOCHS, error + 0.1, True),
        Step(2 * EPOCHS - 1, 1, EPOCHS - 1, 0.8, False),
        Step(3 * EPOCHS - 1, 2, EPOCHS, error, True),
    )
    recommended = Recommendation(
        2, {"lr": f"{arm} {repeat}"}, error, (error - 0.02,), (error - 0.01,) if tested else ()
    )
    states = {"complete": 2, "pruned": 1, "failed": 0}
    return ArmRun(arm, repeat, 12, 3 * EPOCHS - 1, 4000.0, states, steps, recommended)


def curves(arms: tuple[str, ...], repeats: int) -> list[TrialCurve]:
    return [
        TrialCurve(
            arm,
            repeat,
            number,
            "pruned" if number == 1 else "complete",
            {"lr": 10.0 ** (-number - repeat), "momentum": 0.8 + 0.05 * number, "decay": "cosine"},
            {epoch: 0.8 - 0.1 * epoch for epoch in range(1, EPOCHS + (number != 1))},
        )
        for arm in arms
        for repeat in range(repeats)
        for number in range(3)
    ]


def study(
    *, name: str = "tiny", arms: tuple[str, ...] = ("bayes", "hand"), tested: bool = True
) -> StudyResults:
    runs = tuple(
        arm_run(arm, repeat, 0.30 + 0.02 * place + 0.001 * repeat * (1 + place), tested=tested)
        for place, arm in enumerate(arms)
        for repeat in range(7)
    )
    return StudyResults(name, arms, 7, EPOCHS, 0.9, runs)


def full_study() -> StudyResults:
    base = study()
    confirmed = (
        Confirmed({"lr": 0.0123}, "bayes/0#2", (0.25, 0.26, 0.27), (0.26, 0.27, 0.28)),
        Confirmed({"lr": 0.5}, "hand/1#0", (0.31,), ()),
    )
    members = (Member("resnet18", 0.28, 0.29, 0.6), Member("resnet34", 0.27, 0.285, 0.4))
    return StudyResults(
        base.name,
        base.arms,
        base.repeats,
        base.trial_epochs,
        base.chance_error,
        base.runs,
        confirmed,
        Ensemble("paper", members, 0.251),
    )


def nothing_yet(arms: tuple[str, ...] = ("bayes", "hand")) -> StudyResults:
    runs = tuple(ArmRun(arm, 0, 12, 0, 0.0, {}, (), None) for arm in arms)
    return StudyResults("new", arms, 1, EPOCHS, 0.9, runs)


def write(results: StudyResults, out: Path) -> str:
    trials = curves(results.arms, 2) if any(run.steps for run in results.runs) else []
    page = write_report(ReportData(results, compare(results), trials), out)
    assert page == out / "report.html"
    return page.read_text(encoding="utf-8")


class TestFiles:
    @pytest.mark.slow
    def test_the_page_holds_all_that_was_found(self, tmp_path: Path) -> None:
        html = write(full_study(), tmp_path / "new" / "folder")
        assert escape(compare(full_study()).verdict) in html
        for text in (
            "14 complete, 7 pruned",
            "56 / 84",  # epochs spent of the budget
            "7.8 h",
            "27.00 (26.00–28.00)",
            "combined (paper)",
            "25.10",
            "How to read this",
            "7 / 0 / 0",
        ):
            assert text in html
        for name in (
            "anytime-0",
            "recommendations-0",
            "parameters-0",
            "parameters-1",
            "learning-1",
        ):
            assert f'id="figure-{name}"' in html
        assert 'id="figure-parameters-2"' not in html  # a choice is no number

    @pytest.mark.slow
    def test_the_page_needs_no_network_and_has_plotly_once(self, tmp_path: Path) -> None:
        html = write(full_study(), tmp_path)
        assert "<script src" not in html
        assert "<link" not in html
        packed = re.findall(r'<script type="application/gzip" id="plotly">(.*?)</script>', html)
        assert len(packed) == 1
        assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed[0]))[:80]

    @pytest.mark.slow
    def test_json_is_the_whole_story(self, tmp_path: Path) -> None:
        write(full_study(), tmp_path)
        content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        pair = content["comparison"]["pairs"][0]
        assert (pair["quality"], pair["decided"], pair["cost"]["price"]) == (
            "better",
            True,
            "unclear",
        )
        assert content["comparison"]["arms"][0]["test_errors"][1] == pytest.approx(0.291)
        assert content["results"]["ensemble"]["members"][1]["model"] == "resnet34"
        assert content["trials"][0]["errors"] == pytest.approx({"1": 0.7, "2": 0.6, "3": 0.5})

    @pytest.mark.slow
    def test_a_nan_in_a_learning_curve_does_no_harm(self, tmp_path: Path) -> None:
        broken = TrialCurve("bayes", 0, 9, "diverged", {"lr": 5.0}, {1: 0.8, 2: math.nan})
        silent = TrialCurve("hand", 0, 9, "diverged", {"lr": 9.0}, {1: math.inf})
        results = study()
        page = write_report(ReportData(results, compare(results), [broken, silent]), tmp_path)
        html = page.read_text(encoding="utf-8")
        assert 'id="figure-learning-0"' in html
        assert 'id="figure-learning-1"' not in html
        assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")

    @pytest.mark.slow
    def test_writing_again_replaces_and_leaves_nothing_behind(self, tmp_path: Path) -> None:
        write(full_study(), tmp_path)
        html = write(nothing_yet(), tmp_path)
        assert "Nothing has been run yet." in html
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "report.html",
            "report.json",
            "report.md",
        ]

    def test_a_folder_that_cannot_be_written_is_the_users_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot write the report into"):
            write(nothing_yet(), tmp_path / "file")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "results",
        [
            nothing_yet(),
            nothing_yet(arms=()),
            study(arms=("solo",)),
            study(tested=False),
            study(arms=tuple(f"arm{i}" for i in range(9))),
        ],
        ids=["nothing", "no arms", "one arm", "no test errors", "nine arms"],
    )
    def test_every_stage_of_a_study_can_be_reported(
        self, results: StudyResults, tmp_path: Path
    ) -> None:
        verdict = compare(results).verdict
        assert escape(verdict) in write(results, tmp_path)
        assert "plotly.js v" not in write(nothing_yet(), tmp_path)

    @pytest.mark.slow
    def test_names_cannot_become_markup(self, tmp_path: Path) -> None:
        html = write(study(name=NASTY, arms=("bayes", NASTY)), tmp_path)
        assert "<script>alert" not in html
        assert escape(NASTY) in html
        text = (tmp_path / "report.md").read_text(encoding="utf-8")
        text = re.sub(r"(?ms)^```.*?^```$", "", text)  # code is shown as it is
        assert "<script>" not in text.replace(r"\<", "").replace(r"\>", "")
        assert r"\|x\| \`y\` \[z\]" in text


class TestMarkdown:
    def test_tables_are_rectangular(self) -> None:
        text = markdown(ReportData(full_study(), compare(full_study())))
        for block in text.split("\n\n"):
            if block.startswith("|"):
                assert len({line.count("|") for line in block.splitlines()}) == 1

    def test_evidence_without_a_test_split_is_explained(self) -> None:
        results = study(tested=False)
        text = markdown(ReportData(results, compare(results)))
        assert "Keep in mind:" in text
        assert "they also chose" in text


def test_the_terminal_table_fits_80_columns() -> None:
    results = study(arms=("bayes", "hand", "random"))
    console = PlainConsole(width=80, file=io.StringIO())
    console.print(answer(compare(results)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "30.30 ± 0.22" in text
    assert "+2.30" in text
    assert "…" not in text
    assert "bayes finds better settings than hand: the test error is 2.30 points lower" in (
        " ".join(text.split())
    )


def test_arms_named_like_rich_markup_are_shown_as_they_are() -> None:
    results = study(arms=("bayes", "[bold]"))
    console = PlainConsole(width=120, file=io.StringIO())
    console.print(summary_table(compare(results)))
    assert isinstance(console.file, io.StringIO)
    assert "[bold]" in console.file.getvalue()


class TestFigures:
    def test_an_arm_has_one_colour_everywhere(self) -> None:
        results = study()
        figures = dashboard_figures(main_panels(ReportData(results, compare(results))))
        anytime, recommended = figures["anytime"], figures["recommendations"]
        lines = {trace.name: trace.line.color for trace in anytime.data if trace.name}
        dots = {
            trace.name: trace.marker.color for trace in recommended.data if trace.mode == "markers"
        }
        assert lines == dots
        assert len(set(lines.values())) == 2

    def test_errors_are_in_percent(self) -> None:
        results = study()
        figures = dashboard_figures(main_panels(ReportData(results, compare(results))))
        dots = next(t for t in figures["recommendations"].data if t.name == "bayes")
        assert dots.y[0] == pytest.approx(29.0)
        assert figures["anytime"].layout.yaxis.title.text == "validation error, %"

    def test_they_are_small_enough_for_a_database(self) -> None:
        results = study(arms=("bayes", "hand", "random"))
        for figure in dashboard_figures(
            main_panels(ReportData(results, compare(results)))
        ).values():
            assert len(figure.to_json()) < 20_000

    def test_none_before_anything_has_run(self) -> None:
        assert (
            dashboard_figures(main_panels(ReportData(nothing_yet(), compare(nothing_yet())))) == {}
        )


def test_every_panel_has_an_id_of_its_own() -> None:
    results = full_study()
    data = ReportData(results, compare(results), curves(results.arms, 2))
    names = [panels.name for panels in all_panels(data)]
    assert names == ["anytime", "recommendations", "parameters", "learning", "trials"]
    assert all(panels.title and panels.caption for panels in all_panels(data))
