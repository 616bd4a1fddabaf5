"""What an arm is asked and what it answers: History in, Job or Decision out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class History:
    """All that has happened in one search (one arm in one repeat), as stored.

    Attributes:
        study: the stored Optuna study. Policies only read it, but for Optuna's pruners, which mark
            in it the rungs that a trial has passed.
        trials: every trial, by number; a RUNNING one has the values reported so far, keyed by
            epoch (1-based).
        paused: numbers of RUNNING trials that no worker owns and that may be resumed.
        horizon: epochs of a full run.
        remaining: epochs of the budget that are neither spent nor reserved for running trials. Of a
            budget in seconds: about as many as the time left is enough for, but at least a full
            run while there is any, and 0 afterwards.
        trained: epochs of all attempts that have ended.
    """

    study: optuna.Study
    trials: tuple[FrozenTrial, ...]
    paused: frozenset[int]
    horizon: int
    remaining: int
    trained: int = 0


@dataclass(frozen=True)
class NewTrial:
    """Start a trial with these parameters and train it until this epoch.

    Attributes:
        note: user attributes for the trial, plain JSON values.
    """

    params: Mapping[str, Any]
    until_epoch: int
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResumeTrial:
    """Train a paused trial on until this epoch."""

    number: int
    until_epoch: int


Job = NewTrial | ResumeTrial


class Decision(Enum):
    """What happens to a run after an epoch."""

    CONTINUE = "continue"
    PAUSE = "pause"
    PRUNE = "prune"


class Policy(Protocol):
    """What an arm trains next, and which of its runs it stops.

    Answers depend on the history and on the policy's own seed alone, so that any worker gets the
    same ones, after a crash too. A Job that costs more than ``history.remaining`` is not started.

    Attributes:
        stops: False if ``after`` answers CONTINUE to everything, and need not be asked.
    """

    @property
    def stops(self) -> bool: ...

    def next(self, history: History) -> Job | None:
        """What to train next; None if there is nothing to train until the history changes."""

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """What happens to a run after the epoch of its last intermediate value."""
