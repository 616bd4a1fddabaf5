"""The gallery's large cases: many parameters, arms, repeats and trials."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from gallery_study import EPOCHS, HAND, SPACE, Case, Place, draw, final_error, search, train
from stored_study import Run, falling

from tuneoff.search.study.study import Study

TWENTY: Final[dict[str, Any]] = {
    **SPACE,
    "batch_size": {"low": 16.0, "high": 256.0, "log": True},
    "schedule": ["plateau", "cosine", "linear", "step", "constant"],
    "patience": {"low": 1.0, "high": 4.0},
    "step_epochs": {"low": 1.0, "high": 4.0},
    "drop": {"low": 0.05, "high": 0.5},
    "warmup_epochs": {"low": 0.0, "high": 2.0},
    "frozen_epochs": {"low": 0.0, "high": 3.0},
    "nesterov": [True, False],
    "decay_norms": [True, False],
    "layer_decay.fc": {"low": 0.1, "high": 100.0, "log": True},
    "layer_decay.layer4": {"low": 0.1, "high": 100.0, "log": True},
    "clip": {"low": 0.0, "high": 5.0, "step": 0.5},
    "label_smoothing": {"low": 0.0, "high": 0.3},
    "mixup": {"low": 0.0, "high": 1.0},
    "cutmix": {"low": 0.0, "high": 1.0},
    "ema": {"low": 0.0, "high": 0.999},
    "test_view": ["plain", "flip", "ten-crop"],
}
"""Every kind of parameter that there is, twenty in all."""
CHOICES: Final[dict[str, Any]] = {
    "schedule": ["plateau", "cosine", "linear", "step", "constant"],
    "nesterov": [True, False],
    "batch_size": [32, 64, 128],
}


def _drawn(rng: np.random.Generator, space: dict[str, Any]) -> dict[str, Any]:
    """A configuration of any space."""
    found: dict[str, Any] = {}
    whole = ("batch_size", "patience", "step_epochs", "frozen_epochs")
    for name, param in space.items():
        if isinstance(param, list):
            found[name] = param[int(rng.integers(len(param)))]
            continue
        low, high = param["low"], param["high"]
        if param.get("log"):
            value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        else:
            value = float(rng.uniform(low, high))
        if step := param.get("step"):
            value = low + step * round((value - low) / step)
        found[name] = round(value) if name in whole else min(high, max(low, value))
    return found


def _error(params: dict[str, Any]) -> float:
    """Of a full run: of the rate, and of each choice."""
    known = {"lr": 0.03, "momentum": 0.9, **params}
    choice = ("plateau", "cosine", "linear", "step", "constant").index(params["schedule"])
    return final_error(known) + 0.01 * choice + 0.02 * bool(params["nesterov"])


def _of_space(place: Place, space: dict[str, Any], trials: int, **changes: Any) -> Study:
    writer = place.create(
        space=space,
        arms={
            "tpe": {"sampler": "tpe"},
            "random": {"sampler": "random"},
        },
        budget={"epochs": EPOCHS * trials},
        **changes,
    )
    rng = np.random.default_rng(5)
    for one in writer.study.arms:
        runs = []
        for _ in range(trials):
            params = _drawn(rng, space)
            final = min(0.9, _error(params) + 0.003 * float(rng.normal()))
            runs.append(Run(params, falling(max(0.0, final), EPOCHS)))
        writer.arm(one.arm, one.repeat, runs)

    def errors(params: Any, replica: int) -> tuple[float, float]:
        error = 0.8 * _error(dict(params)) + 0.002 * float(rng.random())
        return error, error

    writer.full(errors)
    return writer.study


def _twenty_parameters(place: Place) -> Study:
    return _of_space(place, TWENTY, 12)


def _choices(place: Place) -> Study:
    return _of_space(place, CHOICES, 6)


def _fifty_arms(place: Place) -> Study:
    arms: dict[str, Any] = {f"variant-{i:02d}": {"sampler": "random"} for i in range(49)}
    writer = place.create(repeats=3, arms={"hand": {"configs": HAND}, **arms}, promote=None)
    search(writer, np.random.default_rng(6), trials=3)
    return writer.study


def _hundred_repeats(place: Place) -> Study:
    arms: dict[str, Any] = {"random": {"sampler": "random"}, "hand": {"configs": HAND}}
    writer = place.create(repeats=100, arms=arms)
    search(writer, np.random.default_rng(7), trials=3)
    train(writer, np.random.default_rng(7))
    return writer.study


def _many_trials(place: Place) -> Study:
    """20,000 trials of two arms in four repeats, short and long ones, with full training."""
    arms: dict[str, Any] = {
        "tpe": {"sampler": "tpe", "pruner": "median"},
        "random": {"sampler": "random", "pruner": "median"},
    }
    writer = place.create(arms=arms, budget={"epochs": 10**6})
    rng = np.random.default_rng(8)
    for one in writer.study.arms:
        runs = []
        for i in range(2500):
            params = draw(rng, 0.03 if one.arm == "tpe" else 0.01, 1.5)
            errors = falling(max(0.0, final_error(params) + 0.003 * float(rng.normal())), EPOCHS)
            kind = i % 20
            if kind == 19:
                runs.append(Run(params, errors[:2], "diverged"))
            elif kind % 4:
                runs.append(Run(params, errors[: 1 if kind % 2 else 3], "pruned"))
            else:
                runs.append(Run(params, errors))
        writer.arm(one.arm, one.repeat, runs)
    train(writer, rng)
    return writer.study


LARGE: Final = (
    Case("twenty-parameters", "twenty parameters of every kind", _twenty_parameters),
    Case("choices", "choices only, no number is searched", _choices),
    Case("fifty-arms", "50 arms", _fifty_arms, large=True),
    Case("hundred-repeats", "100 repeats", _hundred_repeats, large=True),
    Case("many-trials", "20,000 trials", _many_trials, large=True),
)
