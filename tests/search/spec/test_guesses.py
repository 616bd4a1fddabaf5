"""Guesses of what to search: each can be searched, and has the default inside."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.spec.draft import Draft, split_up, text_of
from tuneoff.search.spec.guesses import Parameter, guess
from tuneoff.search.spec.sections import ParamSpec

NAMES = ("lr", "optimizer.lr", "weight-decay", "momentum", "dropout", "batch_size", "width", "µ")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**6), st.text(max_size=5),
    st.floats(allow_nan=True), st.floats(1e-9, 10.0),
)  # fmt: skip


@settings(max_examples=40)
@given(
    st.sampled_from(NAMES),
    VALUES,
    st.lists(st.one_of(st.integers(0, 9), st.text(max_size=3)), unique_by=str, max_size=3),
    st.sampled_from([None, int, float, bool, str]),
)
def test_a_guess_can_be_searched_and_holds_its_value(
    name: str, default: Any, choices: list[Any], kind: type | None
) -> None:
    found = guess(Parameter(name, default, choices, kind))
    if found is None:
        return
    param = ParamSpec.model_validate(tomllib.loads(f"x = {found.text}")["x"])
    if param.choices is not None:
        assert found.value in param.choices
    else:
        assert param.low is not None
        assert param.high is not None
        assert param.low <= found.value <= param.high


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (Parameter("lr", 0.1), "{ low = 0.01, high = 1.0, log = true }"),
        (Parameter("net.lr", 3e-4), "{ low = 3e-05, high = 0.003, log = true }"),
        (Parameter("momentum", 0.9), "{ low = 0.45, high = 0.99 }"),
        (Parameter("layers", 4), "{ low = 1, high = 16, log = true }"),
        (Parameter("nesterov", True), "[false, true]"),
        (Parameter("act", "relu", ("relu", "gelu")), '["relu", "gelu"]'),
        (Parameter("weight_decay", 0.0), "{ low = 1e-6, high = 1e-2, log = true }"),
        (Parameter("clip", 1.5), "{ low = 0.75, high = 3.0 }"),
    ],
)
def test_what_is_guessed(parameter: Parameter, text: str) -> None:
    found = guess(parameter)
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize("default", [None, "adam", [1, 2], -1, 0, float("nan")])
def test_nothing_is_made_up(default: Any) -> None:
    assert guess(Parameter("mystery", default)) is None


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), unique_by=lambda each: each[0]))
def test_a_draft_is_toml_whatever_is_known(found: list[tuple[str, Any]]) -> None:
    guesses, fixed, unknown = split_up([Parameter(*each) for each in found])
    text = text_of(Draft("mine", "x", "trainer", "a:b", guesses, fixed, unknown))
    values = tomllib.loads(text)
    assert set(values["space"]) == {each.name for each in guesses}
    assert len(guesses) + len(fixed) + len(unknown) == len(found)
