"""Dated lists of settings: what an arm with one runs, and that a list never changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tuneoff.search.spec.arm_section import CONFIG_NOTE
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.personas import PERSONAS
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.recipe import HyperParams, Recipe

LR = {"low": 1e-4, "high": 1.0, "log": True}
PAPERS = {
    "lr": LR,
    "momentum": {"low": 0.5, "high": 0.99},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
}
# What studies refer to. A list that is changed is another one: give it a new name.
DIGESTS = {
    "paper": "5af2c23515874e58",
    "careful": "cb0a71f676367020",
    "grid": "e496eec35852c649",
}


def spec_of(spec_values: Any, persona: str, **changes: Any) -> StudySpec:
    arms = {"hand": {"persona": persona}}
    return StudySpec.parse(spec_values(**{"space": PAPERS, "arms": arms, **changes}), "test")


def listed(spec: StudySpec) -> list[dict[str, Any]]:
    configs = spec.arms["hand"].configs or ()
    return [{k: v for k, v in config.items() if k != CONFIG_NOTE} for config in configs]


@pytest.mark.parametrize("name", PERSONAS)
def test_a_list_is_never_changed(name: str) -> None:
    persona = PERSONAS[name]
    text = json.dumps([persona.written, [dict(config) for config in persona.configs]])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("name", PERSONAS)
def test_it_sets_parameters_that_there_are(name: str) -> None:
    known = {field.name for kind in (Recipe, HyperParams) for field in fields(kind)}
    for config in PERSONAS[name].configs:
        assert config.keys() - {CONFIG_NOTE} <= known


@pytest.mark.parametrize("name", PERSONAS)
def test_its_settings_are_run_in_order_each_once(spec_values: Any, name: str) -> None:
    spec = spec_of(spec_values, name)
    found = listed(spec)
    assert found[0] == {key: PERSONAS[name].configs[0][key] for key in PAPERS}
    assert len({str(config) for config in found}) == len(found) >= 8
    assert all(CONFIG_NOTE in config for config in spec.arms["hand"].configs or ())
    space = SearchSpace.of(spec)
    assert [space.check(config) for config in found] == found
    assert spec.arms["hand"].method is None


def test_what_is_not_searched_is_left_out(spec_values: Any) -> None:
    found = listed(spec_of(spec_values, "careful", space={"momentum": None, "weight_decay": None}))
    assert found == [{"lr": rate} for rate in (1e-3, 3e-4, 3e-3, 1e-2)]


def test_the_head_is_tuned_where_it_is_searched(spec_values: Any) -> None:
    head = {"low": 1.0, "high": 100.0, "log": True}
    spec = spec_of(spec_values, "careful", space={**PAPERS, "head_lr_factor": head})
    found = listed(spec)
    assert len(found) == 12
    assert [config["head_lr_factor"] for config in found[:5]] == [1, 1, 1, 1, 10]
    SearchSpace.of(spec)


def test_what_the_list_lacks_is_as_in_the_trial(spec_values: Any) -> None:
    space = {"batch_size": [32, 64], "nesterov": [False, True],
             "layer_decay.fc": {"low": 0.1, "high": 100.0, "log": True}}  # fmt: skip
    trial = {"batch_size": 64, "layer_decay": {"fc": 10.0}}
    found = listed(spec_of(spec_values, "paper", space={**PAPERS, **space}, trial=trial))
    for config in found:
        assert (config["batch_size"], config["nesterov"], config["layer_decay.fc"]) == (
            64,
            False,
            10,
        )
    plain = listed(spec_of(spec_values, "paper", space={**PAPERS, **space}))
    assert plain[0]["layer_decay.fc"] == 1.0


def test_a_stored_study_keeps_its_list(spec_values: Any) -> None:
    spec = spec_of(spec_values, "grid")
    stored = json.loads(spec.model_dump_json())
    stored["arms"]["hand"]["configs"] = stored["arms"]["hand"]["configs"][
        :2
    ]  # an earlier version's
    again = StudySpec.parse(stored, "stored")
    assert len(listed(again)) == 2
    assert StudySpec.parse(json.loads(spec.model_dump_json()), "stored").digest() == spec.digest()


def test_another_persona_or_space_makes_another_list(spec_values: Any) -> None:
    spec = spec_of(spec_values, "grid")
    assert listed(spec.changed(["arms.hand.persona=paper"])) == listed(
        spec_of(spec_values, "paper")
    )
    with pytest.raises(Exception, match="has a persona and configs"):
        spec.changed(["arms.hand.configs=[]"])


def test_a_study_file_may_name_one(spec_values: Any, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(tomli_w.dumps(spec_values(space=PAPERS, arms={"hand": {"persona": "grid"}})))
    assert len(listed(StudySpec.load(file))) == 9
    assert len(listed(StudySpec.load(file, ["arms.hand.persona=careful"]))) == 10
