"""What is predicted lies where values of the study's metric can lie, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from tuneoff.metric import ERROR, KNOWN, Metric
from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model_state import ModelState
from tuneoff.search.results.predictions.maps import maps_of
from tuneoff.search.results.predictions.repeat import errors_of

SPACE = {"lr": FloatDistribution(0.01, 1.0), "momentum": FloatDistribution(0.0, 0.9)}


def state_of(*last: float) -> ModelState:
    """The model's state after runs of two epochs that came to these stored values."""
    encoding = Encoding(SPACE)
    curves = []
    for i, value in enumerate(last):
        x = encoding.columns({"lr": 0.1 + 0.1 * i, "momentum": 0.1 * i})
        curves.append(Curve(i, x, {1: value + 0.01 * abs(value), 2: value}))
    return ModelState(encoding, curves, set(), 2, Priors())


@pytest.mark.parametrize(
    ("metric", "last", "ends"),
    [
        (ERROR, (0.1, 0.2, 0.4), (0, 1)),
        (KNOWN["AUROC"], (-0.9, -0.8, -0.6), (-1, 0)),
        (KNOWN["log loss"], (1.5, 2.5, 4.0), (0, np.inf)),
        (KNOWN["F1"], (-90.0, -80.0, -60.0), (-np.inf, np.inf)),  # in percent, as its code has it
        (KNOWN["loss"], (-3.0, 2.0, 4.0), (-np.inf, np.inf)),
    ],
)
def test_values_come_back_and_the_impossible_is_cut_off(
    metric: Metric, last: tuple[float, ...], ends: tuple[float, float]
) -> None:
    state = state_of(*last)
    values = np.array(last)
    assert errors_of(state, state.warping.warp(values), metric) == pytest.approx(values)
    far = errors_of(state, np.array([-1e3, 98.0]), metric)
    assert far[0] == ends[0] if np.isfinite(ends[0]) else far[0] < min(last)
    assert far[1] == ends[1] if np.isfinite(ends[1]) else far[1] > max(last)


def test_a_map_of_another_metric_has_its_values() -> None:
    ((found,), _) = maps_of(state_of(-0.9, -0.8, -0.6), {}, KNOWN["AUROC"])
    assert -1 <= min(map(min, found.median)) < -0.7
    ((tiny,), _) = maps_of(state_of(2e-6, 3e-6, 4e-6), {}, KNOWN["loss"])
    assert len({value for row in tiny.median for value in row}) > 10
