"""Study files of a user's own training: what they may say, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import StudyFile, preflight
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.spec.without_effect import without_effect
from tuneoff.trainer.contract import Task, recipe_from_dict
from tuneoff.trainer.own.recipe import RESERVED, OwnTraining


def values(**changes: Any) -> dict[str, Any]:
    return {
        "name": "own",
        "trial": {"trainer": "mytrain:train", "epochs": 4, "params": {"colour": "red"}},
        "space": {
            "lr": {"low": 1e-3, "high": 1, "log": True},
            "width": {"low": 1, "high": 8},
            "layers.0": {"low": 2, "high": 8, "step": 2},
            "rate": {"low": 0, "high": 1.0},
            "share": {"low": 0, "high": 1, "step": 0.25},
            "batch_size": {"low": 0.5, "high": 2.5},
            "act": ["relu", "tanh"],
        },
        "budget": {"epochs": 40},
        "arms": {"random": {"sampler": "random"}},
    } | changes


def spec(**changes: Any) -> StudySpec:
    return StudySpec.parse(values(**changes), "f.toml")


def test_whole_ends_make_integers() -> None:
    found = SearchSpace.of(spec()).distributions
    assert found["lr"] == FloatDistribution(1e-3, 1.0, log=True)
    assert found["width"] == IntDistribution(1, 8)
    assert found["layers.0"] == IntDistribution(2, 8, step=2)
    assert found["rate"] == FloatDistribution(0, 1)
    assert found["share"] == FloatDistribution(0, 1, step=0.25)
    assert found["batch_size"] == FloatDistribution(0.5, 2.5)  # its own, and not our trainer's
    assert found["act"] == CategoricalDistribution(("relu", "tanh"))


def test_it_is_stored_without_the_fields_of_our_trainer_and_read_back_equal() -> None:
    one = spec(promote={"epochs": 9, "params": {"colour": "blue"}})
    stored = one.model_dump(mode="json")
    assert stored["trial"].keys() == {"trainer", "command", "params", "epochs"}
    again = StudySpec.parse(stored, "stored")
    assert again == one
    assert again.digest() == one.digest()
    assert SearchSpace.of(again).distributions == SearchSpace.of(one).distributions
    assert one.changed(["trial.epochs=5"]).trial.epochs == 5
    assert spec(seed=1).digest() != one.digest()


def test_the_recipe_has_fixed_and_searched_parameters_and_those_of_full_training() -> None:
    one = spec(promote={"epochs": 9, "params": {"colour": "blue"}})
    space = SearchSpace.of(one)
    params = space.at([0.5] * 7)
    recipe, _ = space.apply(one.recipe(), params)
    assert recipe == OwnTraining(4, "mytrain:train", params={"colour": "red", **params})
    full = recipe.override(one.full_changes())
    assert full == OwnTraining(9, "mytrain:train", params={"colour": "blue", **params})
    assert recipe_from_dict(full.to_dict()) == full
    command = OwnTraining(3, command="train {lr}")
    assert recipe_from_dict(command.to_dict()) == command
    assert len(dict.fromkeys([recipe, recipe, full])) == 2


def test_images_are_for_our_trainer_alone() -> None:
    trial = {"epochs": 4, "images": 100}
    ours = spec(
        trial=trial, data={"name": "digits"}, promote={"epochs": 9}, space={"lr": [0.1, 0.2]}
    )
    assert ours.full_changes() == {"images": 0, "epochs": 9}
    assert (
        ours.digest()
        == spec(
            trial=trial | {"params": {}},
            data={"name": "digits"},
            promote={"epochs": 9},
            space={"lr": [0.1, 0.2]},
        ).digest()
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial": {"trainer": "mytrain"}}, 'trainer = "mytrain" is no reference'),
        ({"trial": {"trainer": "a:b", "command": "c"}}, "trainer and command: give one of them"),
        ({"trial": {"command": "  "}}, 'command = "" is empty'),
        (
            {"trial": {"trainer": "a:b", "batch_size": 128}},
            "batch_size is for tuneoff's own trainer, and this study's code is your own: what that "
            "is to be given goes into [trial.params]",
        ),
        ({"trial": {"trainer": "a:b", "lr": 0.1}}, "lr is for tuneoff's own trainer"),
        ({"trial": {"epochs": 4, "params": {"x": 1}}}, "trial: params is for code of your own"),
        ({"data": {"name": "digits"}}, "data: is for tuneoff's own trainer"),
        ({"promote": {"epochs": 9, "batch_size": 8}}, "promote.batch_size: is for tuneoff's own"),
        ({"promote": {"epochs": 9, "params": {"seed": 8}}}, "promote.params: seed is refused as"),
        ({"space": {"a b": [1, 2]}}, "space: 'a b' is refused as a parameter's name"),
        ({"arms": {"hand": {"persona": "paper"}}}, "arms.hand.persona: "),
        ({"trial": {"epochs": 4}}, "data: is missing; add it"),
    ],
)
def test_what_does_not_belong_is_refused_in_one_line(changes: Any, said: str) -> None:
    with pytest.raises(SpecError) as raised:
        spec(**changes)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=f"space: {name} is refused as a parameter's name"):
        spec(space={name: [1, 2]})
    with pytest.raises(SpecError, match=f"{name} is refused as a parameter's name"):
        spec(trial={"trainer": "a:b", "params": {name: 1}})


def test_what_has_no_effect_is_said() -> None:
    one = spec(
        trial={"trainer": "a:b", "epochs": 4, "params": {"act": "relu"}},
        space={"act": ["relu", "tanh"], "dropout": {"low": 0, "high": 1}},
    )
    lines = list(without_effect(one))
    assert any("trial.params.act has no effect, as [space] searches act" in line for line in lines)
    assert any("write 0.0 and 1.0" in line for line in lines)


def test_an_ensemble_needs_predictions() -> None:
    one = spec(
        promote={"epochs": 9}, ensemble={"members": [{"params": {"width": 2}}, {"epochs": 5}]}
    )
    assert one.member_changes() == ({"epochs": 9, "width": 2}, {"epochs": 5})
    file = StudyFile.of(one)
    preflight(file, lambda recipe: Task.own("d", predicts=True))
    with pytest.raises(SpecError, match=r"\[ensemble\]: needs predictions"):
        preflight(file, lambda recipe: Task.own("d"))
    trial = {"command": "python t.py ${args} --n {epochs}", "epochs": 4}
    command = spec(trial=trial, promote={"epochs": 9}, ensemble={"members": [{"epochs": 5}]})
    with pytest.raises(SpecError, match="a command makes none; take it out"):
        preflight(StudyFile.of(command), lambda recipe: Task.own("d"))


def test_nothing_is_divided_by_classes_that_are_not_known() -> None:
    assert Task.own("d").chance_error == 1.0
    assert Task.own("d").is_own
