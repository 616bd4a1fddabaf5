"""What a study has come to: its stored trials and attempts as records for comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.results.records import (
    ArmRun,
    Confirmed,
    Ensemble,
    Member,
    Recommendation,
    Step,
    StudyResults,
    TrialCurve,
)
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import DIVERGED, TEST_ERROR
from tuneoff.search.store.database import DEFAULT_URL, open_database
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.selection import (
    confirmed_runs,
    error_of,
    full_runs,
    key_of,
    recommend,
)
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search, Study


def confirmed(now: Snapshot) -> list[Confirmed]:
    """The configurations that were trained in full over seeds, as far as done, best first."""
    return [
        Confirmed(
            dict(found.params),
            found.source,
            tuple(float(t.value) for t in done if t.value is not None),
            tuple(TEST_ERROR.of(t) for t in done if TEST_ERROR.is_set(t)),
        )
        for found, done in confirmed_runs(now)
    ]


def load_study(name: str, storage: str = DEFAULT_URL) -> StudyResults:
    """All that a study has come to so far, by its name.

    Args:
        name: the study file's ``name``.
        storage: "sqlite:///FILE" or "postgresql://USER:PASSWORD@HOST/DATABASE".

    Raises:
        StorageError, StudyError: the database cannot be read, or has no such study.
    """
    database = open_database(storage)
    try:
        return read_results(Snapshot.of(open_study(database, name, Path())))
    finally:
        database.close()


def read_results(now: Snapshot) -> StudyResults:
    """All that the study has come to so far."""
    study, runs = now.study, full_runs(now)
    return StudyResults(
        name=study.name,
        arms=tuple(study.spec.arms),
        repeats=study.spec.repeats,
        trial_epochs=study.spec.trial.epochs,
        chance_error=study.task.chance_error,
        runs=tuple(_arm_run(now, search, runs) for search in study.arms),
        confirmed=tuple(confirmed(now)),
        ensemble=_ensemble(now),
    )


def trial_curves(now: Snapshot) -> list[TrialCurve]:
    """Every arm's trials with what they reported."""
    return [
        TrialCurve(
            arm=search.arm,
            repeat=search.repeat,
            number=trial.number,
            state=state_of(trial, now.state(search)),
            params=dict(trial.params),
            errors=dict(trial.intermediate_values),
        )
        for search in now.study.arms
        for trial in now.trials(search)
    ]


def state_of(trial: FrozenTrial, search: SearchState) -> str:
    """A trial's state in words, as its search stood."""
    if any(trial.number == paused.number for paused in search.paused):
        return "paused"
    if trial.state == TrialState.COMPLETE and DIVERGED.is_set(trial):
        return "diverged"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _arm_run(now: Snapshot, search: Search, full: Mapping[tuple[str, int], FrozenTrial]) -> ArmRun:
    state = now.state(search)
    rows = [attempt for rows in state.attempts.values() for attempt in rows]
    return ArmRun(
        arm=search.arm,
        repeat=search.repeat,
        budget=search.budget or 0,
        spent=state.spent,
        seconds=sum(attempt.seconds for attempt in rows),
        states=dict(Counter(state_of(trial, state) for trial in state.trials)),
        steps=_steps(now.study, state, rows),
        recommendation=_recommendation(search, state, full),
    )


def _steps(study: Study, state: SearchState, rows: list[Attempt]) -> tuple[Step, ...]:
    """Ends of attempts in order of time. A trial's error counts from the end of its attempt on."""
    steps, total = [], 0
    for attempt in sorted((a for a in rows if a.ended is not None), key=lambda a: a.ended or 0):
        total += attempt.epochs
        trial = state.trials[attempt.trial]
        reached = attempt.from_epoch + attempt.epochs
        known = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
        if DIVERGED.is_set(trial) and attempt is state.attempts[attempt.trial][-1]:
            chance = study.task.chance_error
            steps.append(Step(total, trial.number, reached, chance, full=False, diverged=True))
        elif known:
            epoch = max(known)
            full = epoch == study.spec.trial.epochs
            steps.append(Step(total, trial.number, epoch, known[epoch], full))
    return tuple(steps)


def _recommendation(
    search: Search, state: SearchState, full: Mapping[tuple[str, int], FrozenTrial]
) -> Recommendation | None:
    trial = recommend(state.trials)
    if trial is None:
        return None
    run = full.get((key_of(trial.params), search.repeat))
    done = run is not None and run.state == TrialState.COMPLETE
    return Recommendation(
        trial=trial.number,
        params=dict(trial.params),
        validation_error=error_of(trial),
        full_validation_error=run.value if run is not None and done else None,
        test_error=TEST_ERROR.get(run) if run is not None and done else None,
    )


def _ensemble(now: Snapshot) -> Ensemble | None:
    if now.ensemble is None:
        return None
    members = tuple(Member(**asdict(member)) for member in now.ensemble.members)
    return Ensemble(now.ensemble.how, members, now.ensemble.test_error)
