"""Recipes: what they refuse, and what each of their fields affects."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.trainer.affects import Affects, affected, affecting, identity
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe

DIGITS_16 = DataSource("digits", image_size=16)

# What is wrong, and what the message says of it.
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"model": "vgg"}, "unknown model 'vgg'; choose one of: proxy"),
    ({"head": "old"}, "unknown head 'old'; choose one of: new, imagenet"),
    ({"schedule": "x"}, "unknown schedule 'x'; choose one of: plateau"),
    ({"test_view": "x"}, "unknown test_view 'x'; choose one of: plain, flip, ten-crop"),
    ({"precision": "fp8"}, "precision = 'fp8' is unknown"),
    ({"weights": ""}, 'weights = "" is empty'),
    ({"head": "imagenet"}, 'head = "imagenet" needs weights = "imagenet"'),
    (
        {"memory_efficient": True},
        "memory_efficient = true does nothing for proxy; it is for: densenet121",
    ),
    ({"images": -1}, "images = -1 must be a number of at least 0"),
    ({"epochs": 0}, "epochs = 0 must be a number of at least 1"),
    ({"frozen_epochs": -1}, "frozen_epochs = -1 must be a number of at least 0"),
    (
        {"frozen_epochs": 4, "epochs": 3},
        "frozen_epochs = 4 is more than epochs = 3; lower frozen_epochs or raise epochs",
    ),
    (
        {"frozen_stages": 4},
        "frozen_stages = 4: below its head, proxy has 3 stages (conv1, conv2, conv3); set at most",
    ),
    ({"frozen_stages": -1}, "frozen_stages = -1 must be a number of at least 0"),
    ({"frozen_stages": 10**400}, "frozen_stages = 1.0e+400: below its head"),
    ({"frozen_norms": True}, "frozen_norms = true keeps the statistics that come with weights"),
    (
        {"memory_efficient": True, "model": "densenet121", "frozen_stages": 1},
        "memory_efficient = true does not go with frozen_stages",
    ),
    ({"head_lr_factor": 0.0}, "head_lr_factor = 0.0 must be above 0"),
    ({"head_lr_factor": 1e300}, "head_lr_factor = 1e+300 must be at most 1,000,000"),
    ({"layer_lr_decay": 0.0}, "layer_lr_decay = 0.0 must be above 0 and at most 1"),
    ({"layer_lr_decay": 1.01}, "layer_lr_decay = 1.01 must be above 0 and at most 1"),
    ({"l2_sp": 0.1}, "l2_sp = 0.1 pulls towards pretrained weights, and weights = "),
    ({"l2_sp": -0.1, "weights": "some.pt"}, "l2_sp = -0.1 must be a number of at least 0"),
    ({"unfreeze_every": -1}, "unfreeze_every = -1 must be a number of at least 0"),
    ({"unfreeze_every": 4, "epochs": 3}, "unfreeze_every = 4 is more than epochs = 3; lower"),
    (
        {"warmup_epochs": 3.5, "epochs": 3},
        "warmup_epochs = 3.5 is more than epochs = 3; lower warmup_epochs or raise epochs",
    ),
    ({"accumulation": 0}, "accumulation = 0 must be a number of at least 1"),
    (
        {"accumulation": 13, "batch_size": 24},
        "accumulation = 13 divides batches of 24 images into parts of fewer than two; lower accum",
    ),
    ({"clip": -0.1}, "clip = -0.1 must be a number of at least 0"),
    ({"clip": float("inf")}, "clip = inf must be a number of at least 0"),
    ({"mixup": float("nan")}, "mixup = nan must be a number of at least 0"),
    ({"cutmix": -1.0}, "cutmix = -1.0 must be a number of at least 0"),
    ({"label_smoothing": 1.0}, "label_smoothing = 1.0 must be at least 0 and below 1"),
    ({"ema": 1.0}, "ema = 1.0 must be at least 0 and below 1"),
    ({"ema": float("nan")}, "ema = nan must be at least 0 and below 1"),
    ({"drop": 1.0}, "drop = 1.0 must lie between 0 and 1"),
    ({"crop_padding": -1}, "crop_padding = -1 must be a number of at least 0"),
    ({"start_size": 4}, "start_size = 4 must be a number of at least 8"),
    (
        {"start_size": 17, "data": DIGITS_16},
        "start_size = 17 is larger than image_size = 16, to which it grows; set it lower",
    ),
    ({"layer_decay": {"fc": -1.0}}, "layer_decay.fc = -1.0 must be a number of at least 0"),
    ({"batch_size": 1}, "batch_size = 1 cannot train batch normalisation; use 2 or more"),
    ({"batch_size": 10**20 - 1}, "batch_size = 99999999999999999999 must be at most 1,000,000"),
    ({"batch_size": 10**400}, "batch_size = 1.0e+400 must be at most 1,000,000"),
    ({"batch_size": -(10**400)}, "batch_size = -1.0e+400 must be a number of at least 1"),
    ({"batch_size": 64.5}, "batch_size = 64.5 must be a whole number"),
    ({"batch_size": True}, "batch_size = True must be a whole number"),
    ({"epochs": "9"}, "epochs = '9' must be a whole number"),
    ({"warmup_epochs": None}, "warmup_epochs = None must be a number"),
    ({"epochs": 10**7}, "epochs = 10000000 must be at most 1,000,000"),
    ({"accumulation": 10**30}, "accumulation = 1.0e+30 must be at most 1,000,000"),
    ({"patience": 10**30}, "patience = 1.0e+30 must be at most 1,000,000"),
    ({"step_epochs": 10**30}, "step_epochs = 1.0e+30 must be at most 1,000,000"),
    ({"frozen_epochs": 10**30}, "frozen_epochs = "),
    ({"warmup_epochs": 1e300}, "warmup_epochs = 1e+300 is more than epochs = 9"),
    ({"clip": 1e300}, "clip = 1e+300 must be at most 1,000,000,000"),
    ({"mixup": 1e300}, "mixup = 1e+300 must be at most 1,000"),
    ({"cutmix": 1e300}, "cutmix = 1e+300 must be at most 1,000"),
    ({"crop_padding": 10**30}, "crop_padding = 1.0e+30 must be at most 4,096"),
    ({"start_size": 10**30}, "start_size = 1.0e+30 must be at most 4,096"),
    ({"layer_decay": {"fc": 1e300}}, "layer_decay.fc = 1e+300 must be at most 1,000,000,000"),
]

# The same of HyperParams and DataSource.
OTHERS: list[tuple[type, dict[str, Any], str]] = [
    (HyperParams, {"lr": 1e300}, "lr = 1e+300 must be at most 1,000,000"),
    (HyperParams, {"lr": 10**400}, "lr = 1.0e+400 must be at most 1,000,000"),
    (HyperParams, {"lr": float("inf")}, "lr = inf must be a number of at least 0"),
    (HyperParams, {"lr": float("nan")}, "lr = nan must be a number above 0"),
    (HyperParams, {"lr": "0.1"}, "lr = '0.1' must be a number"),
    (HyperParams, {"weight_decay": 1e300}, "weight_decay = 1e+300 must be at most 1,000,000"),
    (DataSource, {"image_size": 10**30}, "image_size = 1.0e+30 must be at most 4,096"),
    (DataSource, {"image_size": 64.5}, "image_size = 64.5 must be a whole number"),
    (DataSource, {"validation": "0.1"}, "validation = '0.1' must be a number"),
]


@pytest.mark.parametrize(("fields", "message"), MISTAKES)
def test_a_recipe_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(**fields)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("of", "fields", "message"), OTHERS)
def test_hyperparameters_and_data_that_cannot_be(
    of: type, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        of(**fields)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("of", [Recipe, HyperParams, DataSource])
def test_every_number_has_an_upper_bound(of: Any) -> None:
    for field in dataclasses.fields(of):
        kind = str(field.type).partition(" | ")[0]
        if kind in ("int", "float") and field.name != "split_seed":
            with pytest.raises(ValueError, match=field.name):
                of(**{field.name: 10**30 if kind == "int" else 1e30})


def test_what_just_goes() -> None:
    Recipe(frozen_epochs=3, warmup_epochs=3.0, epochs=3)
    Recipe(accumulation=12, batch_size=24, label_smoothing=0.1, mixup=0.2, cutmix=1.0)
    Recipe(start_size=16, data=DIGITS_16)
    Recipe(start_size=16)
    Recipe(frozen_stages=3, frozen_norms=True, weights="some.pt", unfreeze_every=9, epochs=9)
    Recipe(batch_size=2)
    Recipe(batch_size=10**6, epochs=10**6, clip=1e9, layer_decay={"fc": 1e9})
    Recipe(head_lr_factor=1e6, layer_lr_decay=1e-9, l2_sp=1e6, weights="some.pt")
    HyperParams(lr=1e6, weight_decay=1e6)


@pytest.mark.parametrize("of", [Recipe, HyperParams, DataSource, RunSeed])
def test_every_field_is_in_the_docstring(of: type) -> None:
    named = re.findall(r"^ {8}([a-z0-9_]+): ", of.__doc__ or "", re.MULTILINE)
    assert named == [field.name for field in dataclasses.fields(of)]


def test_the_options_are_off_unless_asked_for() -> None:
    recipe = Recipe()
    off = {
        "head": "new",
        "memory_efficient": False,
        "frozen_epochs": 0,
        "frozen_stages": 0,
        "frozen_norms": False,
        "unfreeze_every": 0,
        "head_lr_factor": 1,
        "layer_lr_decay": 1,
        "l2_sp": 0,
        "accumulation": 1,
        "halve_on_oom": False,
        "warmup_epochs": 0,
        "nesterov": False,
        "decay_norms": True,
        "layer_decay": {},
        "clip": 0,
        "label_smoothing": 0,
        "mixup": 0,
        "cutmix": 0,
        "ema": 0,
        "crop_padding": 0,
        "start_size": 0,
        "test_view": "plain",
        "metric": "error",
    }
    assert {name: getattr(recipe, name) for name in off} == off


def test_recipes_are_values() -> None:
    a, b = Recipe(layer_decay={"fc": 2.0}), Recipe(layer_decay={"fc": 3.0})
    assert len({a, b, Recipe(layer_decay={"fc": 2.0})}) == 2
    assert list(dict.fromkeys([b, a, b])) == [b, a]


def test_factors_are_changed_one_by_one_or_all_together() -> None:
    recipe = Recipe(layer_decay={"fc": 2.0, "layer4": 3.0})
    assert recipe.override({"layer_decay.fc": 5.0}).layer_decay == {"fc": 5.0, "layer4": 3.0}
    assert recipe.override({"layer_decay.conv1": 0.0, "epochs": 3}).layer_decay == {
        **recipe.layer_decay,
        "conv1": 0.0,
    }
    assert recipe.override({"layer_decay": {"fc": 1.0}}).layer_decay == {"fc": 1.0}
    both = {"layer_decay.layer4.0": 4.0, "layer_decay": {"fc": 1.0}}
    assert recipe.override(both).layer_decay == {"fc": 1.0, "layer4.0": 4.0}
    assert recipe.layer_decay == {"fc": 2.0, "layer4": 3.0}
    for wrong in ("speed", "layer_decays", "layerdecay.fc"):
        with pytest.raises(KeyError, match=wrong):
            recipe.override({"epochs": 3, wrong: 1.0})
    with pytest.raises(ValueError, match=r"layer_decay\.fc = -1"):
        recipe.override({"layer_decay.fc": -1.0})


@pytest.mark.slow
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,5}(\.[0-9])?", fullmatch=True), st.floats(0, 1e6)),
    st.floats(0, 0.99),
    st.integers(0, 9),
    st.booleans(),
)
def test_a_recipe_survives_json(
    factors: dict[str, float], ema: float, padding: int, nesterov: bool
) -> None:
    recipe = Recipe(layer_decay=factors, ema=ema, crop_padding=padding, nesterov=nesterov)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


# What each field affects


@pytest.mark.parametrize("of", [Recipe, DataSource])
def test_every_field_says_what_it_affects(of: type) -> None:
    silent = [f.name for f in dataclasses.fields(of) if "affects" not in f.metadata]
    assert not silent, "these must say what they affect, or Affects.NOTHING"
    assert all(isinstance(f.metadata["affects"], Affects) for f in dataclasses.fields(of))


def test_which_fields_affect_what() -> None:
    """Written out, because a field that loses its place here would go wrong without a sign."""
    assert set(affecting(Recipe, Affects.FIT)) == {
        *("data", "model", "weights", "head", "memory_efficient", "layer_decay"),
        *("images", "crop_padding", "start_size", "batch_size", "normalise", "padding"),
        *("model_options", "metric", "metric_as", "optimizer", "optimizer_options"),
        *("loss", "loss_options"),
    }
    assert set(affecting(Recipe, Affects.STEP)) == {
        *("model", "memory_efficient", "batch_size", "accumulation", "nesterov", "decay_norms"),
        *("layer_decay", "clip", "label_smoothing", "mixup", "cutmix", "ema", "precision"),
        *("frozen_stages", "frozen_norms", "head_lr_factor", "layer_lr_decay", "l2_sp", "padding"),
        *("model_options", "optimizer", "optimizer_options"),
        *("loss", "loss_options"),
    }
    assert set(affecting(Recipe, Affects.MEMORY)) == {
        *("model", "memory_efficient", "frozen_stages", "l2_sp", "ema", "precision", "padding"),
        *("model_options", "optimizer", "optimizer_options"),
    }


SINCE_0_2 = [
    "model_options",
    *("normalise", "padding", "images", "frozen_stages", "frozen_norms", "unfreeze_every"),
    *("head_lr_factor", "layer_lr_decay", "l2_sp", "optimizer", "optimizer_options"),
    *("metric", "metric_as", "loss", "loss_options"),
]


def test_a_checkpoint_of_version_0_1_serves_the_same_recipes() -> None:
    """What was stored in it of a recipe is compared with what is made of it now."""
    recipe = Recipe(data=DataSource("folder", "somewhere"), layer_decay={"fc": 2.0})
    stored = recipe.to_dict()
    for name in ("precision", "halve_on_oom", "test_view", "cache_features", *SINCE_0_2):
        del stored[name]
    del stored["data"]["path"], stored["data"]["options"]
    assert identity(recipe) == stored


def test_a_field_that_came_later_counts_where_it_is_used() -> None:
    assert identity(Recipe(frozen_stages=1)) == identity(Recipe()) | {"frozen_stages": 1}
    assert [f.name for f in dataclasses.fields(Recipe) if f.metadata.get("since_0_2")] == SINCE_0_2


def test_changing_what_is_affected_leaves_the_recipe_alone() -> None:
    recipe = Recipe(layer_decay={"fc": 2.0})
    affected(recipe, Affects.STEP)["layer_decay"]["fc"] = 3.0
    assert recipe.layer_decay == {"fc": 2.0}
