"""Parameters with a condition: where it does not hold, nobody hears of them."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial

from tuneoff.search.policies.base import History
from tuneoff.search.policies.build import build_policy
from tuneoff.search.spec.condition import Condition
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.spec.space import SearchSpace

LR = {"low": 1e-4, "high": 1.0, "log": True}
BETA2 = {"low": 0.9, "high": 0.99, "when": "optimizer = 'adamw'"}
SPACE: dict[str, Any] = {
    "lr": LR,
    "optimizer": ["sgd", "adamw", "lion"],
    "optimizer_options.beta2": BETA2,
    "momentum": {"low": 0.5, "high": 0.9, "when": "optimizer in ['sgd']"},
    "nesterov": {"choices": [False, True], "when": "optimizer == 'sgd'"},
}


def spec_of(space: dict[str, Any], **changes: Any) -> StudySpec:
    values = {
        "name": "test",
        "data": {"name": "digits"},
        "trial": {"epochs": 3},
        "space": space,
        "budget": {"epochs": 60},
        "arms": {"a": {"sampler": "random"}},
    }
    return StudySpec.parse(values | changes, "test")


def space_of(space: dict[str, Any], **changes: Any) -> SearchSpace:
    return SearchSpace.of(spec_of(space, **changes))


@pytest.mark.parametrize(
    ("text", "on", "values"),
    [
        ("optimizer = 'adamw'", "optimizer", ("adamw",)),
        ('  optimizer=="adamw" ', "optimizer", ("adamw",)),
        ("optimizer in ['adamw', 'adam']", "optimizer", ("adamw", "adam")),
        ("nesterov = true", "nesterov", (True,)),
        ('"model_options.width" in [8, 16]', "model_options.width", (8, 16)),
        ("model_options.width = 8", "model_options.width", (8,)),
    ],
)
def test_what_conditions_say(text: str, on: str, values: tuple[Any, ...]) -> None:
    assert Condition.parse(text) == Condition(on, values)


@pytest.mark.parametrize(
    "text",
    [
        *("", "optimizer", "optimizer = ", "optimizer = adamw", "optimizer != 'sgd'"),
        *("optimizer in 'adamw'", "optimizer in []", "optimizer = ['adamw']", "x = {a = 1}"),
        *("optimizer = 'a'\ny = 'b'", "__import__('os') = 1", "lr > 0.1", "lr = 2020-01-01"),
    ],
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(ValueError, match="is no condition; write it as"):
        Condition.parse(text)


def test_one_and_true_are_two_values() -> None:
    assert Condition.parse("x = 1").holds({"x": 1})
    assert not Condition.parse("x = 1").holds({"x": True})


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("optimizer = 'adam'", "when: 'adam' is none of the choices of optimizer: 'sgd', 'adamw'"),
        ("lr = 0.1", "when: lr is a range; name a parameter that has choices"),
        ("schedule = 'step'", "when: schedule is not searched in this study"),
        ("momentum = 0.5", "when: momentum is not searched in this study, or has a condition"),
        ("optimizer in ['sgd', 'adamw', 'lion']", "when: holds for every choice; take it out"),
        ("optimizer", "is no condition"),
    ],
)
def test_conditions_that_cannot_be(when: str, said: str) -> None:
    space = SPACE | {"clip": {"low": 0.1, "high": 1.0, "when": when}}
    with pytest.raises(Exception, match=r"space\.clip") as caught:
        space_of(space)
    assert said in str(caught.value)


def test_without_its_condition_an_option_is_refused() -> None:
    space = SPACE | {"optimizer_options.beta2": {"low": 0.9, "high": 0.99}}
    with pytest.raises(ValueError, match=r"beta2 is an option of .*; with optimizer = \"sgd\""):
        space_of(space)


points = st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=5)


@pytest.mark.slow
@given(points, points)
def test_configurations_that_train_alike_are_equal(one: list[float], other: list[float]) -> None:
    space = space_of(SPACE)
    a, b = space.at(one), space.at(other)
    assert space.check(a) == a
    assert space.check(space.in_effect(a)) == a  # what plays no part may be missing
    assert (space.in_effect(a) == space.in_effect(b)) == (a == b)
    recipe, params = space.apply(space.recipe, a)
    assert recipe.optimizer == a["optimizer"]
    assert params.lr == a["lr"]
    is_sgd = a["optimizer"] == "sgd"
    assert params.momentum == (a["momentum"] if is_sgd else space.fixed.momentum)
    assert recipe.nesterov == (is_sgd and a["nesterov"])
    options = {"beta2": a["optimizer_options.beta2"]} if a["optimizer"] == "adamw" else {}
    assert recipe.optimizer_options == options
    assert space.in_effect(a).keys() == {
        *("lr", "optimizer"),
        *(("momentum", "nesterov") if is_sgd else ()),
        *(("optimizer_options.beta2",) if options else ()),
    }


def test_what_plays_a_part_may_not_be_missing() -> None:
    space = space_of(SPACE)
    with pytest.raises(ValueError, match=r"optimizer_options\.beta2 is missing"):
        space.check({"lr": 0.1, "optimizer": "adamw"})


def test_a_grid_has_no_two_that_train_alike() -> None:
    grid = space_of(SPACE).grid(3)
    # For each of three rates: sgd with 3 momenta and 2 forms, adamw with 3 betas, and lion.
    assert len(grid) == 3 * (3 * 2 + 3 + 1)
    assert len({str(one) for one in grid}) == len(grid)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS.names) - {"top-k"}))
def test_every_sampler_takes_them(sampler: str) -> None:
    spec = spec_of(SPACE, arms={"a": {"sampler": sampler, "startup": 3}})
    space = SearchSpace.of(spec)
    policy = build_policy(spec, space, "a", 0)
    study = optuna.create_study(study_name="fixed", direction="minimize")
    for _ in range(7):
        trials = tuple(study.get_trials(deepcopy=False))
        job = policy.next(History(study, trials, frozenset(), 3, 1000))
        assert job is not None
        params = space.check(job.params)
        error = 0.2 + 0.1 * (params["optimizer"] != "adamw") + abs(params["lr"] - 0.01)
        study.add_trial(
            create_trial(
                params=params,
                distributions=dict(space.distributions),
                user_attrs=dict(job.note),
                value=error,
                intermediate_values=dict.fromkeys((1, 2, 3), error),
            )
        )
    found = [trial.params for trial in study.trials]
    assert len({str(params) for params in found}) == len(found)
    assert {params["momentum"] for params in found if params["optimizer"] != "sgd"} <= {
        space.at([0.5] * 5)["momentum"]
    }


def test_a_command_hears_of_them_by_args_alone(spec_values: Any) -> None:
    space = {
        "kind": ["a", "b"],
        "x": {"low": 0.1, "high": 1.0, "when": "kind = 'a'"},
        "lr": None,
    }
    values = spec_values(space=space, data=None, trial={"command": "run {kind} {x}"})
    with pytest.raises(Exception, match=r"space\.x: has a condition") as caught:
        StudySpec.parse(values, "test")
    assert "pass all parameters by ${args} there" in str(caught.value)
    values = spec_values(space=space, data=None, trial={"command": "run ${args}"})
    made = SearchSpace.of(StudySpec.parse(values, "test"))
    recipe, _ = made.apply(made.recipe, {"kind": "b", "x": 0.5})
    assert dict(recipe.params) == {"kind": "b"}
