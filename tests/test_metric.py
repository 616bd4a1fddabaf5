"""Metrics: stored so that lower is better, and shown as people know them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.metric import ERROR, KNOWN, Metric, four_digits, known, three_digits

LOSS = KNOWN["validation loss"]
AUROC = KNOWN["AUROC"]
ACCURACY = KNOWN["accuracy"]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.floats(0, 1)


@given(FINITE)
def test_the_default_metric_stores_and_shows_errors_as_they_are(error: float) -> None:
    assert ERROR.stored(error) == ERROR.value(error) == error
    assert ERROR.number(error) == 100 * error
    assert ERROR.cell(error) == f"{100 * error:.2f}"
    assert ERROR.text(error) == f"{100 * error:.2f}%"


def test_a_range_is_that_of_stored_values() -> None:
    assert ERROR.stored_range == ACCURACY.stored_range == (0, 1)
    assert AUROC.stored_range == (-1, 0)
    assert Metric("validation auroc", "maximize").stored_range == (0, 1)
    assert Metric("log loss", percent=False).stored_range == (0, math.inf)
    assert LOSS.stored_range == (-math.inf, math.inf)


@given(FINITE)
def test_unbounded_values_come_back_bit_for_bit(value: float) -> None:
    for metric in (LOSS, AUROC):
        assert metric.value(metric.stored(value)) == value


@given(SHARES, SHARES)
def test_what_is_better_is_stored_lower(one: float, other: float) -> None:
    for metric in (ACCURACY, AUROC):
        if one > other:
            assert metric.stored(one) <= metric.stored(other)
    assert 0 <= ACCURACY.stored(one) <= 1
    assert ACCURACY.value(ACCURACY.stored(one)) == pytest.approx(one)


def test_values_and_differences_are_shown_as_people_know_them() -> None:
    stored = AUROC.stored(0.912)
    assert AUROC.text(stored) == AUROC.cell(stored) == "0.9120"
    assert ACCURACY.text(ACCURACY.stored(0.912)) == "91.20%"
    assert LOSS.text(0.43216) == "0.4322"
    # The baseline minus the reference: plus means that the reference is better, whatever is good.
    assert AUROC.difference(AUROC.stored(0.90) - AUROC.stored(0.912)) == "+0.0120"
    assert ACCURACY.difference(ACCURACY.stored(0.90) - ACCURACY.stored(0.912)) == "+1.20"
    assert LOSS.difference(0.4 - 0.5) == "-0.100"
    assert ERROR.span(-0.0024, -0.00001) == "-0.24 to just below 0"
    assert (LOSS.cell(None), LOSS.cell(0.0), LOSS.size(-0.0)) == ("–", "0", "0")


def test_words_follow_the_metric() -> None:
    text = "the lowest validation error, %, is lower than all other errors by 2 points"
    assert ERROR.in_words(text) == text
    assert AUROC.in_words(text) == (
        "the highest validation AUROC, is higher than all other AUROC values by 2"
    )
    assert LOSS.in_words("test errors; test error-rate") == "test losses; test error-rate"
    assert (LOSS.on("test"), AUROC.on("validation")) == ("test loss", "validation AUROC")
    assert (ERROR.stored_name, LOSS.stored_name) == ("validation error", "validation loss")
    assert (AUROC.stored_name, ACCURACY.stored_name) == (
        "-(validation AUROC)",
        "1 - validation accuracy",
    )


@pytest.mark.parametrize("metric", KNOWN.values(), ids=list(KNOWN))
def test_a_metric_is_read_back_and_found_whatever_its_capitals(metric: Metric) -> None:
    assert Metric.from_dict(metric.to_dict()) == metric
    assert known(metric.name.upper()) == metric


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"name": "a\nb"},
        {"direction": "up"},
        {"worst": math.nan},
        {"worst": 2.0},
    ],
)
def test_what_is_no_metric_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Metric(**wrong)  # type: ignore[arg-type]


@given(st.floats(1e-12, 1e12))
def test_numbers_of_any_size_are_shown_to_their_last_digit(value: float) -> None:
    assert float(four_digits(value).replace(",", "")) == pytest.approx(value, rel=0.006)
    assert float(three_digits(value).replace(",", "")) == pytest.approx(value, rel=0.06)
