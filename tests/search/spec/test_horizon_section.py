"""[horizon]: what it may say, and that it is no part of a study's identity."""

from __future__ import annotations

from typing import Any

import pytest

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec


def parse(values: dict[str, Any]) -> StudySpec:
    return StudySpec.parse(values, "study.toml")


def test_horizons_are_kept_in_order_with_what_else_changes(spec_values: Any) -> None:
    spec = parse(spec_values(horizon={"epochs": [30, 3, 10], "schedule": "cosine"}))
    assert spec.horizon is not None
    assert (spec.horizon.epochs, spec.horizon.configurations, spec.horizon.seeds) == (
        (3, 10, 30),
        20,
        1,
    )
    assert spec.horizon.changes(10) == {"epochs": 10, "schedule": "cosine"}
    assert [c["epochs"] for c in spec.later_changes().values()] == [3, 10, 30]


def test_it_is_no_part_of_the_identity(spec_values: Any) -> None:
    without, with_it = parse(spec_values()), parse(spec_values(horizon={"epochs": [3, 9]}))
    assert without.digest() == with_it.digest()
    assert without.differences(with_it) == []


def test_it_takes_a_preset(spec_values: Any) -> None:
    spec = parse(spec_values(horizon={"epochs": [3, 9], "preset": "paper-resnet18"}))
    assert spec.horizon is not None
    assert spec.horizon.changes(9)["model"] == "resnet18"
    assert spec.horizon.changes(9)["epochs"] == 9


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "horizon.epochs: is missing"),
        ({"epochs": [3]}, "give at least 2"),
        ({"epochs": [3, 3]}, "lists a horizon twice"),
        ({"epochs": [0, 3]}, "horizon.epochs.0"),
        ({"epochs": []}, "horizon.epochs: is empty; give at least 2"),
        ({"epochs": [3]}, "horizon.epochs: has 1; give at least 2"),
        ({"epochs": 3}, "horizon.epochs: 3 has the wrong type: write a list, as in "),
        ({"epochs": [3, 9], "configurations": 3}, "horizon.configurations"),
        ({"epochs": [3, 9], "seed": 3}, "did you mean 'seeds'"),
        ({"epochs": [3, 9], "batch_size": 0}, "horizon.epochs = 3"),
    ],
)
def test_mistakes_get_one_line(spec_values: Any, section: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(spec_values(horizon=section))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_arm_of_that_name_is_refused_only_beside_the_section(spec_values: Any) -> None:
    arms = {"horizon": {"sampler": "random"}}
    assert "horizon" in parse(spec_values(arms=arms)).arms  # there may be such studies
    with pytest.raises(SpecError, match=r"arms\.horizon: this name cannot be used"):
        parse(spec_values(arms=arms, horizon={"epochs": [3, 9]}))
