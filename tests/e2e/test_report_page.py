"""The report's page as people use it in a browser: copying, sorting, filtering, printing; and what
its policy keeps from running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Browser, Tab, find_browser

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.results.export_file import Exported
from tuneoff.search.results.records import ArmRun, Recommendation, Step, StudyResults
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import HyperParams, Recipe

pytestmark = pytest.mark.slow

REPEATS = 70  # of two arms: 140 recommendations, more than a page of a table
NASTY = "<img src=x onerror=\"document.title='owned'\">"


def a_study() -> ReportData:
    runs = tuple(
        ArmRun(
            arm, repeat, 3, 3, 1.0, {"complete": 1}, (Step(3, 0, 3, 0.3, True),),
            Recommendation(repeat, {"lr": repeat % 9, "note": NASTY}, 0.3, (error,), (error,)),
        )
        for arm, level in (("bayes", 0.1), ("hand", 0.12))
        for repeat in range(REPEATS)
        for error in [level + 0.001 * (repeat * 7 % 10)]
    )  # fmt: skip
    results = StudyResults("tiny", ("bayes", "hand"), REPEATS, 3, 0.9, runs)
    recipe = Recipe.from_dict({"data": {"name": "digits"}, "model": "proxy", "epochs": 3})
    best = Exported(
        1, "bayes/0#0", {"lr": 0.123456789}, HyperParams(0.1), recipe, RunSeed(0, 0, 0), {}, {}
    )
    return ReportData(results, compare(results), best=best)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if find_browser() is None:
        pytest.skip("no browser here")
    folder = tmp_path_factory.mktemp("page")
    page = write_report(a_study(), folder / "report")
    with Browser(folder / "profile") as browser:
        found = browser.open(page.as_uri(), width=1400)
        found.wait_for("document.querySelector('.browse .tools')")
        found.wait_for("document.querySelectorAll('#answer .main-svg').length")
        yield found


def texts(tab: Tab, selector: str) -> list[str]:
    found: list[str] = tab.evaluate(
        f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)"
    )
    return found


class TestCopying:
    def test_what_is_copied_is_all_digits_and_it_is_said(self, tab: Tab) -> None:
        # Without a clipboard, as on pages that browsers do not trust.
        tab.evaluate(
            "window.copied = null;"
            " Object.defineProperty(navigator, 'clipboard', { value: undefined });"
            " document.addEventListener('copy', () => {"
            " window.copied = document.activeElement.value ?? String(getSelection()); });"
        )
        click = "document.querySelector('.use button.copy').click()"
        tab.send("Runtime.evaluate", expression=click, userGesture=True)
        tab.wait_for("window.copied !== null")
        assert tab.evaluate("window.copied") == "lr = 0.123456789\n"
        tab.wait_for("document.querySelector('.use button.copy').textContent === 'Copied'")
        assert tab.evaluate("document.querySelector('[role=status]').textContent") == "Copied"

    def test_the_command_is_one_line_of_a_shell(self, tab: Tab) -> None:
        command = tab.evaluate("document.querySelector('.use .command .copy').dataset.text")
        assert command == "tuneoff export tiny -o best.toml && tuneoff train best.toml"


class TestTables:
    def test_a_head_sorts_and_says_how(self, tab: Tab) -> None:
        table = "table.sortable:has(th button)"
        first = f"{table} tbody tr td:first-child"
        before = texts(tab, first)
        head = f"document.querySelector('{table} thead th:first-child')"
        tab.evaluate(f"{head}.querySelector('button').click()")
        assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
        tab.evaluate(f"{head}.querySelector('button').click()")
        assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
        assert sorted(texts(tab, first)) == sorted(before)

    def test_many_rows_come_a_page_at_a_time(self, tab: Tab) -> None:
        assert len(texts(tab, ".browse tbody tr")) == 100
        assert "Rows 1 to 100 of 140" in texts(tab, ".browse .count")
        tab.evaluate("[...document.querySelectorAll('.browse button')]"
                     ".find((b) => b.textContent === 'Next').click()")  # fmt: skip
        assert len(texts(tab, ".browse tbody tr")) == 40

    def test_they_are_found_by_text_and_sorted_by_number(self, tab: Tab) -> None:
        tab.evaluate(
            "(() => { const box = document.querySelector('.browse input');"
            " box.value = 'hand'; box.dispatchEvent(new Event('input')); })()"
        )
        assert set(texts(tab, ".browse tbody tr td:first-child")) == {"hand"}
        assert "Rows 1 to 70 of 70 that match, of 140" in texts(tab, ".browse .count")
        for _ in range(2):
            tab.evaluate("document.querySelectorAll('.browse th button')[1].click()")
        repeats = [int(text) for text in texts(tab, ".browse tbody tr td:nth-child(2)")]
        assert repeats == list(range(REPEATS))[::-1]

    def test_a_cell_is_text(self, tab: Tab) -> None:
        assert any(NASTY in text for text in texts(tab, ".browse td"))
        assert tab.evaluate("document.title") != "owned"


class TestPolicy:
    def test_a_script_that_is_not_the_pages_own_does_not_run(self, tab: Tab) -> None:
        already = len(tab.problems)
        tab.evaluate(
            "(() => { const script = document.createElement('script');"
            " script.textContent = 'window.ran = true'; document.body.append(script); })()"
        )
        tab.evaluate(
            "(() => { const box = document.createElement('div');"
            " box.innerHTML = '<img src=x onerror=\"window.ran = true\">';"
            " document.body.append(box); })()"
        )
        tab.evaluate("new Promise((done) => setTimeout(done, 200))")
        assert tab.evaluate("window.ran === undefined")
        assert any("Content Security Policy" in said for said in tab.problems[already:])
        del tab.problems[already:]

    def test_nothing_else_was_said_or_asked_for(self, tab: Tab) -> None:
        assert tab.problems == []
        assert [url for url in tab.requests[1:] if url.startswith("http")] == []


def test_printing_opens_what_is_folded_and_closes_it_again(tab: Tab) -> None:
    closed = "document.querySelectorAll('main details:not([open])').length"
    before = tab.evaluate(closed)
    assert before
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(closed) == 0
    assert tab.evaluate("document.querySelectorAll('.main-svg[viewBox]').length") > 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(closed) == before
    assert tab.evaluate("document.querySelectorAll('.main-svg[viewBox]').length") == 0


@pytest.mark.parametrize("width", [1400, 390])
def test_the_answer_and_what_to_do_fit_the_width(tab: Tab, width: int) -> None:
    tab.show(width=width, height=900 if width > 500 else 844, mobile=width < 500)
    tab.evaluate("scrollTo(0, 0)")
    tab.wait_for(f"document.documentElement.scrollWidth <= {width}")  # figures follow
    answer = tab.evaluate("document.querySelector('.headline').getBoundingClientRect().bottom")
    assert answer < 420  # the answer, without scrolling
    if width > 500:
        for part in (".use", ".firmer"):
            bottom = f"document.querySelector('{part}').getBoundingClientRect().bottom"
            assert tab.evaluate(bottom) < 900
