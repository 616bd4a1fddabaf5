"""The report's page: its order, its policy, its explanations, and tables of many rows."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from drawn_studies import report_data
from hypothesis import given, settings

from tuneoff.search.report.browse import PAGE, browsed, browsed_json
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.html import html
from tuneoff.search.report.sections import Section, sections
from tuneoff.search.report.tables import Table
from tuneoff.search.report.template import environment
from tuneoff.search.report.terms import terms
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmFacts, ArmRun, Recommendation, Step, StudyResults


def a_study() -> ReportData:
    """Two arms, four repeats, every pick with a test error."""
    runs = tuple(
        ArmRun(
            arm, repeat, 6, 6, 1.0, {"complete": 2},
            (Step(3, 0, 3, 0.3, True), Step(6, 1, 3, 0.2, True)),
            Recommendation(1, {"lr": f"{arm} {repeat}"}, 0.2, (error,), (error,)),
        )
        for arm, level in (("bayes", 0.1), ("hand", 0.12))
        for repeat, error in enumerate((level, level + 0.01, level + 0.002, level + 0.004))
    )  # fmt: skip
    facts = {"bayes": ArmFacts("Bayesian optimisation"), "hand": ArmFacts("hand tuning")}
    results = StudyResults("tiny", ("bayes", "hand"), 4, 3, 0.9, runs, facts=facts)
    return ReportData(results, compare(results))


class Reader(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.levels: list[int] = []
        self.scripts: list[str] = []
        self.policy = ""
        self._runs = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag == "a":
            self.links.append(found.get("href") or "")
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        self._runs = tag == "script" and "type" not in found
        if self._runs:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._runs:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._runs = False


@pytest.fixture(scope="module")
def page() -> str:
    return html(a_study())


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class TestPolicy:
    def test_every_script_of_the_page_may_run_and_no_other(self, page: str, read: Reader) -> None:
        packed = re.search(r'<script type="application/gzip" id="plotly">(.*?)</script>', page)
        assert packed is not None
        plotly = gzip.decompress(base64.b64decode(packed[1])).decode()
        allowed = re.search(r"script-src ([^;]*)", read.policy)
        assert allowed is not None
        assert set(allowed[1].split()) == {hashed(read.scripts[0]), hashed(plotly)}
        assert len(read.scripts) == 1

    def test_nothing_is_fetched(self, read: Reader) -> None:
        assert read.policy.startswith("default-src 'none'")
        assert "http" not in read.policy
        assert "*" not in read.policy


class TestOrder:
    def test_every_link_of_the_contents_leads_somewhere(self, read: Reader) -> None:
        assert all(link.removeprefix("#") in read.ids for link in read.links)
        assert len(read.links) > 4

    def test_ids_are_unique(self, read: Reader) -> None:
        assert len(read.ids) == len(set(read.ids))

    def test_headings_are_in_order(self, read: Reader) -> None:
        assert read.levels[0] == 1
        assert read.levels.count(1) == 1
        steps = zip(read.levels, read.levels[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps)

    def test_sections_come_in_the_order_in_which_people_ask(self) -> None:
        names = ["timeline", "trials", "provenance", "unheard-of", "learning", "maps-0", "anytime"]
        panels = [Panels(name, name, "", ()) for name in names]
        found = [one.name for one in sections(a_study(), panels)]
        order = ["arms", *(f"section-{n}" for n in ("anytime", "learning", "maps-0"))]
        order += ["settings", *(f"section-{n}" for n in ("timeline", "unheard-of", "trials"))]
        assert [n for n in found if n in order] == order
        assert found.index("section-provenance") == found.index("section-trials") + 1
        assert found[-1] == "statistics"


class TestTerms:
    def test_words_are_explained_with_the_studys_numbers(self) -> None:
        found = dict(terms(a_study()))
        repeats = a_study().results.repeats
        assert f"there are {repeats}" in found["Paired repeat"]
        assert {"Arm", "Epoch", "Error", "Percentage points"} <= found.keys()

    @pytest.mark.slow
    @given(report_data())
    @settings(max_examples=30, deadline=None)
    def test_every_meaning_is_a_sentence(self, data: ReportData) -> None:
        for word, meaning in terms(data):
            assert meaning[0].isupper() or meaning[0].isdigit(), word
            assert meaning.endswith("."), word
            assert "  " not in meaning, word


class TestManyRows:
    def many(self, rows: int, kind: str = "plain") -> Table:
        cells = tuple((f"arm{i % 3}", str(i), "<b>") for i in range(rows))
        table = Table("Trials", ("Arm", "Number", "Note"), cells, (2,), filters=(0,))
        return replace(table, kind="browse") if kind == "browse" else table

    def test_they_are_packed_whole_and_a_page_of_them_can_be_read_at_once(self) -> None:
        table = self.many(250)
        data: ReportData = a_study()
        section = Section("s", "S", tables=(table,))
        tables = browsed([section])
        assert json.loads(browsed_json(tables))["browse-0"]["rows"][249] == ["arm0", "249", "<b>"]
        macros = environment().get_template("macros.html").module
        shown = str(macros.cells(table, {}, tables))  # type: ignore[attr-defined]
        assert shown.count("<tr>") == PAGE + 1
        assert "250 rows" in shown
        assert "<b>" not in shown
        assert data.results.name  # the study itself has no such table
        assert not browsed(sections(data, []))

    def test_few_rows_are_all_there(self) -> None:
        assert not browsed([Section("s", "S", tables=(self.many(PAGE),))])
        assert browsed([Section("s", "S", tables=(self.many(3, "browse"),))])


def test_commands_in_a_sentence_are_marked_and_the_rest_is_text() -> None:
    code = environment().filters["code"]
    assert code("Run `a <b>` now.") == "Run <code>a &lt;b&gt;</code> now."
    assert code("an odd ` one <i>") == "an odd ` one &lt;i&gt;"
