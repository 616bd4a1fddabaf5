"""Who won, by how much, and how sure we may be: pure statistics on what the arms did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """The end of one attempt at a trial, in order of time within its arm and repeat.

    Attributes:
        spent: epochs of the arm's budget spent up to and including this attempt.
        trial: the trial's number.
        epoch: the last epoch that the trial has reached.
        error: validation error at that epoch, 0 to 1.
        full: True if that is the trial's last epoch (a full search run).
    """

    spent: int
    trial: int
    epoch: int
    error: float
    full: bool


@dataclass(frozen=True, slots=True)
class Pick:
    """The configuration that an arm recommends in one repeat.

    Attributes:
        trial: the trial's number in its study.
        params: the searched parameters.
        validation_error: at the end of its search run, 0 to 1.
        full_validation_error: after full training; None until that is done.
        test_error: after full training, on the test split; None until that is done.
    """

    trial: int
    params: Mapping[str, Any]
    validation_error: float
    full_validation_error: float | None = None
    test_error: float | None = None


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm in one repeat.

    Attributes:
        arm: the arm's name.
        repeat: 0-based; equal repeats of different arms are paired.
        budget: epochs that it may spend.
        spent: epochs that it has spent, pruned and lost attempts included.
        seconds: device seconds that it has spent.
        states: number of trials by state ("complete", "pruned", "diverged", "failed",
            "paused", "running", "waiting").
        steps: in order of time; empty before the first attempt ends.
        pick: None before the first trial has a value.
    """

    arm: str
    repeat: int
    budget: int
    spent: int
    seconds: float
    states: Mapping[str, int]
    steps: tuple[Step, ...]
    pick: Pick | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A configuration trained in full over several seeds.

    Attributes:
        params: the searched parameters.
        source: where it was found, "ARM/REPEAT#TRIAL".
        validation_errors: one for each seed, 0 to 1.
        test_errors: one for each seed, 0 to 1; empty where there is no test split.
    """

    params: Mapping[str, Any]
    source: str
    validation_errors: tuple[float, ...]
    test_errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the ensemble: errors 0 to 1, weight in the combination."""

    model: str
    validation_error: float
    test_error: float
    weight: float


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The combined models: how ("paper", "mean", ...), and its test error, 0 to 1."""

    how: str
    members: tuple[Member, ...]
    test_error: float


@dataclass(frozen=True, slots=True)
class StudyResults:
    """All that a study has come to, as far as it has come.

    Attributes:
        name: the study's name.
        arms: names in the study file's order.
        repeats: number of paired repeats.
        trial_epochs: epochs of one full search run.
        chance_error: top-1 error of guessing, 0 to 1.
        runs: one for each arm and repeat.
        confirmed: best first, by mean validation error.
        ensemble: None until all members are trained.
    """

    name: str
    arms: tuple[str, ...]
    repeats: int
    trial_epochs: int
    chance_error: float
    runs: tuple[ArmRun, ...]
    confirmed: tuple[Confirmed, ...] = ()
    ensemble: Ensemble | None = None
