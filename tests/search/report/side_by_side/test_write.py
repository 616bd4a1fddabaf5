"""The page of several studies: its files say the same, and nothing foreign becomes mark-up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tuneoff.search.errors import UserError
from tuneoff.search.report.side_by_side.forest import forest_panels
from tuneoff.search.report.side_by_side.tables import studies_table
from tuneoff.search.report.side_by_side.write import html, markdown, write_side_by_side
from tuneoff.search.results.side_by_side.build import side_by_side
from tuneoff.search.results.side_by_side.records import Member, SideBySide

Make = Callable[..., Member]
NASTY = "<script>alert(1)</script>|`x`[a](b)"


def errors(mean: float) -> list[float]:
    return [mean + noise for noise in (0.001, -0.001, 0.002, -0.002, 0.0)]


@pytest.fixture
def found(make_member: Make) -> SideBySide:
    """Three studies with answers, and one that has not begun."""
    members = [
        make_member(
            f"s{i}", [0.2] * 5, errors(0.2 + d), data={"name": "folder", "path": f"photos-{i}"}
        )
        for i, d in enumerate((0.03, 0.01, 0.02))
    ]
    return side_by_side([*members, make_member("new", [], [])])


class TestFiles:
    @pytest.mark.slow
    def test_each_says_the_answer(self, found: SideBySide, tmp_path: Path) -> None:
        page = write_side_by_side(found, tmp_path / "out")
        assert page == tmp_path / "out" / "studies.html"
        stored = json.loads((tmp_path / "out" / "studies.json").read_text())
        assert stored["schema"] == "tuneoff/studies/1"
        assert stored["answer"] == found.answer
        assert stored["pooled"][0]["mean"] == found.pooled[0].mean
        assert [row["name"] for row in stored["rows"]] == ["s0", "s1", "s2", "new"]
        for name in ("studies.html", "studies.md"):
            assert "finds better settings" in (tmp_path / "out" / name).read_text()

    @pytest.mark.slow
    def test_a_folder_that_cannot_be_written(self, found: SideBySide, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="choose another folder with -o"):
            write_side_by_side(found, tmp_path / "file")

    @pytest.mark.slow
    def test_no_address_but_our_own(self, found: SideBySide) -> None:
        assert "://" not in html(found).partition('id="plotly"')[0]


class TestTable:
    def test_rows(self, found: SideBySide) -> None:
        table = studies_table(found)
        assert [row[0] for row in table.rows] == ["s0", "s1", "s2", "new", "All 3 studies"]
        assert all(len(row) == len(table.header) for row in table.rows)
        assert "Nothing has been run yet." in table.rows[3]

    def test_several_baselines_have_rows_of_their_own(self, make_member: Make) -> None:
        members = [
            make_member("a", [0.2] * 5, errors(0.3)),
            make_member("b", [0.2] * 5, errors(0.3)),
            make_member("c", [0.2] * 5, errors(0.3), arms=("bayes", "grid")),
        ]
        table = studies_table(side_by_side(members))
        assert [row[0] for row in table.rows] == ["a", "b", "c", "All 2 studies", "a", "b", "c"]
        assert all(len(row) == len(table.header) for row in table.rows)


class TestForest:
    def test_a_line_for_each_study_and_a_diamond(self, found: SideBySide) -> None:
        (panels,) = forest_panels(found)
        (figure,) = panels.figures
        assert list(figure.layout.yaxis.ticktext) == [
            "s0",
            "s1",
            "s2",
            "new",
            "<b>all 3 studies</b>",
        ]
        squares = [t for t in figure.data if t.mode == "markers"]
        assert [round(t.x[0], 6) for t in squares] == [3.0, 1.0, 2.0]
        assert [t.fill for t in figure.data].count("toself") == 1
        band = figure.layout.shapes[0]
        assert (band.x0, band.x1) == (-0.5, 0.5)
        assert panels.finding.startswith("Of 3 intervals, 3 lie wholly right of zero")
        assert panels.finding.endswith("The diamond of all of them lies across zero.")

    def test_a_wide_pooled_interval_does_not_hide_the_studies(self, make_member: Make) -> None:
        members = [make_member(n, [0.2] * 5, errors(0.2 + d)) for n, d in (("a", 0.0), ("b", 0.02))]
        (panels,) = forest_panels(side_by_side(members))
        low, high = panels.figures[0].layout.xaxis.range
        assert high - low < 10
        assert "goes on beyond its edges" in panels.caption


@pytest.mark.slow
def test_foreign_text_is_escaped(found: SideBySide) -> None:
    settings = {"Data": NASTY}
    first, *others = (replace(row, settings=settings) for row in found.rows)
    rows = (replace(first, name=NASTY), *others)
    nasty = replace(found, rows=rows, columns=("Data",), answer=NASTY, notes=(NASTY,))
    nasty = replace(nasty, shared={"Model": NASTY})
    page = html(nasty)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    said = markdown(nasty)
    assert "<script" not in said.replace("\\<script", "")
    (panels,) = forest_panels(nasty)
    assert all("<script" not in text for text in panels.figures[0].layout.yaxis.ticktext)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read(found: SideBySide, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="choose another folder"):
        write_side_by_side(found, tmp_path / "out")
