"""class_path and init_args are another way to write a reference and its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec

Values = Callable[..., dict[str, Any]]

NET = {"class_path": "mynet.parts.Net", "init_args": {"width": 8}}
MEMBERS = {"top": 1, "seeds": 1, "epochs": 3}

# Sections of a study file, and what they mean.
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "model": (
        {"trial": {"model": NET}},
        {"trial": {"model": "mynet.parts:Net", "model_options": {"width": 8}}},
    ),
    "a colon": (
        {"trial": {"model": {"class_path": "mynet:Net.Small"}}},
        {"trial": {"model": "mynet:Net.Small"}},
    ),
    "optimizer and loss": (
        {
            "trial": {
                "optimizer": {"class_path": "torch.optim.NAdam", "init_args": {"eps": 1e-7}},
                "loss": {"class_path": "mine.focal", "init_args": {"gamma": 2.0}},
            }
        },
        {
            "trial": {
                "optimizer": "torch.optim:NAdam",
                "optimizer_options": {"eps": 1e-7},
                "loss": "mine:focal",
                "loss_options": {"gamma": 2.0},
            }
        },
    ),
    "images": (
        {"data": {"name": {"class_path": "mydata.load", "init_args": {"size": 64}}}},
        {"data": {"name": "mydata:load", "options": {"size": 64}}},
    ),
    "later trainings": (
        {"promote": MEMBERS | {"model": NET}, "ensemble": {"members": [{"model": NET}]}},
        {
            "promote": MEMBERS | {"model": "mynet.parts:Net", "model_options": {"width": 8}},
            "ensemble": {"members": [{"model": "mynet.parts:Net", "model_options": {"width": 8}}]},
        },
    ),
    "sampler and pruner, with one within": (
        {
            "arms": {
                "a": {
                    "sampler": {
                        "class_path": "optuna.samplers.CmaEsSampler",
                        "init_args": {"popsize": 8},
                    },
                    "pruner": {
                        "class_path": "optuna.pruners.PatientPruner",
                        "init_args": {
                            "wrapped_pruner": {
                                "class_path": "optuna.pruners.PercentilePruner",
                                "init_args": {"percentile": 25.0},
                            },
                            "patience": 2,
                        },
                    },
                }
            }
        },
        {
            "arms": {
                "a": {
                    "sampler": "optuna.samplers:CmaEsSampler",
                    "options": {"popsize": 8},
                    "pruner": "optuna.pruners:PatientPruner",
                    "pruner_options": {
                        "wrapped_pruner": {
                            "reference": "optuna.pruners:PercentilePruner",
                            "options": {"percentile": 25.0},
                        },
                        "patience": 2,
                    },
                }
            }
        },
    ),
    "a pruner alone": (
        {
            "arms": {
                "a": {
                    "sampler": "tpe",
                    "pruner": {"class_path": "mine.Pruner", "init_args": {"x": 2}},
                }
            }
        },
        {"arms": {"a": {"sampler": "tpe", "pruner": "mine:Pruner", "options": {"x": 2}}}},
    ),
    "without weights": (
        {"without_weights": {"trial": {"model": NET}}},
        {"without_weights": {"trial": {"model": "mynet.parts:Net", "model_options": {"width": 8}}}},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_it_is_the_same_study(spec_values: Values, name: str) -> None:
    table, two_keys = (StudySpec.parse(spec_values(**one), "test") for one in SAME[name])
    assert table == two_keys
    assert table.digest() == two_keys.digest()
    assert table.references() == two_keys.references()


# What is wrong, and the beginning of what is said.
WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"trial": {"model": {"class_path": "mynet.Net", "dict_kwargs": {}}}},
        'trial.model.dict_kwargs: unknown key; write { class_path = "mymodule.Class", init_args',
    ),
    ({"trial": {"model": {"init_args": {}}}}, "trial.model.class_path: is missing; write {"),
    ({"trial": {"loss": {"class_path": 5}}}, "trial.loss.class_path: 5 is no text; write {"),
    (
        {"trial": {"model": {"class_path": "m.Net", "init_args": [1]}}},
        "trial.model.init_args: [1] is no table; write {",
    ),
    (
        {"trial": {"model": {"class_path": "resnet18"}}},
        'trial.model.class_path: "resnet18" names no module; write {',
    ),
    (
        {"trial": {"model": {"class_path": "my net.Net"}}},
        'trial.model.class_path = "my net:Net" is',
    ),
    (
        {"trial": {"model": NET, "model_options": {"depth": 2}}},
        "trial.model: is a table with class_path, and there is model_options, too; write all",
    ),
    (
        {"arms": {"a": {"sampler": {"class_path": "m.S"}, "options": {"x": 1}}}},
        "arms.a.sampler: is a table with class_path, and there is options, too; write all",
    ),
    (
        {"arms": {"a": {"pruner": {"class_path": "m.P", "init_args": {"x": {"init_args": {}}}}}}},
        "arms.a.options.x.class_path: is missing",
    ),
    ({"trial": {"model": {"name": "resnet18"}}}, "trial.model: {'name': 'resnet18'} has the wrong"),
]


@pytest.mark.parametrize(("sections", "said"), WRONG)
def test_what_is_wrong_is_said_in_a_line(
    spec_values: Values, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        StudySpec.parse(spec_values(**sections), "test")
    assert str(caught.value).startswith(f"test: {said}")
    assert "\n" not in str(caught.value)
