"""Fixtures of curve-gp's tests: trials as they are stored, and the benchmark's virtual clock."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def virtual() -> Iterator[ModuleType]:
    """The benchmarks' module that runs a policy on given learning curves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("virtual")


@pytest.fixture(scope="session")
def stored() -> Callable[..., FrozenTrial]:
    """Makes a trial as the database has it, with errors by epoch."""

    def make(
        number: int,
        distributions: Mapping[str, BaseDistribution],
        params: Mapping[str, Any],
        errors: Mapping[int, float],
        value: float | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> FrozenTrial:
        trial = create_trial(
            state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
            value=value,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(note or {}),
            intermediate_values=dict(errors),
        )
        trial.number = number
        return trial

    return make
