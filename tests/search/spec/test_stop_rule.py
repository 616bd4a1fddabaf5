"""[budget] ``stop_when``: how a rule is written, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.stop_rule import StopRule

Values = Callable[..., dict[str, Any]]


def spec(values: Values, rule: str | None) -> StudySpec:
    budget: dict[str, Any] = {"epochs": 99} | ({} if rule is None else {"stop_when": rule})
    return StudySpec.parse(values(budget=budget), "study.toml")


@given(st.floats(1e-6, 99.9), st.integers(1, 10**9))
def test_a_rule_is_read_as_it_is_written(points: float, epochs: int) -> None:
    rule = StopRule(points, epochs)
    assert StopRule.parse(str(rule)) == rule


def test_a_rule_is_part_of_a_study_however_it_is_spaced(spec_values: Values) -> None:
    plain, none = spec(spec_values, "gain < 0.1 within 50 epochs"), spec(spec_values, None)
    assert plain.budget.stop_rule == StopRule(0.1, 50)
    assert spec(spec_values, " gain<0.10  within 50 epochs ").digest() == plain.digest()
    assert plain.digest() != none.digest()
    assert none.budget.stop_rule is None
    assert plain.differences(none) == [
        "budget.stop_when is 'gain < 0.1 within 50 epochs', not None"
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("gain < 0.1", "'gain < 0.1' is no rule to stop by; write it as \"gain < 0.1 within"),
        ("gain < 0.1% within 50 epochs", "'0.1%' is no number of points"),
        ("gain < 0 within 50 epochs", "a gain of 0 points is refused; give one between"),
        ("gain < nan within 50 epochs", "a gain of nan points is refused"),
        ("gain < 0.1 within 5.5 epochs", "'5.5' is no whole number of epochs"),
        ("gain < 0.1 within 0 epochs", "0 epochs are refused; give 1 to"),
        ("gain < 0.1 within 1 epoch", "looks 1 epoch ahead; give at least one trial"),
        ("gain < 0.1 within 2 epochs", "looks 2 epochs ahead; give at least one trial"),
        ("gain < 0.1 within 100 epochs", r"at most the budget \(99\)"),
    ],
)
def test_what_is_refused(spec_values: Values, rule: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        spec(spec_values, rule)
    assert "\n" not in str(caught.value)
    assert "budget.stop_when" in str(caught.value)
