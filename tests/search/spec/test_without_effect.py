"""Options without effect are named when a file is read, and only then."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import read_study_file
from tuneoff.search.spec.without_effect import without_effect

LIST = [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}, {"lr": 0.4}]


def lines(values: dict[str, Any]) -> list[str]:
    return list(without_effect(StudySpec.parse(values, "test")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": {"a": {"sampler": "random", "points": 3}}}, "arms.a.points has no effect"),
        (
            {"trial": {"optimizer": "adamw", "momentum": 0.9}},
            "trial.momentum has no effect, as adamw has none; take it out",
        ),
        (
            {"space": {"optimizer": ["lion", "adamw"], "nesterov": [True, False]}},
            "space.nesterov has no effect, as adamw, lion has none; take it out",
        ),
        ({"trial": {"lr": 0.1}}, "trial.lr has no effect, as [space] searches lr"),
        ({"arms": {"a": {"sampler": "random", "min_epochs": 2}}}, "the arm stops no runs"),
        (
            {"arms": {"a": {"sampler": "random", "pruner": "median", "min_epochs": 4}}},
            "arms.a.min_epochs = 4 is more than a run has (trial.epochs = 3)",
        ),
        (
            {"arms": {"a": {"sampler": "optuna.samplers:TPESampler", "startup": 2}}},
            "arms.a.startup has no effect, as its sampler is a reference",
        ),
        (
            {"arms": {"a": {"pruner": "my:P", "sampler": "random", "min_epochs": 2}}},
            "arms.a.min_epochs has no effect, as its pruner is a reference; give its options",
        ),
        (
            {"arms": {"a": {"configs": LIST}}},
            "lists 4 configurations, of which budget.epochs = 9 runs the first 3; raise it to 12",
        ),
        (
            {"trial": {"frozen_stages": 3, "frozen_epochs": 1}},
            "trial.frozen_epochs has no effect, as with frozen_stages = 3 the head trains alone",
        ),
        (
            {"trial": {"frozen_epochs": 3}, "space": {"layer_lr_decay": {"low": 0.5, "high": 1}}},
            "space.layer_lr_decay has no effect, as with frozen_epochs = 3 the head trains alone",
        ),
        (
            {"trial": {"unfreeze_every": 3, "weights": "some.pt", "l2_sp": 0.1}},
            "trial.l2_sp has no effect, as with unfreeze_every = 3 the head trains alone",
        ),
    ],
)
def test_an_option_without_effect_gets_one_line(
    spec_values: Any, changes: dict[str, Any], said: str
) -> None:
    (line,) = lines(spec_values(**changes))
    assert said in line


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trial": {"momentum": 0.5}},
        {"trial": {"frozen_stages": 2, "frozen_epochs": 1}},
        {"trial": {"frozen_epochs": 3, "layer_lr_decay": 0.5}, "promote": {"epochs": 9}},
        {"trial": {"layer_lr_decay": 0.5}, "space": {"frozen_stages": {"low": 0, "high": 3}}},
        {"arms": {"a": {"sampler": "grid", "points": 3}}},
        {"arms": {"a": {"sampler": "curve-gp", "min_epochs": 2}}},
        {"arms": {"a": {"sampler": "random", "pruner": "median", "min_epochs": 3}}},
        {"arms": {"a": {"configs": LIST[:3]}}},
        {"arms": {"a": {"configs": LIST, "pruner": "median"}}},
    ],
)
def test_nothing_is_said_of_options_that_have_one(
    spec_values: Any, changes: dict[str, Any]
) -> None:
    assert lines(spec_values(**changes)) == []


def test_files_are_warned_of_and_stored_studies_are_not(
    spec_values: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, values = tmp_path / "study.toml", spec_values(trial={"lr": 0.1})
    path.write_text(tomli_w.dumps(values))
    with caplog.at_level(logging.WARNING):
        spec = read_study_file(path).spec
        (said,) = caplog.messages
        assert said.startswith(f"{path}: trial.lr has no effect")
        StudySpec.parse(spec.model_dump(mode="json"), "stored study")
    assert len(caplog.messages) == 1
