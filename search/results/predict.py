"""The ensemble's predictions for images that nobody labelled: `tuneoff predict`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuneoff.search.errors import StudyError, UserError
from tuneoff.search.results.absence import no_ensemble
from tuneoff.search.results.csv_cells import csv_line
from tuneoff.search.results.probabilities import (
    fitted_temperature,
    mean_log_probabilities,
    tempered,
)
from tuneoff.search.study.checkpoints import (
    CHECKPOINT,
    bring,
    how_to_bring_back,
    read_scores,
)
from tuneoff.search.study.selection import combined_members, outdated_ensemble
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import Scores, Trainer
from tuneoff.trainer.errors import CheckpointError, TrainerError
from tuneoff.trainer.registry import COMBINATIONS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predicted:
    """What an ensemble says about images.

    Attributes:
        names: of the images.
        classes: names of all classes.
        chosen: the class of each image by the study's rule of combination, shape (images,).
        probabilities: mean of the members' probabilities, shape (images, classes). With the paper's
            rule the class with the highest one is not always the chosen one.
        calibrated_on: number of validation images on which the probabilities were calibrated; 0 if
            they are as the members gave them.
        temperature: by which they were calibrated, see ``fitted_temperature``; 1 if they were not.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    chosen: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    calibrated_on: int
    temperature: float


def predict_images(study: Study, trainer: Trainer, images: Path) -> Predicted:
    """What the study's ensemble says about images.

    Args:
        images: an image, a folder or zip of images, or Tiny ImageNet (its unlabelled test images).

    Raises:
        StudyError: there is no ensemble yet.
        CheckpointError: a member's checkpoint is not to be had.
        StudyError, DataError: a member's scores on validation are not to be had, and the study's
            rule of combination needs them; without need they only calibrate.
        DataError: there are no images, or one cannot be decoded.
    """
    now = Snapshot.of(study)
    if now.ensemble is None:
        raise StudyError(no_ensemble(now))
    if (outdated := outdated_ensemble(now)) is not None:
        log.warning("%s", outdated)
    members = [TrialRef(study, study.ensemble, trial) for trial in combined_members(now)]
    outputs = []
    for member in members:
        folder, recipe = bring(member, CHECKPOINT), trainer.resolve(member.run.recipe)
        try:
            outputs.append(trainer.predict(recipe, folder, images))
        except CheckpointError as error:
            raise CheckpointError(
                f"{folder} has no good checkpoint of epoch {recipe.epochs} of this recipe; "
                f"{how_to_bring_back(member)}"
            ) from error
    how = now.ensemble.how
    validation = _validation_scores(
        members, trainer, needed=COMBINATIONS.entry(how).uses_validation
    )
    unlabelled = [Scores(o.logits, np.zeros(len(o.names), np.int64)) for o in outputs]
    judge = study.judge(members[0].run.recipe)
    scores, weights = trainer.combine(how, validation, unlabelled, judge)
    means = mean_log_probabilities([o.logits for o in outputs], weights)
    temperature = 1.0
    if validation:
        of_validation = mean_log_probabilities([one.logits for one in validation], weights)
        temperature = fitted_temperature(of_validation, validation[0].labels)
    return Predicted(
        names=outputs[0].names,
        classes=outputs[0].classes,
        chosen=scores.logits.argmax(axis=1).astype(np.int64),
        probabilities=np.exp(tempered(means, temperature)),
        calibrated_on=len(validation[0].labels) if validation else 0,
        temperature=temperature,
    )


def _validation_scores(members: Sequence[TrialRef], trainer: Trainer, needed: bool) -> list[Scores]:
    """Each member's scores on validation; empty if they are not to be had and not needed."""
    try:
        return [read_scores(member, "validation", trainer) for member in members]
    except (StudyError, TrainerError) as error:
        if needed:
            raise
        log.warning("the probabilities are not calibrated, for want of validation: %s", error)
        return []


def predictions_text(predicted: Predicted, server_file: bool, raw: bool = False) -> str:
    """CSV with the image, its class by the study's rule and the probability of that class.

    Args:
        server_file: write "NAME CLASS" lines instead, as Tiny ImageNet's test server takes them.
        raw: leave cells as they are that a spreadsheet would take for formulas.

    Raises:
        UserError: a name has an end of line in it, and would make two lines of ``server_file``.
    """
    labels = [predicted.classes[i] for i in predicted.chosen]
    if server_file:
        names = [Path(name).name for name in predicted.names]
        for name in (*names, *predicted.classes):
            if len(name.splitlines()) != 1:
                raise UserError(
                    f"{name!r} has an end of line in its name, which a line of the server's file "
                    "cannot hold; rename it, or write CSV"
                )
        return "".join(f"{name} {label}\n" for name, label in zip(names, labels, strict=True))
    shares = predicted.probabilities[np.arange(len(labels)), predicted.chosen]
    lines = [csv_line(("image", "class", "probability"))]
    for name, label, share in zip(predicted.names, labels, shares, strict=True):
        lines.append(csv_line((name, label, f"{share:.4f}"), raw))
    return "".join(lines)
