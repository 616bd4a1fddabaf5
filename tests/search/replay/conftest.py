"""A study's runs made from known functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from tuneoff.search.replay.evidence import Evidence, FullTraining, ShortRun
from tuneoff.trainer.contract import Task

SPACE = {"lr": FloatDistribution(1e-3, 1.0, log=True), "momentum": FloatDistribution(0.5, 0.99)}
TASK = Task(tuple("0123456789"), {"train": 9000, "validation": 10_000, "test": 10_000}, "d" * 64)
HORIZON = 6


def _true_error(params: Mapping[str, Any], epoch: int) -> float:
    """A smooth bowl in log rate and momentum, that falls with the epoch; 0 to 1."""
    miss = (np.log10(params["lr"]) + 1.5) ** 2 / 8 + (params["momentum"] - 0.8) ** 2
    return float(0.1 + 0.3 * min(1.0, miss) + 0.25 * np.exp(-epoch / 1.5))


@pytest.fixture(scope="session")
def true_error() -> Callable[[Mapping[str, Any], int], float]:
    """The function that the runs come from: of (parameters, epoch)."""
    return _true_error


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Evidence]:
    """make_evidence(configurations=60, seeds=1, noise=0.002, diverging=0.4, full=20)."""

    def make(
        configurations: int = 60,
        seeds: int = 1,
        noise: float = 0.002,
        diverging: float = 2.0,
        full: int = 0,
        seed: int = 0,
    ) -> Evidence:
        random = np.random.default_rng(seed)
        short, trained = [], []
        for i in range(configurations):
            params = {
                "lr": float(10 ** random.uniform(-3, 0)),
                "momentum": float(random.uniform(0.5, 0.99)),
            }
            for _ in range(seeds):
                if params["lr"] > diverging:
                    short.append(ShortRun(params, {1: 0.8}, 2))
                    continue
                epochs = HORIZON if i % 3 else 2
                errors = {
                    e: _true_error(params, e) + noise * float(random.standard_normal())
                    for e in range(1, epochs + 1)
                }
                short.append(ShortRun(params, errors))
            if i < full:
                for _ in range(3):
                    error = _true_error(params, HORIZON) - 0.02 + noise * random.standard_normal()
                    test = error + 0.01 + noise * random.standard_normal()
                    trained.append(FullTraining(params, float(error), float(test)))
        return Evidence(SPACE, HORIZON, TASK, tuple(short), tuple(trained))

    return make
