"""The studies of a database for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from tuneoff.search.cli.console import lines

if TYPE_CHECKING:
    from tuneoff.search.results.studies import StudyLine

_FEW: Final = 3
"""Names of arms that are shown."""


def studies_table(studies: Sequence[StudyLine]) -> Table:
    """Studies for people, one in a row; it fits into 80 columns."""
    from tuneoff.search.results.numbers import duration

    table = Table(
        Column("Study", overflow="fold"),
        "State",
        "Arms",
        Column(lines("Search", "epochs"), justify="right", no_wrap=True),
        "Answer",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for one in studies:
        spent = f"{one.spent:,} / {one.budget:,}" if one.budget else ""
        if one.budget_seconds is not None:
            spent = f"{one.spent:,} (of {duration(one.budget_seconds)})"
        table.add_row(one.name, one.state, lines(*_few(one.arms)), spent, _answer(one))
    return table


def _answer(one: StudyLine) -> str:
    if one.answer:
        return f"so far: {one.answer}" if one.is_early else one.answer
    return "not compared yet" if one.spent else ""


def _few(names: Sequence[str]) -> list[str]:
    """The first names, and how many more there are."""
    if len(names) <= _FEW:
        return list(names)
    return [*names[: _FEW - 1], f"{len(names) - _FEW + 1} more"]
