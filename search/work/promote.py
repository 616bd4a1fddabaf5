"""Best configurations into full training, then into the ensemble. Promotion only enqueues.

Each step is a function of what is stored, so a step that was cut off is done again by whoever
comes next, and adds only what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store.attributes import (
    ENSEMBLE,
    MEMBER,
    MEMBER_KEY,
    RECIPE_CHANGES,
    REPLICA,
    SEED,
    TEST_ERROR,
    StoredEnsemble,
    StoredMember,
)
from tuneoff.search.study.checkpoints import read_scores
from tuneoff.search.study.selection import (
    PlannedMember,
    error_of,
    full_runs,
    is_combined,
    key_of,
    member_trials,
    planned_members,
    ranking,
    recommend,
    scored_members,
)
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import FULL_RUN, Search, Study
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.trainer.contract import Trainer

log = logging.getLogger(__name__)


def advance(study: Study, trainer: Trainer) -> bool:
    """Take the next step after the search; True if that made trials to run.

    To be called when no trial of any search is left to run.

    Raises:
        StudyError: the scores of a member are not to be had here.
        StorageOutage, ArtifactError, ArtifactOutage: the database or the artifact store is away.
    """
    step = study.ledger.step
    if step(enqueue_full, study) or step(enqueue_members, study):
        return True
    combine(study, trainer)
    return False


def is_promoted(study: Study) -> bool:
    """True if ``advance`` would find nothing to do."""
    now = Snapshot.of(study)
    return not (_missing_full(now) or _missing_members(now) or _is_to_be_combined(now))


def enqueue_full(study: Study) -> int:
    """Enqueue full training of what each arm recommends, and of the top configurations over seeds.

    A configuration with the same seed is trained once, however many arms recommend it.

    Returns:
        The number of trials added.
    """
    with study.database.lock(study.full.name):
        missing = _missing_full(Snapshot.of(study))
        for (_, replica), params in missing.items():
            assert study.spec.promote is not None
            note = {
                **REPLICA.entry(replica),
                **SEED.entry((study.spec.seed, FULL_RUN, replica)),
                **RECIPE_CHANGES.entry(study.spec.promote.changes()),
            }
            _enqueue(study, study.full, params, note)
    return len(missing)


def _missing_full(now: Snapshot) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Parameters of the full runs to add, by (key of the parameters, replica)."""
    promote = now.study.spec.promote
    if promote is None:
        return {}
    wanted: dict[tuple[str, int], Mapping[str, Any]] = {}
    for search in now.study.arms:
        if (trial := recommend(now.trials(search))) is not None:
            wanted[key_of(trial.params), search.repeat] = trial.params
    for found in ranking(now)[: promote.top]:
        for replica in range(promote.seeds):
            wanted[key_of(found.params), replica] = found.params
    there = full_runs(now)
    return {key: params for key, params in wanted.items() if key not in there}


def enqueue_members(study: Study) -> int:
    """Enqueue the ensemble's members, trained with the best configuration.

    Members with another configuration, from before more searching found a better one, stay as they
    are, and are not combined any more.

    Returns:
        The number of trials added.
    """
    with study.database.lock(study.ensemble.name):
        missing = _missing_members(Snapshot.of(study))
        for member in missing:
            note = {
                **MEMBER.entry(member.index),
                **MEMBER_KEY.entry(member.key),
                **SEED.entry(member.seed),
                **RECIPE_CHANGES.entry(dict(member.changes)),
            }
            _enqueue(study, study.ensemble, member.params, note)
    return len(missing)


def _missing_members(now: Snapshot) -> list[PlannedMember]:
    pairs = zip(planned_members(now), member_trials(now), strict=True)
    return [member for member, trial in pairs if trial is None]


def combine(study: Study, trainer: Trainer) -> None:
    """Combine the trained members and store what the ensemble's test error is.

    Their scores are read and combined without a lock, which could take long, and the result is
    stored if it is still that of all trained members.
    """
    now = study.ledger.step(Snapshot.of, study)
    if not _is_to_be_combined(now):
        return
    assert study.spec.ensemble is not None
    members = [TrialRef(study, study.ensemble, trial) for trial in scored_members(now)]
    if len(members) < len(study.spec.ensemble.members):
        log.warning("%s: some members failed; the ensemble is smaller", study.ensemble.name)
    validation = [read_scores(member, "validation") for member in members]
    test = [read_scores(member, "test") for member in members]
    how = study.spec.ensemble.combine
    scores, weights = trainer.combine(how, validation, test)
    rows = tuple(
        StoredMember(
            model=member.run.recipe.model,
            validation_error=error_of(member.stored),
            test_error=TEST_ERROR.of(member.stored),
            weight=weight,
        )
        for member, weight in zip(members, weights, strict=True)
    )
    numbers = tuple(member.number for member in members)
    made = StoredEnsemble(how, rows, scores.error, numbers)
    study.ledger.step(_store_ensemble, study, made)


def _store_ensemble(study: Study, made: StoredEnsemble) -> None:
    with study.database.lock(study.ensemble.name):
        now = Snapshot.of(study)
        if _is_to_be_combined(now) and tuple(t.number for t in scored_members(now)) == made.trials:
            study.optuna_study(study.ensemble).set_user_attr(*ENSEMBLE.item(made))


def _is_to_be_combined(now: Snapshot) -> bool:
    tested = bool(now.study.task.sizes.get("test", 0))
    return tested and bool(scored_members(now)) and not is_combined(now)


def _enqueue(
    study: Study, search: Search, params: Mapping[str, Any], note: Mapping[str, Any]
) -> None:
    add_trial(study, search, TrialState.WAITING, NewTrial(params, 0, note))
