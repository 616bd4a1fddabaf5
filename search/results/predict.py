"""The ensemble's predictions for images that nobody labelled: `tuneoff predict`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuneoff.search.errors import StudyError
from tuneoff.search.study.checkpoints import CHECKPOINT, bring, read_scores
from tuneoff.search.study.selection import combined_members
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import Scores, Trainer


@dataclass(frozen=True)
class Predicted:
    """Class probabilities of shape (images, classes), and what rows and columns are called."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]


def predict_images(study: Study, trainer: Trainer, images: Path) -> Predicted:
    """What the study's ensemble says about images.

    Args:
        images: an image, a folder or zip of images, or Tiny ImageNet (its unlabelled test images).

    Raises:
        StudyError: there is no ensemble yet, or a member's scores are not to be had.
        DataError: there are no images, or one cannot be decoded.
    """
    now = Snapshot.of(study)
    if now.ensemble is None:
        raise StudyError(f"study {study.name} has no ensemble yet; run `tuneoff promote` first")
    outputs, validation = [], []
    for member in (TrialRef(study, study.ensemble, trial) for trial in combined_members(now)):
        folder = bring(member, CHECKPOINT)
        recipe = trainer.resolve(member.run.recipe)
        outputs.append(trainer.predict(recipe, folder, images))
        validation.append(read_scores(member, "validation"))
    unlabelled = [Scores(o.logits, np.zeros(len(o.names), np.int64)) for o in outputs]
    scores, _ = trainer.combine(now.ensemble.how, validation, unlabelled)
    return Predicted(outputs[0].names, outputs[0].classes, np.exp(scores.logits.astype(np.float64)))


def predictions_text(predicted: Predicted, server_file: bool) -> str:
    """CSV with the image, its likeliest class and that class's probability.

    With ``server_file``: "NAME CLASS" lines, as Tiny ImageNet's test server takes them.
    """
    best = predicted.probabilities.argmax(axis=1)
    labels = [predicted.classes[i] for i in best]
    if server_file:
        pairs = zip(predicted.names, labels, strict=True)
        return "".join(f"{Path(name).name} {label}\n" for name, label in pairs)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("image", "class", "probability"))
    for name, label, row in zip(predicted.names, labels, predicted.probabilities, strict=True):
        writer.writerow((name, label, f"{row.max():.4f}"))
    return out.getvalue()
