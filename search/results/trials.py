"""Every trial and every attempt of a study, as records for tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from tuneoff.search.results.read import state_of
from tuneoff.search.results.records import AttemptRecord, TrialCurve
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import FAILURE, NOTE
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search


def trial_curves(now: Snapshot) -> list[TrialCurve]:
    """Every arm's trials with what they reported and what they took."""
    return [_curve(now, search, trial) for search in now.study.arms for trial in now.trials(search)]


def _curve(now: Snapshot, search: Search, trial: FrozenTrial) -> TrialCurve:
    state = now.state(search)
    rows: Sequence[Attempt] = state.attempts.get(trial.number, ())
    return TrialCurve(
        arm=search.arm,
        repeat=search.repeat,
        number=trial.number,
        state=state_of(trial, state),
        params=now.study.space.in_effect(trial.params),
        errors=dict(trial.intermediate_values),
        epochs=sum(row.epochs for row in rows),
        seconds=sum(row.seconds for row in rows),
        attempts=len(rows),
        worker=rows[-1].worker if rows else "",
        device=rows[-1].device if rows else "",
        note=FAILURE.get(trial) or NOTE.get(trial) or "",
    )


def attempt_records(now: Snapshot) -> list[AttemptRecord]:
    """Every attempt at a trial of an arm or a queue, oldest first."""
    records = [
        record
        for search in now.study.searches
        for state in (now.state(search),)
        for number in state.attempts
        for record in attempt_records_of(search, state, number)
    ]
    return sorted(records, key=lambda one: (one.started, one.arm, one.repeat, one.trial))


def attempt_records_of(search: Search, state: SearchState, number: int) -> list[AttemptRecord]:
    """The attempts at one trial, oldest first."""
    return [
        AttemptRecord(
            arm=search.arm,
            repeat=search.repeat,
            trial=number,
            number=row.number,
            worker=row.worker,
            device=row.device,
            started=row.started,
            ended=row.ended,
            end=row.end,
            state=state_of(state.trials[number], state),
            epochs=row.epochs,
            seconds=row.seconds,
            reason=row.reason or "",
            from_epoch=row.from_epoch,
        )
        for row in state.attempts.get(number, ())
    ]
