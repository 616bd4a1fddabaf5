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
    """All that has happened in one group, as stored.

    Attributes:
        study: the stored Optuna study; only its pruner may write to it (its own rung marks).
        trials: every trial, by number; a RUNNING one has the values reported so far, keyed by
            epoch (1-based).
        paused: numbers of RUNNING trials that no worker owns and that may be resumed.
        horizon: epochs of a full run.
        remaining: epochs of the budget that are neither spent nor reserved.
    """

    study: optuna.Study
    trials: tuple[FrozenTrial, ...]
    paused: frozenset[int]
    horizon: int
    remaining: int


@dataclass(frozen=True)
class NewTrial:
    """Start a trial with these parameters and train it until this epoch.

    Attributes:
        note: user attributes of the trial, plain JSON values.
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
    """What becomes of a run after an epoch."""

    CONTINUE = "continue"
    PAUSE = "pause"
    PRUNE = "prune"


class Policy(Protocol):
    """Answers from the history and its own seed alone: after a crash, any worker gets the same.

    A Job that costs more than ``history.remaining`` is not started, so a policy need not think
    of one when the budget cannot pay for it.

    Attributes:
        stops: False if ``after`` answers CONTINUE to everything, and need not be asked.
    """

    @property
    def stops(self) -> bool: ...

    def next(self, history: History) -> Job | None:
        """What to train next; None for nothing, as long as the history stays as it is."""

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """What becomes of a run whose latest epoch is its last intermediate value."""
