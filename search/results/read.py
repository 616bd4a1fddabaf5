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
from tuneoff.search.store.attributes import DIVERGED, ENSEMBLE, TEST_ERROR
from tuneoff.search.store.database import DEFAULT_URL, open_database
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.selection import (
    confirmed_runs,
    error_of,
    full_runs,
    key_of,
    recommend,
)
from tuneoff.search.study.state import SearchState, read_states
from tuneoff.search.study.study import Search, Study


def confirmed(study: Study) -> list[Confirmed]:
    """The configurations that were trained in full over seeds, as far as done, best first."""
    return [
        Confirmed(
            dict(found.params),
            found.source,
            tuple(float(t.value) for t in done if t.value is not None),
            tuple(TEST_ERROR.of(t) for t in done if TEST_ERROR.is_set(t)),
        )
        for found, done in confirmed_runs(study)
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
        return read_results(open_study(database, name, Path()))
    finally:
        database.close()


def read_results(study: Study) -> StudyResults:
    """All that the study has come to so far."""
    runs = full_runs(study)
    return StudyResults(
        name=study.name,
        arms=tuple(study.spec.arms),
        repeats=study.spec.repeats,
        trial_epochs=study.spec.trial.epochs,
        chance_error=study.task.chance_error,
        runs=tuple(_arm_run(study, search, runs) for search in study.arms),
        confirmed=tuple(confirmed(study)),
        ensemble=_ensemble(study),
    )


def trial_curves(study: Study) -> list[TrialCurve]:
    """Every arm's trials with what they reported."""
    return [
        TrialCurve(
            arm=search.arm,
            repeat=search.repeat,
            number=trial.number,
            state=state_of(trial, now),
            params=dict(trial.params),
            errors=dict(trial.intermediate_values),
        )
        for search in study.arms
        for now in read_states(study, [search])
        for trial in now.trials
    ]


def state_of(trial: FrozenTrial, now: SearchState) -> str:
    """A trial's state as people read it."""
    if any(trial.number == paused.number for paused in now.paused):
        return "paused"
    if trial.state == TrialState.COMPLETE and DIVERGED.is_set(trial):
        return "diverged"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _arm_run(study: Study, search: Search, full: Mapping[tuple[str, int], FrozenTrial]) -> ArmRun:
    (now,) = read_states(study, [search])
    rows = [attempt for rows in now.attempts.values() for attempt in rows]
    return ArmRun(
        arm=search.arm,
        repeat=search.repeat,
        budget=search.budget or 0,
        spent=now.spent,
        seconds=sum(attempt.seconds for attempt in rows),
        states=dict(Counter(state_of(trial, now) for trial in now.trials)),
        steps=_steps(study, now, rows),
        recommendation=_recommendation(search, now, full),
    )


def _steps(study: Study, now: SearchState, rows: list[Attempt]) -> tuple[Step, ...]:
    """Ends of attempts in order of time. A trial's error counts from the end of its attempt on."""
    steps, total = [], 0
    for attempt in sorted((a for a in rows if a.ended is not None), key=lambda a: a.ended or 0):
        total += attempt.epochs
        trial = now.trials[attempt.trial]
        reached = attempt.from_epoch + attempt.epochs
        known = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
        if DIVERGED.is_set(trial) and attempt is now.attempts[attempt.trial][-1]:
            chance = study.task.chance_error
            steps.append(Step(total, trial.number, reached, chance, full=False, diverged=True))
        elif known:
            epoch = max(known)
            full = epoch == study.spec.trial.epochs
            steps.append(Step(total, trial.number, epoch, known[epoch], full))
    return tuple(steps)


def _recommendation(
    search: Search, now: SearchState, full: Mapping[tuple[str, int], FrozenTrial]
) -> Recommendation | None:
    trial = recommend(now.trials)
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


def _ensemble(study: Study) -> Ensemble | None:
    stored = ENSEMBLE.get(study.optuna_study(study.ensemble))
    if stored is None:
        return None
    members = tuple(Member(**asdict(member)) for member in stored.members)
    return Ensemble(stored.how, members, stored.test_error)
