"""Reports of the gallery's awkward studies in a real browser: they are drawn, and nothing in them
runs, asks for anything outside, or complains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_browser
from gallery import CASES, build, open_gallery, show
from looking import look, set_window, strangers

from tuneoff.search.store.database import Database

pytestmark = pytest.mark.slow

LOOKED_AT = ("nothing", "all-diverged", "nan", "better", "hostile", "twenty-parameters")
"""Pages that are looked at in every width, in light and dark and as they are printed."""
OF_FIGURES = ("a label is cut", "labels overlap", "a legend is on the data")
"""Faults that figures with long names still have on narrow pages."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    if find_browser() is None:
        pytest.skip("no browser here")
    with Browser(tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Database]:
    opened = open_gallery(folder)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", CASES)
def test_a_page_is_drawn_and_keeps_to_itself(
    name: str, browser: Browser, database: Database, folder: Path
) -> None:
    page = show(build(database, folder, name), folder)
    tab = browser.open(page.as_uri())
    try:
        title = tab.evaluate("document.title")
        for width in (1400, 390):
            set_window(tab, width)  # waits until every figure is drawn
        # What runs when somebody points at it, or clicks on it, would by now.
        tab.evaluate(
            "document.querySelectorAll('main *, summary').forEach((element) => {"
            " for (const kind of ['mouseover', 'mouseenter', 'focus', 'toggle'])"
            " element.dispatchEvent(new Event(kind, { bubbles: true })); })"
        )
        assert tab.evaluate("document.title") == title != "owned"
        assert tab.problems == []
        assert strangers(tab) == []
        if name in LOOKED_AT:
            assert [fault for fault in look(tab) if not fault.startswith(OF_FIGURES)] == []
    finally:
        tab.close()
