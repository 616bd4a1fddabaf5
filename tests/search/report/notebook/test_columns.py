"""What a notebook's columns mean is said in the words of the study's metric."""

from __future__ import annotations

import pytest

from tuneoff.metric import ERROR, KNOWN, Metric
from tuneoff.search.report.notebook.columns import COLUMNS, ERRORS, columns_of


@pytest.mark.parametrize(
    ("metric", "best", "difference"),
    [
        (
            ERROR,
            "its lowest validation error, 0 to 1",
            "the baseline's error minus the reference's",
        ),
        (
            KNOWN["accuracy"],
            "its highest validation accuracy, as 1 - accuracy, 0 to 1",
            "the reference's accuracy minus the baseline's",
        ),
        (
            KNOWN["AUROC"],
            "its highest validation AUROC, as -AUROC, so that lower is better",
            "the reference's AUROC minus the baseline's",
        ),
        (
            KNOWN["validation loss"],
            "its lowest validation loss",
            "the baseline's loss minus the reference's",
        ),
    ],
)
def test_values_and_differences(metric: Metric, best: str, difference: str) -> None:
    assert columns_of("trials", metric)["best_error"] == best
    said = columns_of("differences", metric)["difference"]
    assert said.partition(":")[0] == difference
    assert ("-1 to 1" in said) == metric.percent


def test_every_column_of_errors_says_it_and_no_other_claims_it() -> None:
    for table, columns in COLUMNS.items():
        found = columns_of(table, KNOWN["AUROC"])
        assert list(found) == list(columns)
        for name, meaning in found.items():
            assert ("-AUROC" in meaning) == (name in ERRORS)
