"""Variances between configurations and between seeds, against simulation and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.replay.effects import Effects, normal
from tuneoff.search.replay.line import Line


def test_normal_numbers_are_normal_and_a_function_of_the_words() -> None:
    drawn = np.array([normal("a", i) for i in range(4000)])
    assert abs(drawn.mean()) < 0.06
    assert abs(drawn.std() - 1) < 0.04
    assert np.mean(np.abs(drawn) > 1.96) == pytest.approx(0.05, abs=0.015)
    assert normal("a", 3) == drawn[3]
    assert normal("a", 3) != normal("b", 3)


def test_words_that_join_alike_are_told_apart() -> None:
    assert normal("a", "bc") != normal("ab", "c")


def test_variances_are_recovered() -> None:
    random = np.random.default_rng(0)
    own = random.normal(0, 2.0, 400)
    found = Effects.of(
        {f"{i}": list(b + random.normal(0, 0.5, 2 + i % 3)) for i, b in enumerate(own)}
    )
    assert found.separated
    assert found.between == pytest.approx(4.0, rel=0.15)
    assert found.within == pytest.approx(0.25, rel=0.15)
    # What is known of a configuration lies close to what it is, and closer than its variance says.
    errors = [found.known[f"{i}"][0] - b for i, b in enumerate(own)]
    expected = np.mean([variance for _, variance in found.known.values()])
    assert np.mean(np.square(errors)) == pytest.approx(expected, rel=0.25)


def test_a_balanced_analysis_of_variance_by_hand() -> None:
    groups = {"a": [1.5, 0.5], "b": [-0.5, -1.5], "c": [0.5, -0.5], "d": [0.5, -0.5]}
    found = Effects.of(groups)
    # SSW = 4 * 0.5 = 2 on 4 degrees; SSB = 2 * (1 + 1) = 4 on 3; n0 = 2.
    assert found.within == pytest.approx(0.5)
    assert found.between == pytest.approx((4 / 3 - 0.5) / 2)
    share = found.between / (found.between + 0.25)
    assert found.known["a"] == pytest.approx((share, found.between * (1 - share)))


def test_without_repeated_trainings_all_is_noise_between_seeds() -> None:
    found = Effects.of({"a": [0.3], "b": [-0.3], "c": [0.1]})
    assert not found.separated
    assert found.between == 0
    assert found.within == pytest.approx((0.09 + 0.09 + 0.01) / 3)
    assert found.of_configuration("a", 1) == 0


def test_typical_configurations_alone_tell_the_variances() -> None:
    calm = {f"{i}": [0.1, -0.1] for i in range(6)}
    wild = {f"wild {i}": [3.0 * (-1) ** i, -3.0 * (-1) ** i] for i in range(6)}
    found = Effects.of(calm | wild, typical=calm)
    assert found.within == pytest.approx(0.02)
    assert "wild 1" in found.known


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=4), max_size=12))
def test_variances_are_never_negative(groups: list[list[float]]) -> None:
    found = Effects.of({f"{i}": some for i, some in enumerate(groups)})
    assert found.between >= 0
    assert found.within >= 0
    assert all(variance >= 0 for _, variance in found.known.values())


def test_a_line_through_many_points_has_their_slope() -> None:
    random = np.random.default_rng(1)
    x = random.uniform(0, 10, 300)
    points = [(f"{i}", v, 2.0 + 0.5 * v + random.normal(0, 0.1)) for i, v in enumerate(x)]
    found = Line.of(points)
    assert found is not None
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.centre_y + found.slope * (4.0 - found.centre_x) == pytest.approx(4.0, abs=0.05)


def test_few_points_close_together_leave_the_slope_near_one() -> None:
    found = Line.of([("a", 0.10, 0.2), ("b", 0.11, 0.1), ("c", 0.12, 0.2)])
    assert found is not None
    assert found.slope == pytest.approx(1.0, abs=0.05)


def test_no_point_no_line() -> None:
    assert Line.of([]) is None
    one = Line.of([("a", 0.3, 0.4)])
    assert one is not None
    assert one.draw("b", 0.5, 0, "test", 0) == pytest.approx(0.6)
