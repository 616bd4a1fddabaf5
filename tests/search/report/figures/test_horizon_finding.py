"""The sentence about the search's own runs, against the correlations it is read from."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tuneoff.metric import ERROR
from tuneoff.search.report.figures.horizon import curves_finding
from tuneoff.search.results.horizon.records import CurveRanks


def ranks(epoch: int, spearman: float | None) -> CurveRanks:
    values: dict[str, Any] = dict.fromkeys((field.name for field in fields(CurveRanks)), None)
    return CurveRanks(**{**values, "epoch": epoch, "spearman": spearman})


@given(st.lists(st.none() | st.floats(-1, 1), max_size=5))
def test_the_first_and_the_last_known_are_named(correlations: list[float | None]) -> None:
    said = curves_finding([ranks(n, c) for n, c in enumerate(correlations, start=1)], ERROR)
    known = [(n, c) for n, c in enumerate(correlations, start=1) if c is not None]
    assert bool(said) is bool(known)
    if known:
        assert f"after epoch {known[0][0]} " in said
        assert f"of {known[0][1]:.2f}" in said
    if len(known) > 1:
        assert f"after epoch {known[-1][0]} with {known[-1][1]:.2f}" in said
