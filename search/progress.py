"""How far a study is: what `status` prints and what `run` shows while it works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from search import attempts
from search.claim import (
    FAILURE,
    Standing,
    end_stale_attempts,
    next_job,
    next_waiting,
    standing,
    standings,
)
from search.results import pick, state_of
from search.study import Group, Study


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


def read_status(study: Study) -> Status:
    """The study as it stands now."""
    pairs = list(zip(study.groups, standings(study, study.groups), strict=True))
    arms = [
        _arm(study, arm, [(g, now) for g, now in pairs if g.arm == arm])
        for arm in (*study.spec.arms, "full", "ensemble")
    ]
    busy = tuple(_busy(group, trial, now) for group, now in pairs for trial in now.live)
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
            f"{group.name}#{trial.number}: {trial.user_attrs[FAILURE]}"
            for group, now in pairs
            for trial in now.trials
            if FAILURE in trial.user_attrs
        ),
    )


def reclaim(study: Study) -> None:
    """End what shows no progress, so that it is seen to be lost though no worker is there."""
    live = attempts.live(study.database, [group.name for group in study.groups])
    stale = {a.group for a in live if a.is_stale(study.spec.workers.grace_seconds)}
    for group in study.groups:
        if group.name in stale:
            with study.database.lock(group.name):
                end_stale_attempts(study, group)


def is_searched(study: Study) -> bool:
    """True if no arm has anything left to run: budgets spent, lists at their ends."""
    return all(_is_idle(study, group) for group in study.arms)


def is_idle(study: Study, groups: Sequence[Group]) -> bool:
    """True if these groups of promoted trials have none left to run."""
    return all(trial.state.is_finished() for group in groups for trial in study.trials(group))


def table(status: Status) -> Table:
    """The status as a table for the terminal."""
    rows = Table("", "epochs", "of", "best error", "trials", "lost", title=status.study)
    for arm in status.arms:
        states = ", ".join(f"{n} {state}" for state, n in sorted(arm.states.items()))
        best = "-" if arm.best is None else f"{arm.best:.2%}"
        rows.add_row(arm.name, str(arm.spent), str(arm.budget), best, states, str(arm.lost))
    return rows


def _is_idle(study: Study, group: Group) -> bool:
    now = standing(study, group)
    if now.live or now.orphans or now.paused or next_waiting(study, group, now) is not None:
        return False
    return next_job(study, group, now) is None


def _arm(study: Study, arm: str, parts: Sequence[tuple[Group, Standing]]) -> ArmStatus:
    states: Counter[str] = Counter()
    best: list[float] = []
    budget = 0
    for group, now in parts:
        states.update(state_of(trial, now) for trial in now.trials)
        chosen = pick(now.trials)
        if chosen is not None and chosen.value is not None:
            best.append(chosen.value)
        budget += _budget(study, group, now)
    rows = [a for _, now in parts for attempts in now.attempts.values() for a in attempts]
    return ArmStatus(
        name=arm,
        spent=sum(now.spent for _, now in parts),
        budget=budget,
        seconds=sum(a.seconds for a in rows),
        states=dict(states),
        best=min(best, default=None),
        lost=sum(a.end in ("lost", "failed") for a in rows),
    )


def _budget(study: Study, group: Group, now: Standing) -> int:
    if group.budget is not None:
        return group.budget
    kept = [t for t in now.trials if t.state != TrialState.FAIL]
    return sum(study.run_of(group, trial).recipe.epochs for trial in kept)


def _busy(group: Group, trial: FrozenTrial, now: Standing) -> Busy:
    attempt = now.attempts[trial.number][-1]
    return Busy(
        worker=attempt.worker,
        device=attempt.device,
        trial=f"{group.name}#{trial.number}",
        attempt=attempt.number,
        epoch=attempt.from_epoch + attempt.epochs,
        until_epoch=attempt.until_epoch,
        running=attempt.progressed + attempt.idle - attempt.started,
        idle=attempt.idle,
    )
