"""The search space: points of the unit cube become parameters, and parameters find their place."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.recipe import HyperParams


def space_of(space: dict[str, Any], **trial: Any) -> SearchSpace:
    values = {
        "name": "test",
        "data": {"name": "digits"},
        "trial": {"epochs": 30, **trial},
        "space": space,
        "budget": {"epochs": 99},
        "arms": {"a": {"sampler": "random"}},
    }
    return SearchSpace.of(StudySpec.parse(values, "test"))


unit = st.floats(0, 1, exclude_max=True)
rates = st.floats(1e-8, 1e3)


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """One of each kind: float, log float, stepped float, integer, log integer, choices."""
    low, high = sorted(draw(st.tuples(rates, rates).filter(lambda r: r[0] < r[1])))
    step = draw(st.sampled_from([0.001, 0.01, 0.1, 0.05, 0.3, 1 / 3]))
    first = draw(st.integers(0, 9)) * step
    whole = draw(st.integers(2, 300))
    return {
        "lr": {"low": low, "high": high, "log": draw(st.booleans())},
        "warmup_epochs": {
            "low": first,
            "high": float(f"{first + draw(st.integers(1, 20)) * step:.10g}"),
            "step": step,
        }
        if step != 1 / 3
        else {"low": 0, "high": 2, "step": 0.5},
        "batch_size": {
            "low": whole,
            "high": whole + draw(st.integers(1, 300)),
            "log": draw(st.booleans()),
        },
        "patience": {"low": 2, "high": 2 + 3 * draw(st.integers(1, 9)), "step": 3},
        "schedule": ["plateau", "cosine", "step"],
        "flip": [True, False],
    }


@pytest.mark.slow
@given(spaces(), st.lists(unit, min_size=6, max_size=6))
def test_every_point_lies_inside(space: dict[str, Any], point: list[float]) -> None:
    try:
        built = space_of(space)
    except ValueError:  # a stepped range whose floats do not add up
        assume(False)
    params = built.at(point)
    assert list(params) == list(space)
    assert built.check(params) == params
    for name, distribution in built.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(params[name]))
    recipe, optimiser = built.apply(built.recipe, params)
    assert (optimiser.lr, recipe.batch_size) == (params["lr"], params["batch_size"])


@given(rates, st.floats(1.01, 1e4), unit, unit)
def test_points_keep_their_order(low: float, factor: float, u: float, v: float) -> None:
    for log in (False, True):
        space = space_of({"lr": {"low": low, "high": min(low * factor, 1e6), "log": log}})
        if u <= v:
            assert space.at([u])["lr"] <= space.at([v])["lr"]


def test_a_log_range_is_even_in_its_logarithm() -> None:
    space = space_of({"lr": {"low": 1e-4, "high": 1.0, "log": True}})
    assert space.at([0.5])["lr"] == pytest.approx(1e-2)
    assert space.at([0.0])["lr"] == pytest.approx(1e-4)
    assert space.at([0.25])["lr"] == pytest.approx(1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ({"low": 3, "high": 9}, range(3, 10)),
        ({"low": 1, "high": 13, "step": 4}, (1, 5, 9, 13)),
    ],
)
def test_every_whole_number_is_equally_likely(spec: dict[str, Any], values: Any) -> None:
    space = space_of({"patience": spec})
    n = 1000 * len(values)
    counts = Counter(space.at([(i + 0.5) / n])["patience"] for i in range(n))
    assert counts.keys() == set(values)
    assert all(abs(count - 1000) <= 2 for count in counts.values())
    assert all(type(value) is int for value in counts)


def test_whole_numbers_on_a_log_scale_are_all_there() -> None:
    space = space_of({"patience": {"low": 1, "high": 16, "log": True}})
    counts = Counter(space.at([i / 5000])["patience"] for i in range(5000))
    assert counts.keys() == set(range(1, 17))
    shares = [counts[k] / 5000 for k in range(1, 17)]
    expected = [math.log((k + 0.5) / (k - 0.5)) / math.log(16.5 / 0.5) for k in range(1, 17)]
    assert shares == pytest.approx(expected, abs=1e-3)


def test_choices_share_the_cube_evenly() -> None:
    space = space_of({"schedule": ["step", "cosine", "plateau"]})
    counts = Counter(space.at([i / 3000])["schedule"] for i in range(3000))
    assert counts == {"step": 1000, "cosine": 1000, "plateau": 1000}


@given(st.integers(1, 5))
def test_a_grid_has_every_combination_once(points: int) -> None:
    space = space_of(
        {
            "lr": {"low": 1e-3, "high": 1.0, "log": True},
            "momentum": {"low": 0.5, "high": 0.9},
            "flip": [True, False],
        }
    )
    grid = space.grid(points)
    assert len(grid) == 2 * points**2
    assert len({tuple(params.values()) for params in grid}) == len(grid)
    for params in grid:
        assert space.check(params) == params


def test_names_find_their_place() -> None:
    space = space_of(
        {"lr": [0.1, 0.2], "batch_size": [16, 32], "schedule": ["step", "cosine"]},
        momentum=0.5,
        weight_decay=0.25,
        precision="fp32",
    )
    recipe, optimiser = space.apply(
        space.recipe, {"lr": 0.2, "batch_size": 16, "schedule": "cosine"}
    )
    assert optimiser == HyperParams(lr=0.2, momentum=0.5, weight_decay=0.25)
    assert recipe == space.recipe.override({"batch_size": 16, "schedule": "cosine"})
    assert recipe.precision == "fp32"


def test_whole_numbers_serve_as_floats_and_not_the_reverse() -> None:
    space = space_of({"warmup_epochs": {"low": 0, "high": 2}, "patience": {"low": 1, "high": 9}})
    checked = space.check({"patience": 2, "warmup_epochs": 1})
    assert checked == {"warmup_epochs": 1.0, "patience": 2}
    assert type(checked["warmup_epochs"]) is float
    for wrong in (2.0, True, "2"):
        with pytest.raises(ValueError, match=r"patience = .* has the wrong type; .* whole number"):
            space.check({"warmup_epochs": 1.0, "patience": wrong})


@pytest.mark.parametrize("value", [0.0, 1.1, float("nan"), float("inf"), 0.15])
def test_what_lies_outside_is_refused(value: Any) -> None:
    space = space_of({"lr": {"low": 0.1, "high": 1.0, "step": 0.1}})
    with pytest.raises(ValueError, match="lies outside the space"):
        space.check({"lr": value})


@pytest.mark.parametrize("value", ["0.1", None, True])
def test_what_is_no_number_has_the_wrong_type(value: Any) -> None:
    space = space_of({"lr": {"low": 0.1, "high": 1.0}})
    with pytest.raises(ValueError, match=r"lr = .* has the wrong type; lr is a number"):
        space.check({"lr": value})


def test_a_choice_is_taken_by_value_and_type() -> None:
    space = space_of({"warmup_epochs": [0, 1, 2.5]})
    assert space.check({"warmup_epochs": 1}) == {"warmup_epochs": 1}
    with pytest.raises(ValueError, match=r"one of 0, 1, 2\.5"):
        space.check({"warmup_epochs": True})
