"""What is kept of a run that has come to its end: scores, test results, a table's curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from tuneoff.metric import Metric
from tuneoff.search.store.attributes import CURVE, ENVIRONMENT, RECIPE, TEST_ERROR, StoredCurve
from tuneoff.search.study.checkpoints import Uploads, keep, write_scores
from tuneoff.search.study.trial_ref import Run
from tuneoff.search.work.claim import Claim
from tuneoff.trainer.contract import AnyRecipe, EpochRecord, Split, Trainer, measured
from tuneoff.trainer.errors import OwnCodeError
from tuneoff.trainer.own.recipe import OwnTraining


def score(
    claim: Claim,
    run: Run,
    trainer: Trainer,
    tick: Callable[[], bool],
    uploads: Uploads,
    seen: Sequence[EpochRecord],
) -> None:
    """Score a promoted model on validation and, once, on the test split; keep the scores.

    A user's own code has reported its results, and is asked for scores where an ensemble needs
    them.
    """
    trial = claim.trial
    notes = ENVIRONMENT.entry(dict(trainer.describe())) | RECIPE.entry(run.recipe.to_dict())
    notes |= reported_test(seen)
    own = isinstance(run.recipe, OwnTraining)
    # Readers elsewhere look for all of it under the last attempt, which may have trained nothing.
    uploads.put()
    uploads.flush(tick)
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        if trial.search.kind == "ensemble" if own else trial.study.task.sizes.get(split, 0):
            scores = trainer.evaluate(run.recipe, trial.folder, split)
            keep(trial, claim.attempt, write_scores(trial.folder, split, scores), tick)
            if split == "test":
                # What was reported stands.
                notes = TEST_ERROR.entry(measured(run.recipe, scores)) | notes
    trial.note_as_owner(claim.attempt, notes)


def score_test(claim: Claim, run: Run, trainer: Trainer, notes: Mapping[str, Any]) -> None:
    """Score a model that is not kept on the test split, once; ``notes`` are stored with that."""
    trial, noted = claim.trial, dict(notes)
    if trial.study.task.sizes.get("test", 0):
        scores = trainer.evaluate(run.recipe, trial.folder, "test")
        noted |= TEST_ERROR.entry(measured(run.recipe, scores))
    if noted:
        trial.note_as_owner(claim.attempt, noted)


def reported_test(seen: Sequence[EpochRecord]) -> dict[str, Any]:
    """The test error of a user's own code as it reported it with its last epoch, to be stored."""
    error = seen[-1].test_error if seen else None
    return {} if error is None else TEST_ERROR.entry(error)


def row_notes(trainer: Trainer, seen: Sequence[EpochRecord]) -> dict[str, Any]:
    """What a table of learning curves keeps of a run besides its errors."""
    losses = tuple(e.validation_loss if isfinite(e.validation_loss) else None for e in seen)
    seconds = tuple(epoch.seconds for epoch in seen)
    return CURVE.entry(StoredCurve(losses, seconds)) | ENVIRONMENT.entry(dict(trainer.describe()))


def as_stored(metric: Metric, recipe: AnyRecipe, epoch: EpochRecord) -> EpochRecord:
    """An epoch's record with its values as the study stores them: lower is better.

    Raises:
        OwnCodeError: a user's own code reported something that its [metric] cannot be.
    """
    if not isinstance(recipe, OwnTraining):
        if metric.percent and not 0 <= epoch.validation_error <= 1:
            raise OwnCodeError(
                f'metric = "{recipe.metric}" returned {metric.value(epoch.validation_error):g}, '
                "and a share lies between 0 and 1; set percent = false in [metric]"
            )
        return epoch
    values = [value for value in (epoch.validation_error, epoch.test_error) if value is not None]
    for value in values:
        if metric.percent and not 0 <= value <= 1:
            raise OwnCodeError(
                f"{recipe.code} reported {value:g} in epoch {epoch.epoch}, and {metric.name} "
                "lies between 0 and 1; if it is another metric, say so in the study's [metric]"
            )
    stored, *tested = map(metric.stored, values)
    return replace(epoch, validation_error=stored, test_error=tested[0] if tested else None)
