"""What is chosen: an arm's recommendation, a study's best configuration, its ensemble's members."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store.attributes import DIVERGED, MEMBER, MEMBER_KEY, TEST_ERROR
from tuneoff.search.study.evidence import Configuration, full_runs, known_configurations
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import MEMBER_RUN


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


def error_of(trial: FrozenTrial) -> float:
    """The error of a run, 0 to 1: its value, or the last one that it has reported so far."""
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)]


def best_configuration(known: Sequence[Configuration]) -> Configuration | None:
    """The configuration with the best full training, that did not diverge, if any.

    Args:
        known: as ``known_configurations`` gives them.
    """
    first = known[0] if known else None
    return first if first is not None and first.full.errors else None


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
    if now.study.spec.ensemble is None or not full_runs(now):
        return []
    best = best_configuration(known_configurations(now))
    if best is None:
        return []
    return [
        PlannedMember(i, best.params, changes, (now.study.spec.seed, MEMBER_RUN + i, 0))
        for i, changes in enumerate(now.study.spec.member_changes())
    ]


def member_trials(now: Snapshot) -> list[tuple[PlannedMember, FrozenTrial | None]]:
    """Each planned member with the trial that trains it; None where there is none yet."""
    trials = now.trials(now.study.ensemble)
    return [
        (member, next((trial for trial in trials if member.is_trained_by(trial)), None))
        for member in planned_members(now)
    ]


def scored_members(now: Snapshot) -> list[FrozenTrial]:
    """Trials of the planned members that have scores; one that diverged or failed has none."""
    return [trial for _, trial in member_trials(now) if trial is not None and _is_scored(trial)]


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


def outdated_ensemble(now: Snapshot) -> str | None:
    """That the stored ensemble was trained with another than the best configuration, in a sentence;
    None if it was not, or if there is none."""
    made_of = combined_members(now)
    best = best_configuration(known_configurations(now)) if made_of else None
    if best is None or key_of(made_of[0].params) == best.key:
        return None
    return (
        f"The ensemble was trained with {made_of[0].params}; the best configuration by full "
        f"training is {dict(best.params)}. Promotion trains it anew and keeps this one until then."
    )


def is_combined(now: Snapshot) -> bool:
    """True if the stored ensemble is made of all planned members that have scores."""
    made_of = {trial.number for trial in combined_members(now)}
    return now.ensemble is not None and made_of == {t.number for t in scored_members(now)}
