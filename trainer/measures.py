"""What a model's scores come to by a recipe's metric, which may be a user's own; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff import references
from tuneoff.messages import first_line
from tuneoff.trainer import own_code
from tuneoff.trainer.errors import DataError, ModelError, OwnCodeError
from tuneoff.trainer.registry import AS_IT_IS, METRICS, NEGATIVE, ONE_MINUS

if TYPE_CHECKING:
    from tuneoff.trainer.contract import Scores, Split
    from tuneoff.trainer.recipe import Recipe

Labels = NDArray[np.int64]
Float = NDArray[np.float64]

_ROUNDS = 4  # images of each class among those with which a reference is tried


# The metrics. Each takes the labels of a split's images, int64 of shape (images,), and the model's
# probabilities, float64 of shape (images, classes), whose rows add up to 1.


def error(labels: Labels, probabilities: Float) -> float:
    """Share of the images whose most probable class is not theirs, 0 to 1."""
    return float((probabilities.argmax(axis=1) != labels).mean())


def macro_error(labels: Labels, probabilities: Float) -> float:
    """Mean over the classes of the error among each class's images, 0 to 1.

    It is 1 minus the balanced accuracy (Brodersen et al. 2010). A class without images does not
    count.
    """
    wrong = probabilities.argmax(axis=1) != labels
    counts = np.bincount(labels)
    there = counts > 0
    return float((np.bincount(labels, weights=wrong)[there] / counts[there]).mean())


def log_loss(labels: Labels, probabilities: Float) -> float:
    """Mean of -ln of the probability of each image's class, nats; one below 2.2e-16 counts as that,
    as in scikit-learn."""
    of_label = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_label, np.finfo(np.float64).eps)).mean())


def auroc(labels: Labels, probabilities: Float) -> float:
    """Area under the receiver operating characteristic, 0 to 1; guessing has 0.5.

    With more than two classes it is the mean over the classes of that of each one against the rest
    (scikit-learn's ``multi_class="ovr", average="macro"``). Every class needs images.
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import, and is rarely wanted

    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    every = labels[:, None] == np.arange(probabilities.shape[1])
    return float(
        np.mean([roc_auc_score(*pair) for pair in zip(every.T, probabilities.T, strict=True)])
    )


# What a recipe makes of them.


def measured(recipe: Recipe, scores: Scores) -> float:
    """What scores come to by a recipe's metric, as it is stored: lower is better.

    Raises:
        OwnCodeError: the metric is a user's own, and fails or returns no finite number.
    """
    if scores.value is not None:
        return scores.value
    if recipe.metric == "error":
        return scores.error
    return of_probabilities(recipe, scores.labels, softmax(scores))


def of_probabilities(recipe: Recipe, labels: Labels, probabilities: Float) -> float:
    """As ``measured``, of probabilities of shape (images, classes)."""
    return _stored(recipe, _value(recipe.metric, labels, probabilities))


def softmax(scores: Scores) -> Float:
    """Softmax of a model's scores, float64 of shape (images, classes)."""
    logits = scores.logits.astype(np.float64)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Float = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def check(recipe: Recipe, classes: tuple[str, ...], labels: Mapping[Split, Labels]) -> float | None:
    """Make sure that a recipe's metric can be had of these splits.

    A user's own is tried on a few made-up probabilities.

    Args:
        classes: names of the classes.
        labels: of the images of each split, by its name.

    Returns:
        What guessing comes to, as it is stored; None for the top-1 error of guessing.

    Raises:
        DataError: a split has no image of some class, and the metric needs one of each.
        ModelError: the reference names no function, or one that nobody allowed this process to
            run, that fails or that returns no number.
    """
    if references.is_reference(recipe.metric):
        every = np.tile(np.arange(len(classes)), _ROUNDS)
        drawn = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(every))
        try:
            _value(recipe.metric, every, drawn)
        except OwnCodeError as error:
            raise ModelError(str(error)) from error
        return 1.0
    entry = METRICS.entry(recipe.metric)
    for split in ("validation", "test"):
        there = labels[split]
        if entry.needs_every_class and len(there) and len(found := np.unique(there)) < len(classes):
            gone = classes[int(np.setdiff1d(np.arange(len(classes)), found)[0])]
            raise DataError(
                f'metric = "{recipe.metric}" needs images of every class, and the {split} split '
                f'has none of "{gone}"; add some, or choose another metric'
            )
    chance = entry.chance(len(classes))
    return None if chance is None else _stored(recipe, chance)


def _stored(recipe: Recipe, value: float) -> float:
    how = recipe.metric_as
    if how == "auto" and recipe.metric in METRICS:
        how = NEGATIVE if METRICS.entry(recipe.metric).metric.maximised else AS_IT_IS
    return {NEGATIVE: 0.0 - value, ONE_MINUS: 1.0 - value}.get(how, value)


def _value(metric: str, labels: Labels, probabilities: Float) -> float:
    if not references.is_reference(metric):
        return float(METRICS.load(metric)(labels, probabilities))
    said = f'metric = "{metric}"'
    function = own_code.load(metric, "metric", OwnCodeError)
    if not callable(function):
        raise OwnCodeError(
            f"{said} is no function but {type(function).__name__}; give one that takes labels and "
            "probabilities and returns a number"
        )
    try:
        # Copies, so that a function that changes what it is given changes nothing of ours.
        found = function(labels.copy(), probabilities.copy())
    except Exception as error:
        raise OwnCodeError(
            f"{said} failed on {len(labels):,} labels and probabilities of {len(labels):,} x "
            f"{probabilities.shape[1]:,}: {first_line(error)}"
        ) from error
    return _number(found, said)


def _number(found: Any, said: str) -> float:
    """A number that a user's function returned (OwnCodeError for anything else)."""
    shape = getattr(found, "shape", ())
    try:
        if isinstance(found, str | bytes) or tuple(shape) != ():
            raise TypeError
        number = float(found)
    except (TypeError, ValueError, RuntimeError):
        what = f"of shape {tuple(shape)}" if tuple(shape) else repr(found)[:40]
        raise OwnCodeError(
            f"{said} returned {type(found).__name__} {what}; return a single number"
        ) from None
    if not math.isfinite(number):
        raise OwnCodeError(f"{said} returned {number}; return a finite number")
    return number
