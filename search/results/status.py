"""How far a study is: what `status` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from tuneoff.search.results.progress import budget_of
from tuneoff.search.results.read import state_of
from tuneoff.search.store.attributes import FAILURE
from tuneoff.search.study.selection import best_error
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search, Study


@dataclass(frozen=True)
class Busy:
    """A live attempt: who runs what, how far, and since when (seconds)."""

    worker: str
    device: str
    trial: str
    attempt: int
    epoch: int
    until_epoch: int
    running: float
    idle: float


@dataclass(frozen=True)
class ArmStatus:
    """An arm over all repeats, or full training, or the ensemble.

    Attributes:
        spent, budget: epochs; for promoted trials, the budget is what is enqueued.
        seconds: device seconds spent.
        states: number of trials by state.
        best: lowest validation error of a full run, 0 to 1; None before the first.
        lost: attempts that were lost or failed.
    """

    name: str
    spent: int
    budget: int
    seconds: float
    states: dict[str, int]
    best: float | None
    lost: int


@dataclass(frozen=True)
class Status:
    """A study as it stands.

    Attributes:
        seconds_left: device seconds still to come at the speed so far, divided among the workers
            that are live; None while nothing is known or nobody works.
        failures: reasons why trials were told FAIL, newest last.
    """

    study: str
    draining: bool
    arms: tuple[ArmStatus, ...]
    busy: tuple[Busy, ...]
    seconds_left: float | None
    failures: tuple[str, ...]


def read_status(now: Snapshot) -> Status:
    """How far the study was at that moment."""
    study = now.study
    pairs = [(search, now.state(search)) for search in study.searches]
    arms = [
        _arm(study, arm, [(search, state) for search, state in pairs if search.arm == arm])
        for arm in (*study.spec.arms, "full", "ensemble")
    ]
    busy = tuple(_busy(search, trial, state) for search, state in pairs for trial in state.live)
    trained = sum(arm.spent for arm in arms)
    left = sum(max(0, arm.budget - arm.spent) for arm in arms)
    seconds = sum(arm.seconds for arm in arms)
    return Status(
        study=study.name,
        draining=study.is_draining(),
        arms=tuple(arms),
        busy=busy,
        seconds_left=left * seconds / trained / len(busy) if trained and busy else None,
        failures=tuple(
            f"{search.name}#{trial.number}: {FAILURE.of(trial)}"
            for search, state in pairs
            for trial in state.trials
            if FAILURE.is_set(trial)
        ),
    )


def _arm(study: Study, arm: str, parts: Sequence[tuple[Search, SearchState]]) -> ArmStatus:
    states: Counter[str] = Counter()
    for _, state in parts:
        states.update(state_of(trial, state) for trial in state.trials)
    errors = [best_error(state.trials) for _, state in parts]
    rows = [a for _, state in parts for attempts in state.attempts.values() for a in attempts]
    return ArmStatus(
        name=arm,
        spent=sum(state.spent for _, state in parts),
        budget=sum(budget_of(study, search, state.trials) for search, state in parts),
        seconds=sum(a.seconds for a in rows),
        states=dict(states),
        best=min((error for error in errors if error is not None), default=None),
        lost=sum(a.end in ("lost", "failed") for a in rows),
    )


def _busy(search: Search, trial: FrozenTrial, state: SearchState) -> Busy:
    attempt = state.attempts[trial.number][-1]
    return Busy(
        worker=attempt.worker,
        device=attempt.device,
        trial=f"{search.name}#{trial.number}",
        attempt=attempt.number,
        epoch=attempt.from_epoch + attempt.epochs,
        until_epoch=attempt.until_epoch,
        running=attempt.progressed + attempt.idle - attempt.started,
        idle=attempt.idle,
    )
