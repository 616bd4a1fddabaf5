"""The gallery's studies of other metrics than top-1 error: unbounded, negative, maximised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from gallery_study import ARMS, HAND, Case, Place, draw, final_error, noisy, searched

from tuneoff.search.study.study import Study

TWO_ARMS: Final = {name: ARMS[name] for name in ("bayes", "hand")}


def _measured(
    place: Place, metric: Mapping[str, Any], stored: Callable[[float], float], effect: float
) -> Study:
    """A whole study whose stored values are those of the default metric, converted."""
    writer = place.create(arms=TWO_ARMS, metric=metric, compare={"smallest_effect": effect})
    rng = np.random.default_rng(1)
    for one in writer.study.arms:
        configs = HAND if one.arm == "hand" else [draw(rng, 0.03, 0.3) for _ in range(5)]
        runs = searched(rng, configs, ("complete", "complete", "diverged", "dropped", "complete"))
        runs = [replace(run, errors=tuple(map(stored, run.errors))) for run in runs]
        writer.arm(one.arm, one.repeat, runs)

    def full(params: Mapping[str, Any], replica: int) -> tuple[float, float]:
        error = noisy(rng, 0.8 * final_error(params))
        return stored(error), stored(error + 0.01)

    writer.full(full)
    return writer.study


def _loss(place: Place) -> Study:
    """Between about -0.5, as a log likelihood may be, and 5."""
    metric = {"name": "validation loss", "worst": 20.0}
    return _measured(place, metric, lambda error: 6 * error - 1.0, 0.02)


def _auroc(place: Place) -> Study:
    return _measured(place, {"name": "AUROC"}, lambda error: error / 2 - 1.0, 0.002)


def _accuracy(place: Place) -> Study:
    return _measured(place, {"name": "accuracy"}, lambda error: error, 0.2)


METRICS: Final = (
    Case("loss", "an unbounded loss, which may be negative", _loss),
    Case("auroc", "AUROC, which is maximised and no percentage", _auroc),
    Case("accuracy", "accuracy, which is maximised, in percent", _accuracy),
)
