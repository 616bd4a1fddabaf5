"""Predictions of a model as plain records that the report is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a map.

    Attributes:
        name: the parameter.
        choices: one for each cell, as text; empty for a range.
        edges: the boundaries of a range's cells, both ends included; empty for choices.
        log: True if the parameter is searched on a logarithmic scale.
    """

    name: str
    choices: tuple[str, ...]
    edges: tuple[float, ...]
    log: bool


@dataclass(frozen=True, slots=True)
class Map:
    """The model's prediction of a full run's error over two parameters, the others held fixed.

    Attributes:
        x, y: the parameters.
        median: predicted validation error, 0 to 1; one row for each cell of ``y``.
        width: of the 90% interval around it, without the noise of a single run; in the same rows.
    """

    x: Axis
    y: Axis
    median: tuple[tuple[float, ...], ...]
    width: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The predicted learning curve of a run that was paused at a rung, and the measured one.

    Attributes:
        trial: the run's number.
        state: what became of the run, as ``TrialCurve.state``.
        rung: the epoch at which it was paused.
        known: how many trials the model knew then.
        epochs: the epochs after the rung, up to that of a full run.
        median: predicted validation error after each of ``epochs``, 0 to 1.
        low50, high50: the central interval that should hold the error with a probability of 50%.
        low90, high90: the same with 90%.
        errors: measured validation error, 0 to 1, by epoch, counted from 1.
    """

    trial: int
    state: str
    rung: int
    known: int
    epochs: tuple[int, ...]
    median: tuple[float, ...]
    low50: tuple[float, ...]
    high50: tuple[float, ...]
    low90: tuple[float, ...]
    high90: tuple[float, ...]
    errors: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many intervals for the error of a full run, predicted at one rung, held it.

    Attributes:
        epoch: the rung.
        runs: number of forecasts that were judged, over all repeats.
        levels: the intervals' nominal probabilities, 0 to 1.
        held: number of runs whose error lay within the interval, for each level.
        lower, upper: bounds on ``held`` for each level, within which the number for a calibrated
            model lies with a probability of 95% (central binomial interval).
    """

    epoch: int
    runs: int
    levels: tuple[float, ...]
    held: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]

    def of(self, level: float) -> int:
        """The number of runs held by the interval of this level, one of ``levels``."""
        return self.held[self.levels.index(level)]


@dataclass(frozen=True, slots=True)
class ArmPredictions:
    """What the model of one arm predicted.

    Attributes:
        arm: the arm's name.
        repeat: the repeat whose model the maps and the forecasts show: that with the best
            recommendation.
        trials: number of trials with an error that this model was fitted to.
        best: number of the trial whose parameters the maps hold fixed: the recommended one, or
            before there is one that for which the model predicts the lowest error.
        params: the parameters of that trial.
        recommended: True if the arm recommends that trial.
        left_out: parameters without a map: those to which the model is least sensitive.
        maps: one for each pair of the other parameters.
        forecasts: full runs first, best first, then runs that were stopped.
        coverage: one for each rung, over all repeats.
        judged: number of forecasts that ``coverage`` counts.
        possible: number of forecasts whose run came to its end, so that it could be judged.
    """

    arm: str
    repeat: int
    trials: int
    best: int
    params: Mapping[str, Any]
    recommended: bool
    left_out: tuple[str, ...]
    maps: tuple[Map, ...]
    forecasts: tuple[Forecast, ...]
    coverage: tuple[Coverage, ...]
    judged: int
    possible: int
