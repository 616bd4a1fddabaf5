"""Recipes in study files: presets, options, and every field of one searched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneoff.search.errors import SpecError, UserError
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.results.export import best
from tuneoff.search.results.export_file import dump, load
from tuneoff.search.results.predictions.read import read_predictions
from tuneoff.search.results.read import read_results
from tuneoff.search.results.trials import trial_curves
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import StudyFile, preflight, read_study_file
from tuneoff.search.spec.space import FIXED, SearchSpace
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.manual import parse_params
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.trainer import checkpoint
from tuneoff.trainer.contract import RunSeed, Task
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.presets import PRESETS
from tuneoff.trainer.recipe import Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

TASK = Task(("a", "b"), {"train": 1, "validation": 1, "test": 1}, "d")


def parse(values: dict[str, Any]) -> StudySpec:
    return StudySpec.parse(values, "test")


def refused(values: dict[str, Any]) -> str:
    """The one line that a study file with these values gets."""
    with pytest.raises((SpecError, ValueError)) as caught:
        SearchSpace.of(parse(values))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Presets


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_it_stands_for(spec_values: Any, preset: str) -> None:
    spec = parse(spec_values(trial={"preset": preset, "epochs": None}, budget={"epochs": 99}))
    fields = dict(PRESETS[preset])
    size = fields.pop("image_size")
    assert spec.data.image_size == size == 224
    assert spec.recipe() == Recipe(data=spec.our_recipe().data, **fields)
    written = spec_values(trial=fields, data={"image_size": size}, budget={"epochs": 99})
    assert parse(written) == spec
    assert parse(written).digest() == spec.digest()
    assert parse(spec.model_dump(mode="json")) == spec  # as the database has it


def test_what_is_given_wins_over_a_preset(spec_values: Any) -> None:
    given = {"preset": "paper-resnet18", "epochs": 2, "batch_size": 7, "nesterov": True}
    spec = parse(spec_values(trial=given, data={"image_size": 32}))
    recipe = spec.our_recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.nesterov) == (2, 7, True)
    assert (recipe.model, recipe.data.image_size) == ("resnet18", 32)


def test_presets_of_promotion_and_members(spec_values: Any) -> None:
    spec = parse(
        spec_values(
            trial={"batch_size": 16},
            promote={"preset": "paper-resnet50", "weights": "none"},
            ensemble={
                "members": [
                    {"preset": "paper-densenet121", "epochs": 4},
                    {"preset": "paper-resnet101"},
                    {"model": "proxy"},
                ]
            },
        )
    )
    full = spec.full_recipe()
    assert (full.model, full.epochs, full.batch_size, full.weights) == ("resnet50", 10, 64, "none")
    assert spec.data.image_size is None  # that is the same for all runs of a study
    found = [(r.model, r.epochs, r.batch_size, r.weights) for r in spec.member_recipes()]
    assert found == [
        ("densenet121", 4, 24, "imagenet"),
        ("resnet101", 10, 24, "imagenet"),
        ("proxy", 10, 64, "none"),
    ]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"trial": {"preset": "paper-resnet19"}}, "trial.preset"),
        ({"promote": {"preset": "paper-resnet19"}}, "promote.preset"),
        (
            {"promote": {"epochs": 1}, "ensemble": {"members": [{"preset": "paper-resnet19"}]}},
            "ensemble.members.0.preset",
        ),
    ],
)
def test_an_unknown_preset(spec_values: Any, changes: dict[str, Any], where: str) -> None:
    message = refused(spec_values(**changes))
    assert message.startswith(f"test: {where}: unknown preset 'paper-resnet19'; did you mean ")
    assert message.endswith(f"choose one of: {', '.join(PRESETS)}")


@pytest.mark.parametrize("data", ["digits", 3, [1, 2]])
def test_a_preset_beside_data_that_are_no_table(spec_values: Any, data: Any) -> None:
    values = spec_values(trial={"preset": "paper-resnet18"}) | {"data": data}
    assert refused(values).startswith(f"test: data: {data!r} has the wrong type")


def test_a_misspelt_preset_key(spec_values: Any) -> None:
    message = refused(spec_values(trial={"preste": "paper-resnet18"}))
    assert "trial.preste: unknown key; did you mean 'preset'?" in message


def test_set_changes_presets_and_factors(spec_values: Any, tmp_path: Path) -> None:
    import tomli_w

    file = tmp_path / "study.toml"
    file.write_text(tomli_w.dumps(spec_values()))
    changes = [
        "trial.preset=paper-resnet34",
        "trial.layer_decay.fc=10",
        'space."layer_decay.layer4.1"={ low = 0.1, high = 10, log = true }',
        'space."layer_decay.fc".low=1',
        'space."layer_decay.fc".high=9',
    ]
    spec = read_study_file(file, changes).spec
    assert (spec.trial.model, spec.trial.epochs) == ("resnet34", 3)
    assert spec.trial.layer_decay == {"fc": 10.0}
    assert [*spec.space] == ["lr", "layer_decay.layer4.1", "layer_decay.fc"]
    assert spec.space["layer_decay.fc"].high == 9


# Options


def test_factors_are_a_table(spec_values: Any) -> None:
    spec = parse(spec_values(trial={"layer_decay": {"fc": 10, "features.0": 0.5}}))
    assert spec.our_recipe().layer_decay == {"fc": 10.0, "features.0": 0.5}
    assert parse(spec.model_dump(mode="json")) == spec
    assert "trial.layer_decay: 3 has the wrong type" in refused(
        spec_values(trial={"layer_decay": 3})
    )
    assert "trial.layer_decay.fc: 'x' has the wrong type" in refused(
        spec_values(trial={"layer_decay": {"fc": "x"}})
    )
    assert "layer_decay.fc = -1.0 must be a number of at least 0" in refused(
        spec_values(trial={"layer_decay": {"fc": -1.0}})
    )


# Sections of their own say these.
ELSEWHERE = ("data", "metric_as")


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(Recipe) if f.name not in ELSEWHERE]
)
def test_naming_a_default_changes_nothing(spec_values: Any, field: str) -> None:
    plain = parse(spec_values(trial={"epochs": None}))
    named = parse(spec_values(trial={"epochs": None, field: getattr(Recipe(), field)}))
    assert named.digest() == plain.digest()
    assert named.differences(plain) == []


def test_a_digest_has_no_defaults(spec_values: Any) -> None:
    """So that a study stays the same when a later version has more fields."""
    said = parse(spec_values()).model_dump(exclude_defaults=True)
    assert said["trial"] == {"epochs": 3}
    # What this study's digest was in the version that first left defaults out.
    assert parse(spec_values()).digest().startswith("19ca7bd56fbc6c23")


OTHERS: dict[str, dict[str, Any]] = {
    "frozen_epochs": {"frozen_epochs": 4},
    "warmup_epochs": {"warmup_epochs": 3.5},
}


@pytest.mark.parametrize("field", OTHERS)
def test_what_does_not_fit_into_later_training(spec_values: Any, field: str) -> None:
    trial = OTHERS[field] | {"epochs": 5}
    message = refused(spec_values(trial=trial, promote={"epochs": 3}))
    assert message.startswith(f"test: promote: {field} = ")
    assert "is more than epochs = 3" in message
    members = [{"model": "proxy"}, {"model": "proxy", "epochs": 2}]
    message = refused(
        spec_values(trial=trial, promote={"epochs": 9}, ensemble={"members": members})
    )
    assert message.startswith(f"test: ensemble.members.1: {field} = ")


def test_a_growing_image_larger_than_the_data_are_scaled_to(spec_values: Any) -> None:
    message = refused(spec_values(trial={"start_size": 64}, data={"image_size": 32}))
    assert message.startswith("test: trial: start_size = 64 is larger than image_size = 32")


# Spaces

RANGES: dict[str, Any] = {
    "model": ["proxy", "proxy-dense"],
    "model_options.width": {"low": 8, "high": 64, "log": True},
    "weights": ["none", "some/file.pt"],
    "head": ["new", "imagenet"],
    "normalise": ["imagenet", "half"],
    "padding": ["symmetric", "same"],
    "memory_efficient": [False, True],
    "frozen_epochs": {"low": 0, "high": 3},
    "frozen_stages": {"low": 0, "high": 3},
    "frozen_norms": [False, True],
    "unfreeze_every": {"low": 0, "high": 2},
    "head_lr_factor": {"low": 1, "high": 100, "log": True},
    "layer_lr_decay": {"low": 0.3, "high": 1},
    "l2_sp": {"low": 1e-4, "high": 1, "log": True},
    "batch_size": {"low": 16, "high": 128, "log": True},
    "accumulation": [1, 4],
    "halve_on_oom": [True, False],
    "schedule": ["plateau", "cosine"],
    "patience": {"low": 1, "high": 4},
    "step_epochs": {"low": 1, "high": 4},
    "drop": {"low": 0.1, "high": 0.5},
    "warmup_epochs": {"low": 0, "high": 2},
    "optimizer": ["sgd", "adamw"],
    "optimizer_options.beta2": {"low": 0.9, "high": 0.999},
    "nesterov": [True, False],
    "decay_norms": [True, False],
    "layer_decay.fc": {"low": 0.1, "high": 100, "log": True},
    "clip": {"low": 0.1, "high": 10, "log": True},
    "label_smoothing": {"low": 0, "high": 0.2},
    "mixup": {"low": 0, "high": 1},
    "cutmix": {"low": 0, "high": 1},
    "ema": [0.0, 0.99],
    "flip": [True, False],
    "crop_padding": {"low": 0, "high": 2},
    "start_size": [0, 8],
    "precision": ["fp32", "bf16"],
    "cache_features": ["auto", "off"],
    "test_view": ["plain", "flip"],
    "loss": ["cross-entropy", "my:loss"],
    "loss_options.gamma": {"low": 0.0, "high": 5.0},
}
NEEDS: dict[str, dict[str, Any]] = {
    "head": {"model": "resnet18", "weights": "imagenet"},
    "model_options.width": {"model": "mynet:Net"},
    "padding": {"model": "mobilenet_v2"},
    "memory_efficient": {"model": "densenet121"},
    "frozen_norms": {"weights": "some/file.pt"},
    "l2_sp": {"weights": "some/file.pt"},
    "optimizer_options.beta2": {"optimizer": "adamw"},
    "loss_options.gamma": {"loss": "my:loss"},
    "loss": {"epochs": 3},
}


def test_all_fields_are_tried_below() -> None:
    fields = {f.name for f in dataclasses.fields(Recipe)} - set(FIXED)
    assert {name.split(".")[0] for name in RANGES} == fields


@pytest.mark.parametrize("name", RANGES)
def test_every_field_can_be_searched(spec_values: Any, name: str) -> None:
    space = SearchSpace.of(
        parse(spec_values(space={name: RANGES[name]}, trial=NEEDS.get(name, {})))
    )
    for u in (0.0, 0.3, 0.999):
        params = space.check(space.at([0.5, u]))
        recipe, _ = space.apply(space.recipe, params)
        if name == "model_options.width":
            assert recipe.model_options == {"width": params[name]}
            assert type(params[name]) is int  # as both ends are
        elif name == "optimizer_options.beta2":
            assert recipe.optimizer_options == {"beta2": params[name]}
        elif name == "loss_options.gamma":
            assert recipe.loss_options == {"gamma": params[name]}
        elif name == "layer_decay.fc":
            assert recipe.layer_decay == {"fc": params[name]}
        else:
            assert getattr(recipe, name) == params[name]
            assert type(getattr(recipe, name)) in (type(getattr(Recipe(), name)), int)


@pytest.mark.slow
def test_all_of_them_at_once(spec_values: Any) -> None:
    ranges = {name: found for name, found in RANGES.items() if name not in NEEDS}
    space = SearchSpace.of(parse(spec_values(space=ranges)))
    for params in (space.at([u] * (len(ranges) + 1)) for u in (0.0, 0.4, 0.999)):
        space.apply(space.recipe, space.check(params))


def test_factors_are_searched_one_by_one(spec_values: Any) -> None:
    message = refused(spec_values(space={"layer_decay": [1.0, 2.0]}))
    assert message.startswith(
        "space.layer_decay: search each of its values by itself, its name in quotes"
    )
    message = refused(spec_values(space={"layer_decay.fc": {"low": -1, "high": 1}}))
    assert message == "space.layer_decay.fc: layer_decay.fc = -1.0 must be a number of at least 0"


def test_factors_flags_and_words_on_the_command_line(spec_values: Any) -> None:
    ranges = {name: RANGES[name] for name in ("layer_decay.fc", "nesterov", "schedule")}
    space = SearchSpace.of(parse(spec_values(space={"lr": None, **ranges})))
    words = ["--layer_decay.fc", "3", "--nesterov=True", "--schedule", "cosine"]
    assert parse_params(space, words) == {
        "layer_decay.fc": 3.0,
        "nesterov": True,
        "schedule": "cosine",
    }
    with pytest.raises(UserError, match="--nesterov yes: choose one of: true, false"):
        parse_params(space, ["--nesterov", "yes"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "trial": {"model": "resnet18"},
                "space": {"frozen_stages": {"low": 0, "high": 4}, "model": ["resnet18", "proxy"]},
            },
            "space.frozen_stages and space.model, in the trial: frozen_stages = 4: below its head",
        ),
        (
            {"trial": {"frozen_stages": 3}, "space": {"frozen_stages": {"low": 0, "high": 4}}},
            "space.frozen_stages: frozen_stages = 4: below its head, proxy has 3 stages",
        ),
        (
            {
                "trial": {"weights": "some.pt"},
                "space": {"weights": ["none", "some.pt"], "l2_sp": [0.0, 0.1]},
            },
            "space.weights and space.l2_sp, in the trial: l2_sp = 0.1 pulls towards",
        ),
        (
            {"space": {"batch_size": [16, 64], "accumulation": [1, 16]}},
            "space.batch_size and space.accumulation, in the trial: accumulation = 16 divides",
        ),
        (
            {
                "trial": {"model": "densenet121"},
                "space": {"model": ["resnet18", "densenet121"], "memory_efficient": [True, False]},
            },
            "space.model and space.memory_efficient, in the trial: memory_efficient = true does",
        ),
        (
            {"space": {"warmup_epochs": {"low": 0, "high": 3}}, "promote": {"epochs": 2}},
            "space.warmup_epochs, in promote: warmup_epochs = 3.0 is more than epochs = 2",
        ),
        (
            {
                "space": {"accumulation": [1, 16]},
                "promote": {"epochs": 2},
                "ensemble": {"members": [{"model": "proxy"}, {"model": "proxy", "batch_size": 24}]},
            },
            "space.accumulation, in ensemble.members.1: accumulation = 16 divides batches of 24",
        ),
    ],
)
def test_values_that_do_not_go_together(
    spec_values: Any, changes: dict[str, Any], message: str
) -> None:
    assert refused(spec_values(**changes)).startswith(message)


def test_a_preflight_tries_what_is_searched_in_every_model(spec_values: Any) -> None:
    spec = parse(
        spec_values(
            space={
                "model": ["proxy", "proxy-dense"],
                "layer_decay.fc": [1.0, 9.0],
                "patience": [1, 2],
            },
            promote={"epochs": 3},
            ensemble={"members": [{"model": "densenet121"}, {"model": "proxy", "layer_decay": {}}]},
        )
    )
    seen: list[tuple[str, dict[str, float]]] = []

    def check(recipe: Recipe) -> Task:
        seen.append((recipe.model, dict(recipe.layer_decay)))
        return TASK

    preflight(StudyFile.of(spec), check)
    assert seen == [
        ("proxy", {}),
        ("proxy-dense", {}),
        ("proxy", {"fc": 1.0}),
        ("proxy", {"fc": 9.0}),
        # Full training has the trial's epochs, and is among these already.
        ("densenet121", {"fc": 1.0}),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"layer_decay.fcc": [1.0, 9.0]}, "proxy has no layer 'fcc'; it has: features, fc"),
        ({"start_size": [0, 16]}, "start_size = 16 is larger than the images of 8 x 8 pixels"),
        ({"crop_padding": {"low": 0, "high": 8}}, "crop_padding = 8 is not smaller than the"),
        ({"model": ["proxy", "densenet121"]}, "densenet121 cannot take images of 8 x 8 pixels"),
    ],
)
def test_what_is_searched_must_go_with_data_and_model(
    spec_values: Any, tmp_path: Path, space: dict[str, Any], message: str
) -> None:
    spec = parse(spec_values(space=space))
    with pytest.raises(ModelError, match=message):
        preflight(StudyFile.of(spec), TorchTrainer(cache=tmp_path).check)


# End to end


@pytest.mark.slow
def test_a_factor_is_searched_promoted_and_exported(
    sqlite_database: Any, spec_values: Any, me: Any, never: Any, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    values = spec_values(
        name="factors",
        trial={"epochs": 2, "batch_size": 512, "precision": "fp32", "layer_decay": {"features": 2}},
        space={
            "layer_decay.fc": {"low": 0.1, "high": 1000, "log": True},
            "nesterov": [True, False],
            "schedule": ["cosine", "linear"],
            "batch_size": [256, 512],
        },
        budget={"epochs": 10},
        arms={
            "gp": {"sampler": "curve-gp", "startup": 2},
            "tpe": {"sampler": "tpe", "startup": 2},
            "hand": {
                "configs": [
                    {
                        "lr": 0.1,
                        "layer_decay.fc": 10.0,
                        "nesterov": True,
                        "schedule": "linear",
                        "batch_size": 256,
                    }
                ]
            },
        },
        promote={"epochs": 3, "top": 1, "seeds": 1},
        ensemble={"members": [{"model": "proxy-dense", "epochs": 2}]},
    )
    spec = parse(values)
    trainer = TorchTrainer(cache=tmp_path / "cache")
    study = create_study(
        sqlite_database, spec, preflight(StudyFile.of(spec), trainer.check), tmp_path / "work"
    )
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))

    for search in study.arms:
        trials = study.trials(search)
        assert trials
        for trial in trials:
            assert type(trial.params["nesterov"]) is bool
            factor = trial.params["layer_decay.fc"]
            recipe = TrialRef(study, search, trial).run.recipe
            assert recipe.layer_decay == {"features": 2, "fc": factor}
    assert len({t.params["layer_decay.fc"] for g in study.arms for t in study.trials(g)}) > 5
    picked = {recommend(study.trials(search)).params["layer_decay.fc"] for search in study.arms}
    for search in (study.full, study.ensemble):
        assert study.trials(search)
        for trial in study.trials(search):
            factor = trial.params["layer_decay.fc"]
            assert factor in picked
            saved = checkpoint.load_newest(TrialRef(study, search, trial).folder, {})
            assert saved is not None
            decays = sorted(g["weight_decay"] for g in saved.optimizer["param_groups"])
            assert decays == pytest.approx(sorted([2e-4, factor * 1e-4]))

    now = Snapshot.of(study)
    results = read_results(now)
    predictions = read_predictions(now)
    assert predictions
    comparison = compare(results)
    page = write_report(ReportData(results, comparison, trial_curves(now), predictions), tmp_path)
    assert "layer_decay.fc" in page.read_text()

    file = tmp_path / "best.toml"
    found = best(study, 1).configurations
    file.write_text(dump(study.name, found, "toml"))
    assert load(file) == found
    assert found[0].recipe.layer_decay.keys() == {"features", "fc"}
    assert isinstance(found[0].recipe, Recipe)
    assert found[0].hyperparams is not None
    again = trainer.train(
        found[0].recipe, found[0].hyperparams, found[0].seed, tmp_path / "again", never
    )
    assert list(again)[-1].validation_error == found[0].expected["validation_error"]
    assert found[0].seed != RunSeed()
