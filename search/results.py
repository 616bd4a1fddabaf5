"""What a study has come to: its stored trials and attempts as records for comparison."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.attempts import Attempt
from search.claim import Standing, standings
from search.compare import (
    ArmRun,
    Confirmed,
    Ensemble,
    Member,
    Pick,
    Step,
    StudyResults,
    TrialCurve,
)
from search.study import Group, Study
from search.trial import DIVERGED, TEST_ERROR

REPLICA = "replica"  # user attribute of full training: which seed of its configuration
ENSEMBLE = "ensemble"  # user attribute of NAME/ensemble


@dataclass(frozen=True)
class Found:
    """A configuration that a search found.

    Attributes:
        source: the first trial that had it, "ARM/REPEAT#TRIAL".
        error: mean validation error of its full search runs, 0 to 1.
    """

    params: Mapping[str, Any]
    source: str
    error: float


def key_of(params: Mapping[str, Any]) -> str:
    """Equal for equal parameters."""
    return json.dumps(dict(params), sort_keys=True)


def pick(trials: tuple[FrozenTrial, ...]) -> FrozenTrial | None:
    """The trial that an arm recommends: its best full run; the earlier one of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return min(complete, key=lambda t: (t.value, t.number)) if complete else None


def ranking(study: Study) -> list[Found]:
    """Every configuration that was run in full by any arm, best first."""
    errors: dict[str, list[float]] = defaultdict(list)
    first: dict[str, tuple[Group, FrozenTrial]] = {}
    for group in study.arms:
        for trial in study.trials(group):
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                errors[key_of(trial.params)].append(trial.value)
                first.setdefault(key_of(trial.params), (group, trial))
    found = [
        Found(trial.params, f"{group.arm}/{group.repeat}#{trial.number}", sum(e) / len(e))
        for (group, trial), e in ((first[key], errors[key]) for key in errors)
    ]
    return sorted(found, key=lambda f: (f.error, f.source))


def full_runs(study: Study) -> dict[tuple[str, int], FrozenTrial]:
    """Trials of full training by (key of the parameters, replica)."""
    return {
        (key_of(trial.params), trial.user_attrs[REPLICA]): trial
        for trial in study.trials(study.full)
    }


def confirmed_runs(study: Study) -> list[tuple[Found, list[FrozenTrial]]]:
    """The top configurations with their finished full runs over seeds, best mean first."""
    if study.spec.promote is None:
        return []
    runs = full_runs(study)
    rows = []
    for found in ranking(study)[: study.spec.promote.top]:
        replicas = range(study.spec.promote.seeds)
        trials = [runs.get((key_of(found.params), replica)) for replica in replicas]
        done = [t for t in trials if t is not None and t.state == TrialState.COMPLETE]
        if done:
            rows.append((found, done))
    return sorted(rows, key=lambda row: mean_error(row[1]))


def mean_error(trials: Sequence[FrozenTrial]) -> float:
    """Mean validation error of complete trials, 0 to 1."""
    values = [trial.value for trial in trials if trial.value is not None]
    return sum(values) / len(values)


def confirmed(study: Study) -> list[Confirmed]:
    """The configurations that were trained in full over seeds, as far as done, best first."""
    return [
        Confirmed(
            dict(found.params),
            found.source,
            tuple(float(t.value) for t in done if t.value is not None),
            tuple(t.user_attrs[TEST_ERROR] for t in done if TEST_ERROR in t.user_attrs),
        )
        for found, done in confirmed_runs(study)
    ]


def read_results(study: Study) -> StudyResults:
    """All that the study has come to so far."""
    runs = full_runs(study)
    return StudyResults(
        name=study.name,
        arms=tuple(study.spec.arms),
        repeats=study.spec.repeats,
        trial_epochs=study.spec.trial.epochs,
        chance_error=study.task.chance_error,
        runs=tuple(_arm_run(study, group, runs) for group in study.arms),
        confirmed=tuple(confirmed(study)),
        ensemble=_ensemble(study),
    )


def trial_curves(study: Study) -> list[TrialCurve]:
    """Every arm's trials with what they reported."""
    return [
        TrialCurve(
            arm=group.arm,
            repeat=group.repeat,
            number=trial.number,
            state=state_of(trial, now),
            params=dict(trial.params),
            errors=dict(trial.intermediate_values),
        )
        for group in study.arms
        for now in standings(study, [group])
        for trial in now.trials
    ]


def state_of(trial: FrozenTrial, now: Standing) -> str:
    """A trial's state as people read it."""
    if any(trial.number == paused.number for paused in now.paused):
        return "paused"
    if trial.state == TrialState.COMPLETE and DIVERGED in trial.user_attrs:
        return "diverged"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _arm_run(study: Study, group: Group, full: Mapping[tuple[str, int], FrozenTrial]) -> ArmRun:
    (now,) = standings(study, [group])
    rows = [attempt for rows in now.attempts.values() for attempt in rows]
    return ArmRun(
        arm=group.arm,
        repeat=group.repeat,
        budget=group.budget or 0,
        spent=now.spent,
        seconds=sum(attempt.seconds for attempt in rows),
        states=dict(Counter(state_of(trial, now) for trial in now.trials)),
        steps=_steps(study, now, rows),
        pick=_pick(group, now, full),
    )


def _steps(study: Study, now: Standing, rows: list[Attempt]) -> tuple[Step, ...]:
    """Ends of attempts in order of time. A trial's error counts from the end of its attempt on."""
    steps, total = [], 0
    horizon = study.spec.trial.epochs
    for attempt in sorted((a for a in rows if a.ended is not None), key=lambda a: a.ended or 0):
        total += attempt.epochs
        trial = now.trials[attempt.trial]
        reached = attempt.from_epoch + attempt.epochs
        known = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
        if DIVERGED in trial.user_attrs and attempt is now.attempts[attempt.trial][-1]:
            steps.append(Step(total, trial.number, horizon, study.task.chance_error, True))
        elif known:
            epoch = max(known)
            steps.append(Step(total, trial.number, epoch, known[epoch], epoch == horizon))
    return tuple(steps)


def _pick(group: Group, now: Standing, full: Mapping[tuple[str, int], FrozenTrial]) -> Pick | None:
    trial = pick(now.trials)
    if trial is None or trial.value is None:
        return None
    run = full.get((key_of(trial.params), group.repeat))
    done = run is not None and run.state == TrialState.COMPLETE
    return Pick(
        trial=trial.number,
        params=dict(trial.params),
        validation_error=trial.value,
        full_validation_error=run.value if run is not None and done else None,
        test_error=run.user_attrs.get(TEST_ERROR) if run is not None and done else None,
    )


def _ensemble(study: Study) -> Ensemble | None:
    stored = study.optuna_study(study.ensemble).user_attrs.get(ENSEMBLE)
    if stored is None:
        return None
    members = tuple(Member(**member) for member in stored["members"])
    return Ensemble(stored["how"], members, stored["test_error"])
