"""The page of several studies in a real browser: drawn, readable, and to itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, find_browser
from gallery import build, open_gallery
from looking import PRINTED, look, set_window, strangers

from tuneoff.search.report.side_by_side.write import write_side_by_side
from tuneoff.search.results.compare import compare
from tuneoff.search.results.read import read_results
from tuneoff.search.results.side_by_side.build import side_by_side
from tuneoff.search.results.side_by_side.records import Member
from tuneoff.search.study.snapshot import Snapshot


def test_it_is_drawn_and_nothing_sticks_out(tmp_path: Path) -> None:
    if find_browser() is None:
        pytest.skip("no browser here")
    database, members = open_gallery(tmp_path), []
    for name in ("better", "worse", "nothing", "hostile", "long-names"):
        now = Snapshot.of(build(database, tmp_path, name))
        results = read_results(now)
        spec, digest = now.study.spec, now.study.task.digest
        members.append(Member(spec, results, compare(results), digest))
    database.close()
    page = write_side_by_side(side_by_side(members), tmp_path / "out")
    assert page.stat().st_size < 3_000_000
    with Browser(tmp_path / "profile") as browser:
        tab = browser.open(page.as_uri())
        set_window(tab, 1400)
        drawn = "[...document.querySelectorAll('.plot')].map((plot) => plot.id)"
        assert "figure-forest-0-0" in tab.evaluate(drawn)
        # On paper nothing scrolls: cells wrap there.
        assert {fault: where for fault, where in look(tab).items() if where != ["print"]} == {}
        set_window(tab, PRINTED, media="print")
        width = "document.documentElement.scrollWidth"
        assert tab.evaluate(width) <= PRINTED
        assert tab.problems == []
        assert strangers(tab) == []
