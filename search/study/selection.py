"""Which configurations are the best: of one arm, of all arms, and after full training."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store.attributes import DIVERGED, MEMBER, MEMBER_KEY, REPLICA, TEST_ERROR
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import MEMBER_RUN, Search


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


def recommend(trials: tuple[FrozenTrial, ...]) -> FrozenTrial | None:
    """The trial that an arm recommends; None before the first run has come to its end.

    It is the best full run that did not diverge, the earlier one of equals. Where every run that
    came to its end has diverged, it is the best of the other runs at the deepest epoch that any of
    them has reached, and a run that diverged only if no other has an error.
    ``results.anytime.incumbent`` ranks runs in the same order.
    """
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        return None
    begun = (t for t in trials if t.state == TrialState.COMPLETE or t.intermediate_values)
    return min(begun, key=_rank)


def _rank(trial: FrozenTrial) -> tuple[int, int, float, int]:
    """Less is better."""
    if DIVERGED.is_set(trial):
        return 2, 0, 0.0, trial.number
    if trial.state == TrialState.COMPLETE:
        return 0, 0, error_of(trial), trial.number
    return 1, -max(trial.intermediate_values), error_of(trial), trial.number


def best_error(trials: tuple[FrozenTrial, ...]) -> float | None:
    """The error of the recommended trial, 0 to 1; None while that is not a full run."""
    recommended = recommend(trials)
    if recommended is None or recommended.state != TrialState.COMPLETE:
        return None
    return error_of(recommended)


def error_of(trial: FrozenTrial) -> float:
    """The error of a run, 0 to 1: its value, or the last one that it has reported so far."""
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)]


def ranking(now: Snapshot) -> list[Found]:
    """Every configuration that was run in full by any arm, best first."""
    errors: dict[str, list[float]] = defaultdict(list)
    first: dict[str, tuple[Search, FrozenTrial]] = {}
    for search in now.study.arms:
        for trial in now.trials(search):
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                errors[key_of(trial.params)].append(trial.value)
                first.setdefault(key_of(trial.params), (search, trial))
    found = [
        Found(trial.params, f"{search.arm}/{search.repeat}#{trial.number}", sum(e) / len(e))
        for (search, trial), e in ((first[key], errors[key]) for key in errors)
    ]
    return sorted(found, key=lambda f: (f.error, f.source))


def full_runs(now: Snapshot) -> dict[tuple[str, int], FrozenTrial]:
    """Trials of full training by (key of the parameters, replica)."""
    return {
        (key_of(trial.params), REPLICA.of(trial)): trial for trial in now.trials(now.study.full)
    }


def confirmed_runs(now: Snapshot) -> list[tuple[Found, list[FrozenTrial]]]:
    """The top configurations with their finished full runs over seeds, best mean first."""
    promote = now.study.spec.promote
    if promote is None:
        return []
    runs = full_runs(now)
    rows = []
    for found in ranking(now)[: promote.top]:
        trials = [runs.get((key_of(found.params), replica)) for replica in range(promote.seeds)]
        done = [t for t in trials if t is not None and t.state == TrialState.COMPLETE]
        if done:
            rows.append((found, done))
    return sorted(rows, key=lambda row: mean_error(row[1]))


def best_configuration(now: Snapshot) -> Mapping[str, Any] | None:
    """The parameters with the best mean validation error after full training, if any."""
    rows = confirmed_runs(now)
    return rows[0][0].params if rows else None


@dataclass(frozen=True)
class PlannedMember:
    """A model of the ensemble, named by what it is trained with.

    Attributes:
        index: its place in the study file's [ensemble] members.
        changes: what differs from the short trial's recipe.
        seed: (study, trial, replica), as in RunSeed.
    """

    index: int
    params: Mapping[str, Any]
    changes: Mapping[str, Any]
    seed: tuple[int, int, int]

    @property
    def key(self) -> str:
        """Equal for members whose training is equal."""
        return json.dumps([dict(self.params), dict(self.changes), self.seed], sort_keys=True)

    def is_trained_by(self, trial: FrozenTrial) -> bool:
        """True if this trial's model is the member."""
        if (key := MEMBER_KEY.get(trial)) is not None:
            return key == self.key
        # Earlier versions gave members no key.
        return MEMBER.of(trial) == self.index and key_of(trial.params) == key_of(self.params)


def planned_members(now: Snapshot) -> list[PlannedMember]:
    """The ensemble's members, all with the best configuration; none while that is unknown."""
    best = best_configuration(now)
    if now.study.spec.ensemble is None or best is None:
        return []
    return [
        PlannedMember(i, best, changes, (now.study.spec.seed, MEMBER_RUN + i, 0))
        for i, changes in enumerate(now.study.spec.member_changes())
    ]


def member_trials(now: Snapshot) -> list[FrozenTrial | None]:
    """For each planned member the trial that trains it; None where there is none yet."""
    trials = now.trials(now.study.ensemble)
    return [
        next((trial for trial in trials if member.is_trained_by(trial)), None)
        for member in planned_members(now)
    ]


def scored_members(now: Snapshot) -> list[FrozenTrial]:
    """Trials of the planned members that have scores; one that diverged or failed has none."""
    return [trial for trial in member_trials(now) if trial is not None and _is_scored(trial)]


def combined_members(now: Snapshot) -> list[FrozenTrial]:
    """Trials of the members that the stored ensemble was made of; none before there is one."""
    if now.ensemble is None:
        return []
    trials = now.trials(now.study.ensemble)
    if now.ensemble.trials is not None:
        return [trials[number] for number in now.ensemble.trials]
    # Earlier versions combined every member that had scores.
    return [t for t in trials if not MEMBER_KEY.is_set(t) and _is_scored(t)]


def _is_scored(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and TEST_ERROR.is_set(trial)


def is_combined(now: Snapshot) -> bool:
    """True if the stored ensemble is made of all planned members that have scores."""
    made_of = {trial.number for trial in combined_members(now)}
    return now.ensemble is not None and made_of == {t.number for t in scored_members(now)}


def mean_error(trials: Sequence[FrozenTrial]) -> float:
    """Mean validation error of complete trials, 0 to 1."""
    values = [trial.value for trial in trials if trial.value is not None]
    return sum(values) / len(values)
