"""Which configurations are the best: of one arm, of all arms, and after full training."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store.attributes import DIVERGED, REPLICA
from tuneoff.search.study.study import Search, Study


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


def error_of(trial: FrozenTrial) -> float:
    """The error of a run, 0 to 1: its value, or the last one that it has reported so far."""
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)]


def ranking(study: Study) -> list[Found]:
    """Every configuration that was run in full by any arm, best first."""
    errors: dict[str, list[float]] = defaultdict(list)
    first: dict[str, tuple[Search, FrozenTrial]] = {}
    for search in study.arms:
        for trial in study.trials(search):
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                errors[key_of(trial.params)].append(trial.value)
                first.setdefault(key_of(trial.params), (search, trial))
    found = [
        Found(trial.params, f"{search.arm}/{search.repeat}#{trial.number}", sum(e) / len(e))
        for (search, trial), e in ((first[key], errors[key]) for key in errors)
    ]
    return sorted(found, key=lambda f: (f.error, f.source))


def full_runs(study: Study) -> dict[tuple[str, int], FrozenTrial]:
    """Trials of full training by (key of the parameters, replica)."""
    return {(key_of(trial.params), REPLICA.of(trial)): trial for trial in study.trials(study.full)}


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
