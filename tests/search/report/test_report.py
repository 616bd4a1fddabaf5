"""The report: complete, escaped, readable by machines, and safe to write twice."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from markupsafe import escape
from rich.console import Console

from tuneoff.search.cli.summary import summary_table
from tuneoff.search.errors import UserError
from tuneoff.search.report.dashboard import dashboard_figures, publish
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
        2, {"lr": 0.01}, error, error - 0.02, error - 0.01 if tested else None
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
    page = write_report(results, compare(results), out, trials=trials)
    assert page == out / "report.html"
    return page.read_text(encoding="utf-8")


class TestFiles:
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

    def test_the_page_needs_no_network_and_has_plotly_once(self, tmp_path: Path) -> None:
        html = write(full_study(), tmp_path)
        assert "<script src" not in html
        assert "<link" not in html
        assert html.count("plotly.js v") == 1

    def test_json_is_the_whole_story(self, tmp_path: Path) -> None:
        write(full_study(), tmp_path)
        content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        assert content["comparison"]["pairs"][0]["thin"] is False
        assert content["comparison"]["arms"][0]["test_errors"][1] == pytest.approx(0.291)
        assert content["results"]["ensemble"]["members"][1]["model"] == "resnet34"
        assert content["trials"][0]["errors"] == pytest.approx({"1": 0.7, "2": 0.6, "3": 0.5})

    def test_a_nan_in_a_learning_curve_does_no_harm(self, tmp_path: Path) -> None:
        broken = TrialCurve("bayes", 0, 9, "diverged", {"lr": 5.0}, {1: 0.8, 2: math.nan})
        silent = TrialCurve("hand", 0, 9, "diverged", {"lr": 9.0}, {1: math.inf})
        results = study()
        page = write_report(results, compare(results), tmp_path, trials=[broken, silent])
        html = page.read_text(encoding="utf-8")
        assert 'id="figure-learning-0"' in html
        assert 'id="figure-learning-1"' not in html
        assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")

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

    def test_names_cannot_become_markup(self, tmp_path: Path) -> None:
        html = write(study(name=NASTY, arms=("bayes", NASTY)), tmp_path)
        assert "<script>alert" not in html
        assert escape(NASTY) in html
        text = (tmp_path / "report.md").read_text(encoding="utf-8")
        assert "<script>" not in text.replace(r"\<", "").replace(r"\>", "")
        assert r"\|x\| \`y\` \[z\]" in text


class TestMarkdown:
    def test_tables_are_rectangular(self) -> None:
        text = markdown(ReportData(full_study(), compare(full_study())))
        for block in text.split("\n\n"):
            if block.startswith("|"):
                assert len({line.count("|") for line in block.splitlines()}) == 1

    def test_thin_evidence_is_explained(self) -> None:
        results = study(tested=False)
        text = markdown(ReportData(results, compare(results)))
        assert "Why the evidence is thin:" in text
        assert "Not every recommendation has a test error yet" in text


def test_the_terminal_table_fits_80_columns() -> None:
    results = study(arms=("bayes", "hand", "random"))
    console = Console(width=80, file=io.StringIO())
    console.print(summary_table(results, compare(results)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "30.30 ± 0.22" in text
    assert "+2.30" in text
    assert "…" not in text
    assert "bayes beats hand by 2.30 points" in " ".join(text.split())


def test_arms_named_like_rich_markup_are_shown_as_they_are() -> None:
    results = study(arms=("bayes", "[bold]"))
    console = Console(width=120, file=io.StringIO())
    console.print(summary_table(results, compare(results)))
    assert isinstance(console.file, io.StringIO)
    assert "[bold]" in console.file.getvalue()


class TestFigures:
    def test_an_arm_has_one_colour_everywhere(self) -> None:
        results = study()
        figures = dashboard_figures(results, compare(results))
        anytime, recommended = figures["tuneoff-anytime"], figures["tuneoff-recommendations"]
        lines = {trace.name: trace.line.color for trace in anytime.data if trace.name}
        dots = {
            trace.name: trace.marker.color for trace in recommended.data if trace.mode == "markers"
        }
        assert lines == dots
        assert len(set(lines.values())) == 2

    def test_errors_are_in_percent(self) -> None:
        results = study()
        figures = dashboard_figures(results, compare(results))
        dots = next(t for t in figures["tuneoff-recommendations"].data if t.name == "bayes")
        assert dots.y[0] == pytest.approx(29.0)
        assert figures["tuneoff-anytime"].layout.yaxis.title.text == "validation error, %"

    def test_they_are_small_enough_for_a_database(self) -> None:
        results = study(arms=("bayes", "hand", "random"))
        for figure in dashboard_figures(results, compare(results)).values():
            assert len(figure.to_json()) < 20_000

    def test_none_before_anything_has_run(self) -> None:
        assert dashboard_figures(nothing_yet(), compare(nothing_yet())) == {}


class TestPublish:
    def test_again_replaces_ours_and_keeps_what_others_wrote(self) -> None:
        saved = optuna.create_study()
        optuna_dashboard.save_note(saved, "Remember the milk.")
        results = study()
        for stage in (nothing_yet(), results, results):
            publish(saved, stage, compare(stage))
        note = optuna_dashboard.get_note(saved)
        assert note.startswith("Remember the milk.\n\n## Comparison by tuneoff")
        assert note.count("## Comparison by tuneoff") == 1
        assert compare(results).verdict in note
        assert "Nothing has been run" not in note
        attributes = saved._storage.get_study_system_attrs(saved._study_id)
        assert any(key.startswith("dashboard:plot_data:tuneoff-anytime") for key in attributes)


def test_every_panel_has_an_id_of_its_own() -> None:
    results = full_study()
    data = ReportData(results, compare(results), curves(results.arms, 2))
    names = [panels.name for panels in all_panels(data)]
    assert names == ["anytime", "recommendations", "parameters", "learning"]
    assert all(panels.title and panels.caption for panels in all_panels(data))
