"""Cells that a spreadsheet must not execute."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.csv_cells import csv_line, safe_cell


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1",
        "＋1",
        "-a.png",
    ],
)
def test_what_may_be_a_formula_begins_with_an_apostrophe(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-0.5", "+3", "-1e-4", "-.5", "7", "", "a=b", "cat", "ü-1"])
def test_numbers_and_words_stay(text: str) -> None:
    assert safe_cell(text) == text


@given(st.lists(st.text(max_size=8), min_size=2, max_size=4))
def test_a_line_is_read_as_its_cells(cells: list[str]) -> None:
    (raw,) = csv.reader(io.StringIO(csv_line(cells, raw=True), newline=""))
    assert raw == cells
    (safe,) = csv.reader(io.StringIO(csv_line(cells), newline=""))
    assert safe == [safe_cell(cell) for cell in cells]
    assert not any(cell[:1] in ("=", "@", "\t", "\r", "\n") for cell in safe if cell)
