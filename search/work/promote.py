"""Best configurations into full training, then into the ensemble. Promotion only enqueues.

Each step is a function of what is stored, so a step that was cut off is done again by whoever
comes next, and adds only what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.promotion import FullRun, missing_full, missing_of
from tuneoff.search.study.selection import (
    PlannedMember,
    error_of,
    is_combined,
    member_trials,
    scored_members,
)
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import FULL_RUN, Search, Study
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.done import is_idle
from tuneoff.search.work.horizon import enqueue_horizon, missing_runs
from tuneoff.trainer.contract import AnyRecipe, Trainer, measured
from tuneoff.trainer.own.recipe import OwnTraining

log = logging.getLogger(__name__)


def advance(study: Study, trainer: Trainer, grow: Callable[[], bool] | None = None) -> bool:
    """Take the next step after the search; True if there are trials to run.

    Full training comes first, then the ensemble, then [horizon], which asks another question.

    To be called when no trial of any search seems to be left to run. Another worker may have taken
    the same step since: then its trials are what there is to run.

    Args:
        grow: adds repeats and seeds where the study is to go on, and returns True if there is more
            to run; called after full training. The ensemble is trained once nothing is added.

    Raises:
        StudyError: neither scores nor checkpoint of a member are to be had here.
        DataError: scores must be made again, and the data cannot be read.
        StorageOutage, ArtifactError, ArtifactOutage: the database or the artifact store is away.
    """
    step = study.ledger.step
    if step(enqueue_full, study):
        return True
    if grow is not None and (not step(is_idle, study, (study.full,)) or step(grow)):
        return True
    if step(enqueue_members, study):
        return True
    if not step(is_idle, study, (study.full, study.ensemble)):
        return True
    combine(study, trainer)
    if step(enqueue_horizon, study):
        return True
    return not step(is_idle, study, study.queues)


def is_promoted(study: Study) -> bool:
    """True if ``advance`` would find nothing to do."""
    now = Snapshot.of(study)
    return not (
        missing_full(now) or _missing_members(now) or _is_to_be_combined(now) or missing_runs(now)
    )


def enqueue_full(study: Study) -> int:
    """Enqueue the full trainings that the study is to have, see ``promotion.missing_full``.

    Returns:
        The number of trials added.
    """
    return _enqueue_missing(study, missing_full)


def enqueue_seeds(study: Study, trainings: Mapping[str, int]) -> int:
    """Enqueue further full trainings of configurations, by key so many in all.

    Returns:
        The number of trials added.
    """
    return _enqueue_missing(study, partial(missing_of, wanted=trainings)) if trainings else 0


def _enqueue_missing(
    study: Study, missing_in: Callable[[Snapshot], Mapping[FullRun, Mapping[str, Any]]]
) -> int:
    with study.database.lock(study.full.name):
        missing = missing_in(Snapshot.of(study))
        for (_, replica), params in missing.items():
            note = {
                **REPLICA.entry(replica),
                **SEED.entry((study.spec.seed, FULL_RUN, replica)),
                **RECIPE_CHANGES.entry(study.spec.full_changes()),
            }
            _enqueue(study, study.full, params, note)
    return len(missing)


def enqueue_members(study: Study) -> int:
    """Enqueue the ensemble's members, trained with the best configuration.

    Members with another configuration, from before a better one was known, stay as they are. The
    ensemble of them stands until the new members are combined; a warning says so.

    Returns:
        The number of trials added.
    """
    with study.database.lock(study.ensemble.name):
        now = Snapshot.of(study)
        missing = _missing_members(now)
        _say_what_is_replaced(now, missing)
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
    return [member for member, trial in member_trials(now) if trial is None]


def _say_what_is_replaced(now: Snapshot, missing: Sequence[PlannedMember]) -> None:
    """Warn that members are trained again because another configuration is the best one."""
    before = [t.params for t in now.trials(now.study.ensemble)]
    if missing and before and key_of(before[-1]) != key_of(missing[0].params):
        log.warning(
            "%s: its members were trained with %s; the best configuration by full training is %s, "
            "with which they are trained anew. The ensemble of the earlier ones stands until then",
            now.study.ensemble.name,
            dict(before[-1]),
            dict(missing[0].params),
        )


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
    validation = [read_scores(member, "validation", trainer) for member in members]
    test = [read_scores(member, "test", trainer) for member in members]
    how = study.spec.ensemble.combine
    recipe = members[0].run.recipe
    scores, weights = trainer.combine(how, validation, test, study.judge(recipe))
    rows = tuple(
        StoredMember(
            model=_model(member.run.recipe),
            validation_error=error_of(member.stored),
            test_error=TEST_ERROR.of(member.stored),
            weight=weight,
        )
        for member, weight in zip(members, weights, strict=True)
    )
    numbers = tuple(member.number for member in members)
    error = measured(recipe, scores)
    made = StoredEnsemble(how, rows, error, numbers)
    study.ledger.step(_store_ensemble, study, made)


def _model(recipe: AnyRecipe) -> str:
    """What a member is called."""
    return recipe.code if isinstance(recipe, OwnTraining) else recipe.model


def _store_ensemble(study: Study, made: StoredEnsemble) -> None:
    with study.database.lock(study.ensemble.name):
        now = Snapshot.of(study)
        if _is_to_be_combined(now) and tuple(t.number for t in scored_members(now)) == made.trials:
            study.optuna_study(study.ensemble).set_user_attr(*ENSEMBLE.item(made))


def _is_to_be_combined(now: Snapshot) -> bool:
    tested = now.study.task.is_own or bool(now.study.task.sizes.get("test", 0))
    return tested and bool(scored_members(now)) and not is_combined(now)


def _enqueue(
    study: Study, search: Search, params: Mapping[str, Any], note: Mapping[str, Any]
) -> None:
    add_trial(study, search, TrialState.WAITING, NewTrial(params, 0, note))
