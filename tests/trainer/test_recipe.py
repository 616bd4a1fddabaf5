"""Recipes: what they refuse, and what each of their fields affects."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import (
    Affects,
    DataSource,
    HyperParams,
    Recipe,
    affected,
    affecting,
)

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
    ({"epochs": 0}, "epochs = 0 must be a number of at least 1"),
    ({"frozen_epochs": -1}, "frozen_epochs = -1 must be a number of at least 0"),
    (
        {"frozen_epochs": 4, "epochs": 3},
        "frozen_epochs = 4 is more than epochs = 3; lower frozen_epochs or raise epochs",
    ),
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
]


@pytest.mark.parametrize(("fields", "message"), MISTAKES)
def test_a_recipe_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(**fields)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_just_goes() -> None:
    Recipe(frozen_epochs=3, warmup_epochs=3.0, epochs=3)
    Recipe(accumulation=12, batch_size=24, label_smoothing=0.1, mixup=0.2, cutmix=1.0)
    Recipe(start_size=16, data=DIGITS_16)
    Recipe(start_size=16)
    Recipe(batch_size=1)


@pytest.mark.parametrize("of", [Recipe, HyperParams, DataSource, RunSeed])
def test_every_field_is_in_the_docstring(of: type) -> None:
    named = re.findall(r"^ {8}([a-z_]+): ", of.__doc__ or "", re.MULTILINE)
    assert named == [field.name for field in dataclasses.fields(of)]


def test_the_options_are_off_unless_asked_for() -> None:
    recipe = Recipe()
    off = {
        "head": "new",
        "memory_efficient": False,
        "frozen_epochs": 0,
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
        *("crop_padding", "start_size"),
    }
    assert set(affecting(Recipe, Affects.STEP)) == {
        *("model", "memory_efficient", "batch_size", "accumulation", "nesterov", "decay_norms"),
        *("layer_decay", "clip", "label_smoothing", "mixup", "cutmix", "ema", "precision"),
    }
    assert set(affecting(Recipe, Affects.MEMORY)) == {
        *("model", "memory_efficient", "ema", "precision"),
    }


def test_a_checkpoint_of_version_0_1_serves_the_same_recipes() -> None:
    """What was stored in it of a recipe is compared with what is made of it now."""
    recipe = Recipe(data=DataSource("folder", "somewhere"), layer_decay={"fc": 2.0})
    stored = recipe.to_dict()
    for name in ("precision", "halve_on_oom", "test_view"):
        del stored[name]
    del stored["data"]["path"]
    assert affected(recipe, Affects.RESULT) == stored


def test_changing_what_is_affected_leaves_the_recipe_alone() -> None:
    recipe = Recipe(layer_decay={"fc": 2.0})
    affected(recipe, Affects.STEP)["layer_decay"]["fc"] = 3.0
    assert recipe.layer_decay == {"fc": 2.0}
