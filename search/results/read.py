"""What a study has come to: its stored trials and attempts as records for comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.results.anytime import incumbent_trials
from tuneoff.search.results.arm_facts import arm_facts
from tuneoff.search.results.decision.rule import standing_rule
from tuneoff.search.results.early_stop import EarlyStop
from tuneoff.search.results.records import (
    ArmRun,
    Confirmed,
    Ensemble,
    Member,
    Recommendation,
    Step,
    StudyResults,
)
from tuneoff.search.results.sharing import most_at_once
from tuneoff.search.store.attempts import Attempt, Spent
from tuneoff.search.store.attributes import DIVERGED, TEST_ERROR
from tuneoff.search.study.evidence import finished_full, full_runs, known_configurations
from tuneoff.search.study.judging import Pick
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.promotion import unfinished_picks, unjudged_picks
from tuneoff.search.study.selection import combined_members, error_of, recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.time_budget import epochs_of


@dataclass(frozen=True, slots=True)
class _Marks:
    """The picks that are not compared: for good, and as yet."""

    unjudged: Collection[Pick]
    unfinished: Collection[Pick]


def confirmed(now: Snapshot) -> list[Confirmed]:
    """The configurations that were trained in full, as far as done, best first."""
    if not full_runs(now):
        return []  # soon said, also of a search with thousands of trials
    return [
        Confirmed(
            params=now.study.space.in_effect(found.params),
            source=found.source,
            validation_errors=_validation_errors(found.trained),
            test_errors=_test_errors(now.study, found.trained),
            diverged=found.full.diverged,
            expected_error=found.full.expected,
            search_errors=found.search.errors,
            search_diverged=found.search.diverged,
            search_expected_error=found.search.expected,
        )
        for found in known_configurations(now)
        if found.full.count
    ]


def read_results(now: Snapshot) -> StudyResults:
    """All that the study has come to so far."""
    study, full = now.study, finished_full(now)
    marks = _Marks(frozenset(unjudged_picks(now)), frozenset(unfinished_picks(now)))
    return StudyResults(
        name=study.name,
        arms=tuple(study.spec.arms),
        repeats=study.repeats,
        trial_epochs=study.spec.trial.epochs,
        chance_error=study.worst,
        runs=tuple(_arm_run(now, search, full, marks) for search in study.arms),
        confirmed=tuple(confirmed(now)),
        ensemble=_ensemble(now),
        rule=standing_rule(study.spec, study.repeats),
        facts=arm_facts(now),
        metric=study.metric,
        budget_seconds=study.spec.budget.time,
        full_epochs=None if study.spec.promote is None else study.spec.promote.epochs,
    )


def state_of(trial: FrozenTrial, search: SearchState) -> str:
    """A trial's state in words, as its search stood."""
    if trial.number in search.paused_numbers:
        return "paused"
    if trial.state == TrialState.COMPLETE and DIVERGED.is_set(trial):
        return "diverged"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _arm_run(
    now: Snapshot,
    search: Search,
    full: Mapping[str, Sequence[FrozenTrial]],
    marks: _Marks,
) -> ArmRun:
    state = now.state(search)
    rows = [attempt for rows in state.attempts.values() for attempt in rows]
    run = ArmRun(
        arm=search.arm,
        repeat=search.repeat,
        budget=epochs_of(search, Spent(state.spent, state.seconds), now.study.spec.trial.epochs),
        spent=state.spent,
        seconds=sum(attempt.seconds for attempt in rows),
        states=dict(Counter(state_of(trial, state) for trial in state.trials)),
        steps=_steps(now.study, state, rows),
        recommendation=_recommendation(now.study, state, full, marks, (search.arm, search.repeat)),
        workers=most_at_once(rows) if now.study.spec.arms[search.arm].learns else None,
        early_stop=_early_stop(now, search),
    )
    return replace(run, incumbent_tests=_incumbent_tests(now.study, state, run, full))


def _incumbent_tests(
    study: Study, state: SearchState, run: ArmRun, full: Mapping[str, Sequence[FrozenTrial]]
) -> tuple[float, ...]:
    keys = [key_of(state.trials[number].params) for number in incumbent_trials(run)]
    errors = [_test_errors(study, full.get(key, ())) for key in keys]
    return tuple(fmean(tests) for tests in errors if tests)


def _early_stop(now: Snapshot, search: Search) -> EarlyStop | None:
    stop, rule = now.stops.get(search.name), now.study.spec.budget.stop_rule
    return EarlyStop(stop.gain, rule.epochs) if stop and rule else None


def _steps(study: Study, state: SearchState, rows: list[Attempt]) -> tuple[Step, ...]:
    """Ends of attempts in order of time. A trial's error counts from the end of its attempt on."""
    steps, total, seconds = [], 0, 0.0
    for attempt in sorted((a for a in rows if a.ended is not None), key=lambda a: a.ended or 0):
        total += attempt.epochs
        seconds += attempt.seconds
        trial = state.trials[attempt.trial]
        reached = attempt.from_epoch + attempt.epochs
        known = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
        if DIVERGED.is_set(trial) and attempt is state.attempts[attempt.trial][-1]:
            chance = study.worst
            steps.append(Step(total, trial.number, reached, chance, False, True, seconds))
        elif known:
            epoch = max(known)
            full = epoch == study.spec.trial.epochs
            steps.append(Step(total, trial.number, epoch, known[epoch], full, seconds=seconds))
    return tuple(steps)


def _recommendation(
    study: Study,
    state: SearchState,
    full: Mapping[str, Sequence[FrozenTrial]],
    marks: _Marks,
    pick: Pick,
) -> Recommendation | None:
    trial = recommend(state.trials)
    if trial is None:
        return None
    trained = full.get(key_of(trial.params), ())
    return Recommendation(
        trial=trial.number,
        params=study.space.in_effect(trial.params),
        validation_error=error_of(trial),
        full_validation_errors=_validation_errors(trained),
        test_errors=_test_errors(study, trained),
        judged=pick not in marks.unjudged,
        finished=pick not in marks.unfinished,
    )


def _validation_errors(trained: Sequence[FrozenTrial]) -> tuple[float, ...]:
    """One for each training; one that diverged was told the error of guessing."""
    return tuple(float(trial.value) for trial in trained if trial.value is not None)


def _test_errors(study: Study, trained: Sequence[FrozenTrial]) -> tuple[float, ...]:
    """One for each training. One that diverged has no scores, and counts as guessing."""
    own = study.task.is_own and any(TEST_ERROR.is_set(trial) for trial in trained)
    if not own and not study.task.sizes.get("test", 0):
        return ()
    chance = study.worst
    return tuple(
        chance if DIVERGED.is_set(trial) else TEST_ERROR.of(trial)
        for trial in trained
        if DIVERGED.is_set(trial) or TEST_ERROR.is_set(trial)
    )


def _ensemble(now: Snapshot) -> Ensemble | None:
    if now.ensemble is None:
        return None
    members = tuple(Member(**asdict(member)) for member in now.ensemble.members)
    params = next(
        (now.study.space.in_effect(trial.params) for trial in combined_members(now)), None
    )
    return Ensemble(now.ensemble.how, members, now.ensemble.test_error, params)
