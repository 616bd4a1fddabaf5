"""The note of a comparison, on awkward studies: it says what a report's first screen says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from gallery import build, open_gallery
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tuneoff.search.report.dashboard.figures import dashboard_figures, main_panels
from tuneoff.search.report.dashboard.publish import read_page_data
from tuneoff.search.report.dashboard.words import comparison_note, is_over
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.first_screen import first_screen
from tuneoff.search.results.early_stop import EarlyStop
from tuneoff.search.results.read import read_results
from tuneoff.search.results.status import read_status
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SMALL = ("nothing", "first-running", "one-trial", "one-arm", "all-diverged", "nan", "hostile")
WHOLE = ("better", "undecided", "paused", "until-decided", "horizon", "twenty-parameters")

Written = tuple[ReportData, str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Written]]:
    """What a case of the gallery has come to, and its note."""
    folder = tmp_path_factory.mktemp("words")
    database = open_gallery(folder)
    made: dict[str, Study] = {}

    def write(name: str) -> Written:
        study = made.get(name) or made.setdefault(name, build(database, folder, name))
        data = read_page_data(study)
        ids = {search.name: i for i, search in enumerate(study.searches)}
        note = comparison_note(data, read_status(study), study, ids, main_panels(data))
        return data, note

    yield write
    database.close()


def inline(note: str) -> list[Token]:
    return [child for token in RENDERER.parse(note) for child in token.children or ()]


def read(note: str) -> str:
    """The note as a person reads it."""
    shown = "".join(child.content or "\n" for child in inline(note))
    return " ".join(shown.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *WHOLE])
def test_it_says_what_the_report_says(name: str, written: Callable[[str], Written]) -> None:
    data, note = written(name)
    screen, said = first_screen(data), read(note)
    answer = screen.answer
    settings = screen.settings.expectation if screen.settings else screen.no_settings
    for sentence in (screen.question, answer.text, answer.cost, settings, screen.firmer.text):
        assert " ".join(sentence.replace("`", "").split()) in said
    fences = [token.content for token in RENDERER.parse(note) if token.type == "fence"]
    commands = (screen.settings.command if screen.settings else "", screen.firmer.command)
    assert [" ".join(code.split("\n")).strip() for code in fences] == list(filter(None, commands))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *WHOLE])
def test_there_is_no_mark_in_it_but_ours(name: str, written: Callable[[str], Written]) -> None:
    _, note = written(name)
    tokens = [*RENDERER.parse(note), *inline(note)]
    assert not [t for t in tokens if t.type in ("html_block", "html_inline", "image")]
    assert not [t.content for t in inline(note) if t.type == "text" and "`" in t.content]
    links = [t.attrs["href"] for t in inline(note) if t.type == "link_open"]
    assert all(str(link).startswith("/dashboard/studies/") for link in links)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "over"), [("better", True), ("paused", False)])
def test_while_it_runs_its_state_comes_first(
    name: str, over: bool, written: Callable[[str], Written]
) -> None:
    _, note = written(name)
    headings = [line for line in note.splitlines() if line.startswith("####")]
    first = ["#### What came of it"] if over else ["#### Where it stands", "#### So far"]
    assert headings[: len(first) + 1] == [*first, "#### Settings to use"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("better", True),
        ("undecided", True),
        ("diverged-in-full", True),
        ("no-promote", True),
        ("ensemble", True),
        ("nothing", False),
        ("first-running", False),
        ("paused", False),
        ("until-decided", False),
    ],
)
def test_when_it_is_over(name: str, over: bool, written: Callable[[str], Written]) -> None:
    _, note = written(name)
    assert ("#### What came of it" in note) == over


def test_a_search_that_stopped_early_is_over(
    searched: Study,
) -> None:
    results, status = read_results(Snapshot.of(searched)), read_status(searched)
    assert is_over(results, status, searched)
    first, *others = results.runs
    begun = replace(first, spent=0)
    assert not is_over(replace(results, runs=(begun, *others)), status, searched)
    stopped = replace(begun, early_stop=EarlyStop(0.001, 3))
    assert is_over(replace(results, runs=(stopped, *others)), status, searched)


@pytest.mark.slow
def test_no_folder_of_the_publishers_is_named(written: Callable[[str], Written]) -> None:
    data, note = written("better")
    assert not data.work
    assert "--work" not in note


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fifty-arms", "many-trials"])
def test_figures_stay_small(name: str, written: Callable[[str], Written]) -> None:
    data, _ = written(name)
    figures = dashboard_figures(main_panels(data))
    sizes = {name: len(figure.to_json()) for name, figure in figures.items()}
    assert "learning" in sizes
    assert max(sizes.values()) < 60_000, sizes
