"""[compare]: what may change while a study runs, and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec


def spec(**compare: Any) -> StudySpec:
    values = {
        "name": "small",
        "data": {"name": "digits"},
        "space": {"lr": {"low": 0.001, "high": 1.0}},
        "budget": {"epochs": 9},
        "arms": {"random": {"sampler": "random"}},
    }
    return StudySpec.parse(values | ({"compare": compare} if compare else {}), "study.toml")


@pytest.mark.parametrize(
    "compare", [{"until": "decided"}, {"max_repeats": 9}, {"max_hours": 2.5}, {"epochs": 100}]
)
def test_how_long_evidence_is_gathered_is_no_part_of_a_study(compare: dict[str, Any]) -> None:
    assert spec(**compare).digest() == spec().digest()
    assert spec(**compare).differences(spec()) == []


def test_the_smallest_effect_is_declared_once() -> None:
    assert spec(smallest_effect=0.5).digest() != spec().digest()
    assert spec(smallest_effect=0.5).differences(spec(smallest_effect=1.0)) == [
        "compare.smallest_effect is 0.5, not 1.0"
    ]


@pytest.mark.parametrize(
    ("compare", "said"),
    [
        ({"until": "sure"}, "compare.until"),
        ({"smallest_effect": 0.0}, "compare.smallest_effect"),
        ({"smallest_efect": 0.5}, "did you mean 'smallest_effect'?"),
        ({"max_repeats": 1}, "compare.max_repeats"),
    ],
)
def test_what_is_refused(compare: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        spec(**compare)
