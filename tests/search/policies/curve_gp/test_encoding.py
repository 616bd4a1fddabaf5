"""Parameters as points and columns: there and back, and at which distances."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuneoff.search.policies.curve_gp.encoding import Encoding

CHOICES = ("plateau", "cosine", "step")
EVERY_KIND = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.5, 0.99),
    "schedule": CategoricalDistribution(CHOICES),
    "warmup_epochs": FloatDistribution(0.5, 3.5, step=0.25),
    "patience": IntDistribution(2, 20, step=3),
    "flip": CategoricalDistribution((True, False)),
    "batch_size": IntDistribution(16, 512, log=True),
}
unit = st.floats(0.0, 1.0)
points = st.lists(unit, min_size=len(EVERY_KIND), max_size=len(EVERY_KIND)).map(np.array)


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """The kinds of parameters in any order and number, with any ranges."""
    low, width = draw(st.floats(-1e3, 1e3)), draw(st.floats(1e-3, 1e4))
    least, ratio = draw(st.floats(1e-8, 1e3)), draw(st.floats(1.01, 1e6))
    whole, more = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    step, steps = draw(st.sampled_from([0.25, 0.5, 2.0])), draw(st.integers(1, 20))
    kinds = {
        "float": FloatDistribution(low, low + width),
        "log float": FloatDistribution(least, least * ratio, log=True),
        "stepped float": FloatDistribution(step, step + steps * step, step=step),
        "int": IntDistribution(-whole, more),
        "stepped int": IntDistribution(whole, whole + 3 * more, step=3),
        "log int": IntDistribution(whole, whole + more, log=True),
        "choices": CategoricalDistribution(CHOICES[: draw(st.integers(2, 3))]),
        "flags": CategoricalDistribution((True, False)),
    }
    names = draw(st.lists(st.sampled_from(list(kinds)), min_size=1, unique=True))
    return Encoding({name: kinds[name] for name in names})


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equal, but for the rounding of floats."""
    assert list(one) == list(other)
    assert [type(value) for value in one.values()] == [type(value) for value in other.values()]
    return all(
        value == other[name]
        if not isinstance(value, float)
        else value == pytest.approx(other[name], rel=1e-9, abs=1e-9)
        for name, value in one.items()
    )


@given(encodings(), st.data())
def test_parameters_come_back_from_their_columns(encoding: Encoding, data: st.DataObject) -> None:
    params = encoding.params(np.array([data.draw(unit) for _ in encoding.distributions]))
    for name, distribution in encoding.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(params[name])), name
    columns = encoding.columns(params)
    assert columns.shape == encoding.parameter.shape
    assert np.all((columns >= -1e-9) & (columns <= 1 + 1e-9))
    assert same(encoding.params(encoding.point(columns)), params)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_both_ends_of_every_range_are_reached_and_come_back(name: str) -> None:
    encoding = Encoding({name: EVERY_KIND[name]})
    ends = [encoding.params(np.array([u]))[name] for u in (0.0, 1.0)]
    distribution: Any = EVERY_KIND[name]
    if isinstance(distribution, CategoricalDistribution):
        assert ends == [distribution.choices[0], distribution.choices[-1]]
    else:
        assert ends == pytest.approx([distribution.low, distribution.high])
    for end in ends:
        assert same(encoding.params(encoding.point(encoding.columns({name: end}))), {name: end})


def test_every_whole_number_and_every_step_has_a_place_of_its_own() -> None:
    for name in ("warmup_epochs", "patience", "batch_size"):
        distribution: Any = EVERY_KIND[name]
        encoding = Encoding({name: distribution})
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        values = [distribution.low + i * distribution.step for i in range(count)]
        places = [float(encoding.columns({name: value})[0]) for value in values]
        assert 0 < places[0] < places[-1] < 1
        assert places == sorted(set(places))
        assert [encoding.params(np.array([place]))[name] for place in places] == values


@given(st.lists(points, min_size=1, max_size=5))
def test_to_snap_points_is_to_take_the_columns_of_their_parameters(points: list[Any]) -> None:
    encoding = Encoding(EVERY_KIND)
    expected = [encoding.columns(encoding.params(point)) for point in points]
    assert encoding.snap(np.array(points)) == pytest.approx(np.array(expected), abs=1e-12)


@given(points)
def test_what_was_snapped_stays_where_it_is(point: Any) -> None:
    encoding = Encoding(EVERY_KIND)
    snapped = encoding.snap(point[None, :])
    again = encoding.snap(encoding.point(snapped[0])[None, :])
    assert again == pytest.approx(snapped, abs=1e-9)


def test_two_choices_are_as_far_apart_as_the_ends_of_a_range() -> None:
    encoding = Encoding({"lr": EVERY_KIND["lr"], "schedule": EVERY_KIND["schedule"]})
    assert encoding.parameter.tolist() == [0, 1, 1, 1]
    places = [encoding.columns({"lr": 0.01, "schedule": choice}) for choice in CHOICES]
    for one, other in itertools.combinations(places, 2):
        assert np.linalg.norm(one - other) == pytest.approx(1.0)
    ends = [encoding.columns({"lr": lr, "schedule": "step"}) for lr in (1e-4, 1.0)]
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(1.0)


def test_ranges_are_measured_on_their_scale() -> None:
    encoding = Encoding({"lr": EVERY_KIND["lr"], "momentum": EVERY_KIND["momentum"]})
    columns = encoding.columns({"lr": 0.01, "momentum": 0.5 + 0.49 / 4})
    assert columns == pytest.approx([0.5, 0.25])
    # As a study file may have it: a whole number in a range of floats.
    assert encoding.columns({"lr": 1, "momentum": 0.5}) == pytest.approx([1.0, 0.0])


def test_a_missing_parameter_is_named() -> None:
    encoding = Encoding(EVERY_KIND)
    params = encoding.params(np.full(len(EVERY_KIND), 0.5))
    for name in EVERY_KIND:
        with pytest.raises(ValueError, match=f"{name} is missing"):
            encoding.columns({key: value for key, value in params.items() if key != name})


def test_a_value_that_is_no_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="linear"):
        Encoding({"schedule": EVERY_KIND["schedule"]}).columns({"schedule": "linear"})


def test_other_parameters_of_a_trial_do_not_count() -> None:
    encoding = Encoding({"momentum": EVERY_KIND["momentum"]})
    assert encoding.columns({"momentum": 0.99, "depth": 7}) == pytest.approx([1.0])
