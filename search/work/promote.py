"""Best configurations into full training, then into the ensemble. Promotion only enqueues.

Each step is a function of what is stored, so a step that was cut off is done again by whoever
comes next, and adds only what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store.attributes import (
    ENSEMBLE,
    MEMBER,
    RECIPE_CHANGES,
    REPLICA,
    SEED,
    TEST_ERROR,
    StoredEnsemble,
    StoredMember,
)
from tuneoff.search.study.checkpoints import read_scores
from tuneoff.search.study.selection import (
    confirmed_runs,
    error_of,
    full_runs,
    key_of,
    ranking,
    recommend,
)
from tuneoff.search.study.state import new_trial
from tuneoff.search.study.study import FULL_RUN, MEMBER_RUN, Search, Study
from tuneoff.trainer.contract import Trainer

log = logging.getLogger(__name__)


def advance(study: Study, trainer: Trainer) -> bool:
    """Take the next step after the search; True if that made trials to run.

    To be called when no trial of any search is left to run.
    """
    with study.database.lock(study.full.name):
        if enqueue_full(study):
            return True
    with study.database.lock(study.ensemble.name):
        if enqueue_members(study):
            return True
        combine(study, trainer)
    return False


def is_promoted(study: Study) -> bool:
    """True if ``advance`` would find nothing to do."""
    return (
        not _missing_full(study)
        and not _missing_members(study)
        and (not _is_combinable(study) or ENSEMBLE.is_set(study.optuna_study(study.ensemble)))
    )


def enqueue_full(study: Study) -> int:
    """Enqueue full training of each arm's picks, and of the top configurations over seeds.

    A configuration with the same seed is trained once, however many arms picked it.

    Returns:
        The number of trials added.
    """
    missing = _missing_full(study)
    for (_, replica), params in missing.items():
        assert study.spec.promote is not None
        note = {
            **REPLICA.entry(replica),
            **SEED.entry((study.spec.seed, FULL_RUN, replica)),
            **RECIPE_CHANGES.entry(study.spec.promote.changes()),
        }
        _enqueue(study, study.full, params, note)
    return len(missing)


def _missing_full(study: Study) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Parameters of the full runs to add, by (key of the parameters, replica)."""
    if study.spec.promote is None:
        return {}
    wanted: dict[tuple[str, int], Mapping[str, Any]] = {}
    for search in study.arms:
        if (trial := recommend(study.trials(search))) is not None:
            wanted[key_of(trial.params), search.repeat] = trial.params
    for found in ranking(study)[: study.spec.promote.top]:
        for replica in range(study.spec.promote.seeds):
            wanted[key_of(found.params), replica] = found.params
    there = full_runs(study)
    return {key: params for key, params in wanted.items() if key not in there}


def best_configuration(study: Study) -> Mapping[str, Any] | None:
    """The parameters with the best mean validation error after full training, if any."""
    rows = confirmed_runs(study)
    return rows[0][0].params if rows else None


def enqueue_members(study: Study) -> int:
    """Enqueue the ensemble's members, trained with the best configuration.

    Returns:
        The number of trials added.
    """
    missing = _missing_members(study)
    best = best_configuration(study)
    for i in missing:
        assert best is not None
        changes = study.spec.member_changes()[i]
        note = {
            **MEMBER.entry(i),
            **SEED.entry((study.spec.seed, MEMBER_RUN + i, 0)),
            **RECIPE_CHANGES.entry(changes),
        }
        _enqueue(study, study.ensemble, best, note)
    return len(missing)


def _missing_members(study: Study) -> list[int]:
    if study.spec.ensemble is None or best_configuration(study) is None:
        return []
    there = {MEMBER.of(trial) for trial in study.trials(study.ensemble)}
    return [i for i in range(len(study.spec.ensemble.members)) if i not in there]


def _is_combinable(study: Study) -> bool:
    tested = bool(study.task.sizes.get("test", 0))
    return study.spec.ensemble is not None and tested and bool(_trained_members(study))


def _trained_members(study: Study) -> list[FrozenTrial]:
    """Members that have scores; one that diverged has none."""
    return [
        trial
        for trial in study.trials(study.ensemble)
        if trial.state == TrialState.COMPLETE and TEST_ERROR.is_set(trial)
    ]


def combine(study: Study, trainer: Trainer) -> None:
    """Combine the trained members and store what the ensemble's test error is."""
    stored = study.optuna_study(study.ensemble)
    if not _is_combinable(study) or ENSEMBLE.is_set(stored):
        return
    assert study.spec.ensemble is not None
    members = _trained_members(study)
    if len(members) < len(study.spec.ensemble.members):
        log.warning("%s: some members failed; the ensemble is smaller", study.ensemble.name)
    validation = [read_scores(study, trial, "validation") for trial in members]
    test = [read_scores(study, trial, "test") for trial in members]
    how = study.spec.ensemble.combine
    scores, weights = trainer.combine(how, validation, test)
    rows = tuple(
        StoredMember(
            model=study.run_of(study.ensemble, trial).recipe.model,
            validation_error=error_of(trial),
            test_error=TEST_ERROR.of(trial),
            weight=weight,
        )
        for trial, weight in zip(members, weights, strict=True)
    )
    ensemble = StoredEnsemble(how, rows, scores.error)
    stored.set_user_attr(*ENSEMBLE.item(ensemble))


def _enqueue(
    study: Study, search: Search, params: Mapping[str, Any], note: Mapping[str, Any]
) -> None:
    study.add_trial(search, new_trial(study, TrialState.WAITING, NewTrial(params, 0, note)))
