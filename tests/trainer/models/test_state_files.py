"""State dicts out of the files that training scripts save."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory
from tuneoff.trainer.models.state_files import read_state
from tuneoff.trainer.recipe import Recipe

Wrap = Callable[[Mapping[str, Tensor]], Any]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return dict(factory.build(Recipe(model="proxy"), 5, seed=1).state_dict())


def prefixed(prefix: str) -> Wrap:
    return lambda state: {f"{prefix}{name}": tensor for name, tensor in state.items()}


def averaged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"n_averaged": torch.tensor(7), **prefixed("module.")(state)}


WAYS: dict[str, Wrap] = {
    "by itself": lambda state: state,
    "DistributedDataParallel": prefixed("module."),
    "torch.compile": prefixed("_orig_mod."),
    "torch.compile around DistributedDataParallel": prefixed("_orig_mod.module."),
    "torch.compile of a part": lambda state: {
        name.replace("features.", "features._orig_mod."): tensor for name, tensor in state.items()
    },
    "FullyShardedDataParallel": prefixed("_fsdp_wrapped_module."),
    "AveragedModel": averaged,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "Lightning": lambda state: {"state_dict": prefixed("model.")(state), "global_step": 3},
    "model": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1), "epoch": 3},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {"state": {}}},
    "ema": lambda state: {"ema": state},
    "model_ema": lambda state: {"model_ema": averaged(state), "scaler": None},
    "two deep": lambda state: {"state_dict": {"model": prefixed("module.")(state)}},
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_usual_way_of_saving(tmp_path: Path, state: dict[str, Tensor], way: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(WAYS[way](state), path)
    found = read_state(path)
    assert found.note == ""
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], state[name]) for name in state)
    recipe = Recipe(model="proxy", weights=str(path))
    (note,) = factory.check(recipe, 64, 64, "abcde")
    assert note.startswith(f"{path} is not a published file")
    built = factory.build(recipe, 5, seed=2).state_dict()
    assert all(torch.equal(built[name], state[name]) for name in state)


def test_of_several_models_it_is_said_which_is_loaded(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "weights.pt"
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    torch.save({"model_ema": averaged(other), "optimizer": {}, "model": state}, path)
    found = read_state(path)
    assert torch.equal(found.state["fc.weight"], state["fc.weight"])
    assert found.note == f"{path} holds model, model_ema; model is loaded"
    notes = factory.check(Recipe(model="proxy", weights=str(path)), 64, 64, "abcde")
    assert notes[1:] == (found.note,)


def test_a_head_for_other_classes_is_replaced_and_this_is_said(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(prefixed("module.")(state), path)
    recipe = Recipe(model="proxy", weights=str(path))
    assert factory.check(recipe, 64, 64, "abc")[1:] == (
        f"{path} has a head for 5 classes; a new one for 3 is initialised at random",
    )
    model = factory.build(recipe, 3, seed=2)
    assert isinstance(model.fc, nn.Linear)
    assert model.fc.out_features == 3
    assert torch.equal(model.state_dict()["features.0.0.weight"], state["features.0.0.weight"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, state: dict[str, Tensor], value: float, dtype: torch.dtype
) -> None:
    path = tmp_path / "weights.pt"
    bad = state["fc.bias"].to(dtype, copy=True)
    bad[3] = value
    torch.save({"model": {**state, "fc.bias": bad}}, path)
    for work in (lambda r: factory.check(r, 64, 64, "abcde"), lambda r: factory.build(r, 5, 0)):
        with pytest.raises(
            ModelError, match=r"weights\.pt: fc\.bias has values that are not finite"
        ):
            work(Recipe(model="proxy", weights=str(path)))


def test_quantised_values_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pt"
    torch.save({**state, "fc.bias": torch.zeros(5, dtype=torch.int8)}, path)
    with pytest.raises(ModelError, match=r"fc\.bias has values of type torch\.int8, as after"):
        factory.check(Recipe(model="proxy", weights=str(path)), 64, 64)


CYCLE: dict[str, Any] = {}
CYCLE["model"] = CYCLE

FOREIGN: dict[str, tuple[Any, str]] = {
    "a list": ([1], "is not a state dict, nor has it one among its keys"),
    "nothing": (None, "is not a state dict"),
    "a tensor": (torch.zeros(3), "is not a state dict"),
    "numbered tensors": ({0: torch.zeros(3)}, "is not a state dict"),
    "an optimiser": ({"optimizer": {"lr": 0.1}, "epoch": 3}, "is not a state dict"),
    "a circle": (CYCLE, "is not a state dict"),
    "a model": (nn.Linear(2, 2), "holds Python objects besides tensors, which could run code"),
    "a model among others": ({"model": nn.Linear(2, 2)}, "holds Python objects besides tensors"),
    "numbers of NumPy": ({"model": {}, "best": np.float64(0.5)}, "holds Python objects besides"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_state_dict(tmp_path: Path, what: str) -> None:
    content, message = FOREIGN[what]
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=message) as caught:
        read_state(tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)
    assert "save one with torch.save(model.state_dict())" in str(caught.value)


def test_truncated_files_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    content = path.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match="is damaged or not a state dict"):
            read_state(path)
