"""Every study of the gallery gives a report whose parts agree, whatever it has come to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from documents import check_document
from gallery import CASES, build, open_gallery
from gallery_cases_hostile import TEXTS

from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.store.database import Database
from tuneoff.search.study.snapshot import Snapshot

QUICK = ("nothing", "one-trial", "all-diverged", "nan", "ensemble", "hostile", "choices")
NAMES = [pytest.param(name, marks=() if name in QUICK else (pytest.mark.slow,)) for name in CASES]
ELEMENTS = {"a", "abbr", "article", "aside", "b", "body", "br", "button", "caption", "circle",
            "code", "col", "colgroup", "datalist", "dd", "defs", "details", "dfn", "div", "dl",
            "dt", "em", "fieldset", "figcaption", "figure", "footer", "g", "h1", "h2", "h3", "h4",
            "head", "header", "hr", "html", "input", "kbd", "label", "legend", "li", "line", "main",
            "mark", "meta", "nav", "ol", "optgroup", "option", "output", "p", "path", "polygon",
            "polyline", "pre", "q", "rect", "script", "section", "select", "small", "span",
            "strong", "style", "sub", "summary", "sup", "svg", "table", "tbody", "td", "template",
            "text", "tfoot", "th", "thead", "time", "title", "tr", "tspan", "ul", "use",
            "var", "wbr"}  # fmt: skip
"""What a page may be made of: nothing that loads, frames or embeds."""
LOADING = ("src", "srcdoc", "action", "formaction", "data", "poster", "background")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Database]:
    opened = open_gallery(folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def data_of(database: Database, folder: Path) -> Callable[[str], ReportData]:
    """What a case's report shows, built and read once for all tests here."""
    found: dict[str, ReportData] = {}

    def find(name: str) -> ReportData:
        if name not in found:
            found[name] = read_report_data(Snapshot.of(build(database, folder, name)))
        return found[name]

    return find


class Markup(HTMLParser):
    """The elements of a page, and what would run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.dangerous: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            address = (value or "").strip().lower()
            loads = name in LOADING
            points = name in ("href", "xlink:href") and not address.startswith("#")
            if name.startswith("on") or loads or (points and not address.startswith("data:")):
                self.dangerous.append(f"<{tag} {name}={value!r}>")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_written(name: str, data_of: Callable[[str], ReportData], folder: Path) -> None:
    page = write_report(data_of(name), folder / name)
    text = page.read_text(encoding="utf-8")
    markup = Markup()
    markup.feed(text)
    assert set(markup.elements) <= ELEMENTS
    assert markup.dangerous == []
    assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(text)
    assert len(text.encode()) < 3_000_000
    content = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"), parse_constant=_no)
    check_document("report", content)
    assert page.with_suffix(".md").read_text(encoding="utf-8").startswith("# ")


def _no(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parts_agree(name: str, data_of: Callable[[str], ReportData]) -> None:
    """Sums over attempts, over trials and over searches are the same sums."""
    data = data_of(name)
    assert data.comparison == compare(data.results)
    for run in data.results.runs:
        trials = [t for t in data.trials if (t.arm, t.repeat) == (run.arm, run.repeat)]
        attempts = [a for a in data.attempts if (a.arm, a.repeat) == (run.arm, run.repeat)]
        assert run.spent == sum(t.epochs for t in trials) == sum(a.epochs for a in attempts)
        assert run.seconds == pytest.approx(sum(a.seconds for a in attempts))
        assert run.states == Counter(t.state for t in trials)
        assert sum(t.attempts for t in trials) == len(attempts)


OUTCOMES = {
    "better": (True, "better"),
    "worse": (True, "worse"),
    "as-good": (True, "as good"),
    "undecided": (False, "undecided"),
    "until-decided": (False, "undecided"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTCOMES)
def test_outcomes_are_what_they_are_named(name: str, data_of: Callable[[str], ReportData]) -> None:
    comparison = data_of(name).comparison
    pair = comparison.pairs[0]
    assert (comparison.decided, pair.quality.replace("equivalent", "as good")) == OUTCOMES[name]


def test_hostile_texts_are_shown_whole(data_of: Callable[[str], ReportData]) -> None:
    """What somebody wrote reaches the report: the other tests would prove nothing otherwise."""
    data = data_of("hostile")
    notes = {trial.note for trial in data.trials}
    assert set(TEXTS) <= notes
    assert any(TEXTS[1][:80] in attempt.worker for attempt in data.attempts)
    assert any(TEXTS[0] in attempt.reason for attempt in data.attempts)
    assert any(TEXTS[1] in name for name in data.trials[0].params)
    assert TEXTS[0] in {trial.params["weights"] for trial in data.trials}
