"""Foreign text in figures: no mark-up, and no escape that plotly would show as it is."""

from __future__ import annotations

import re
from pathlib import Path

import tuneoff.search.report
from tuneoff.search.report.figures.base import shown


def test_mark_up_is_text_and_quotes_are_quotes() -> None:
    assert shown("""<b>it's "bold" & more</b>""") == """&lt;b&gt;it's "bold" &amp; more&lt;/b&gt;"""
    assert shown("\x1b[2J\u202e") == r"\x1b[2J\u202e"


def test_every_figure_shows_foreign_text_so() -> None:
    (folder,) = map(Path, tuneoff.search.report.__path__)
    others = [
        path.name
        for path in folder.rglob("*.py")
        if re.search(r"from html import|html\.escape\(", path.read_text(encoding="utf-8"))
    ]
    assert others == ["base.py"]
