"""Studies of other metrics than top-1 error are shown in their own words, unit and direction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from gallery import build, open_gallery

from tuneoff.search.cli.board import best_words
from tuneoff.search.cli.plotting import CHARTS
from tuneoff.search.cli.showing import story_lines
from tuneoff.search.replay.evidence import Evidence
from tuneoff.search.replay.surrogate import fit_curves
from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.markdown import markdown
from tuneoff.search.report.wording import how_to_read
from tuneoff.search.results.compare import compare
from tuneoff.search.results.plain import plain
from tuneoff.search.results.progress import read_progress
from tuneoff.search.results.story import read_story
from tuneoff.search.store.database import Database
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study

NAMES = ("loss", "auroc", "accuracy")
WORDS = {"loss": "loss", "auroc": "AUROC", "accuracy": "accuracy"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = open_gallery(tmp_path_factory.mktemp("metrics"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def studies(database: Database, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    folder = tmp_path_factory.mktemp("work")
    return {name: build(database, folder, name) for name in NAMES}


@pytest.fixture(scope="module")
def reports(studies: dict[str, Study]) -> dict[str, ReportData]:
    return {name: read_report_data(Snapshot.of(study)) for name, study in studies.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_speaks_of_errors_or_of_a_unit_that_it_does_not_have(
    name: str, reports: dict[str, ReportData]
) -> None:
    data = reports[name]
    panels = all_panels(data)
    texts = [markdown(data), *how_to_read(data), *(f"{p.caption} {p.finding}" for p in panels)]
    axes = [
        str(title)
        for panel in panels
        for figure in panel.figures
        for title in (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text)
    ]
    for text in (*texts, *axes):
        assert not re.search(r"\b[Ee]rrors?\b", text.replace("and errors; elsewhere", "")), text
        if name != "accuracy":
            assert " points" not in text, text
    assert f"test {WORDS[name]}" in markdown(data)
    assert any(f"validation {WORDS[name]}" in text for text in axes)


def test_better_is_on_the_same_side_whatever_is_good(reports: dict[str, ReportData]) -> None:
    for name, lower in (("loss", "lower"), ("auroc", "higher"), ("accuracy", "higher")):
        comparison = compare(reports[name].results)
        (pair,) = comparison.pairs
        assert pair.quality == "better"
        assert pair.mean > 0
        assert f" {lower} (+" in comparison.verdict
    assert " points higher" in reports["accuracy"].comparison.verdict


def test_values_are_those_that_people_know(
    studies: dict[str, Study], reports: dict[str, ReportData]
) -> None:
    for name, low, high in (("loss", -1.0, 5.0), ("auroc", 0.5, 1.0), ("accuracy", 50.0, 100.0)):
        now = Snapshot.of(studies[name])
        metric = studies[name].metric
        charts = CHARTS["anytime"](reports[name].results, reports[name].trials)
        assert all(low <= y <= high for one in charts[0].series for y in one.y)
        assert f"validation {WORDS[name]}" in charts[0].y
        lines = "\n".join(story_lines(read_story(now, "bayes/0#0"), 80))
        story = read_story(now, "bayes/0#0")
        assert metric.text(min(story.errors.values())) in lines
        for arm in read_progress(studies[name]):
            assert ("±" in best_words(arm, 100)) == (name == "accuracy")
        assert json.loads(json.dumps(plain(reports[name].results)))["metric"]["name"] == metric.name


def test_a_run_that_diverged_counts_as_the_worst(reports: dict[str, ReportData]) -> None:
    for name, worst in (("loss", 20.0), ("auroc", -0.5), ("accuracy", 0.9)):
        steps = [step for run in reports[name].results.runs for step in run.steps if step.diverged]
        assert {step.error for step in steps} == {worst}


def test_values_that_are_no_shares_can_be_simulated(studies: dict[str, Study]) -> None:
    found = Evidence.of(Snapshot.of(studies["loss"]))
    _, scale = fit_curves(found)
    for run in found.complete:
        for error in run.errors.values():
            assert scale.errors(scale.at(error)) == pytest.approx(error)  # type: ignore[arg-type]
