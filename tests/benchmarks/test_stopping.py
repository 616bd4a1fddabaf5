"""The benchmark of rules to stop by: forecasts see the past alone, rules are the project's."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tuneoff.search.policies.gain import LEAST_RUNS
from tuneoff.search.spec.stop_rule import StopRule

HORIZON = 52


@pytest.fixture
def stopping() -> ModuleType:
    return importlib.import_module("stopping")


@pytest.fixture
def methods() -> ModuleType:
    return importlib.import_module("stopping_methods")


@pytest.fixture
def traces() -> ModuleType:
    return importlib.import_module("stopping_traces")


def trace(module: ModuleType, errors: list[float], policy: str = "random", repeat: int = 0) -> Any:
    setting = module.Setting(policy, "core", "7593", repeat, 0.0, len(errors))
    epochs = tuple(HORIZON * (1 + i) for i in range(len(errors)))
    return module.Trace(setting, epochs, tuple(errors), tuple(errors), (), epochs[-1])


def test_no_forecast_sees_what_comes(methods: ModuleType, traces: ModuleType) -> None:
    errors = [float(e) for e in np.random.default_rng(0).uniform(5, 50, 20)]
    whole, other = trace(traces, errors), trace(traces, errors[::-1], repeat=1)
    cut = replace(whole, **{key: getattr(whole, key)[:8] for key in ("epochs", "errors")})
    for name, method in methods.METHODS.items():
        seen = methods.Seen(whole, 8, 5 * HORIZON, [other])
        found = method(seen)
        assert found == method(replace(seen, trace=cut)), name
        assert found.mean >= 0
        assert list(found.quantiles) == sorted(found.quantiles)


def test_a_gain_is_that_of_the_least_error(methods: ModuleType, traces: ModuleType) -> None:
    one = trace(traces, [9.0, 8.0, 8.5, 7.0, 3.0])
    assert methods.gain(one, 2 * HORIZON, 4 * HORIZON) == 1.0
    assert methods.gain(one, 2 * HORIZON, 5 * HORIZON) == 5.0
    assert methods.gain(one, 2 * HORIZON, 3 * HORIZON) == 0.0
    assert methods.gain(one, HORIZON - 1, 5 * HORIZON) is None


def test_a_power_law_is_found_again(methods: ModuleType, traces: ModuleType) -> None:
    errors = [10 + 20 / (1 + i) for i in range(10)]
    found = methods.power_law(methods.Seen(trace(traces, errors), 10, 10 * HORIZON, []))
    assert found.mean == pytest.approx(20 / 10 - 20 / 20)


def test_a_rule_saves_what_it_does_not_train(stopping: ModuleType, traces: ModuleType) -> None:
    """Nothing can be gained where all errors are equal: it stops as soon as it may."""
    flat = trace(traces, [20.0] * 10)
    found = stopping.ruled(flat, StopRule(0.1, 5 * HORIZON))
    assert found.stopped_at == LEAST_RUNS * HORIZON
    assert found.saved == 1 - LEAST_RUNS / 10
    assert found.missed == found.lost == 0
    late = stopping.ruled(trace(traces, [20.0] * 9 + [15.0]), StopRule(0.1, 5 * HORIZON))
    assert (late.missed, late.lost) == (5.0, 5.0)
    wide = [float(e) for e in range(60, 10, -5)]
    assert stopping.ruled(trace(traces, wide), StopRule(0.1, 5 * HORIZON)).stopped_at is None


def test_a_simulated_search_is_kept(traces: ModuleType, lcbench_data: Path, tmp_path: Path) -> None:
    surrogates = importlib.import_module("lcbench_surrogate")
    names = ("model.onnx", "encoding.json", "reference.json")
    surrogate = surrogates.Surrogate(surrogates.Files(*(lcbench_data / name for name in names)))
    setting = traces.Setting("random", "core", "7593", 0, 0.5, 3)
    path = tmp_path / "traces.jsonl"
    for _ in range(2):
        traces.simulate_missing(surrogate, [setting], path)
    (found,) = traces.read(path)
    assert found == traces.trace(surrogate, setting)
    assert found.epochs == (HORIZON, 2 * HORIZON, 3 * HORIZON)
    assert found.errors != found.true_errors
    noiseless = traces.trace(surrogate, replace(setting, noise=0.0))
    assert noiseless.errors == noiseless.true_errors == found.true_errors
