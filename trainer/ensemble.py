"""Several models' scores made one: the paper's way and its rivals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuneoff.trainer.contract import Scores
from tuneoff.trainer.recipe import COMBINATIONS

Float = NDArray[np.float64]

GREEDY_ROUNDS = 50


def combine(
    how: str, validation: Sequence[Scores], test: Sequence[Scores]
) -> tuple[Scores, tuple[float, ...]]:
    """The ensemble's log-probabilities on the test split, and each member's weight.

    * "paper": see ``paper``.
    * "mean": mean of the members' probabilities.
    * "vote": share of the members' votes; see ``vote``.
    * "weighted": mean weighted by each member's accuracy on the validation split.
    * "greedy": mean weighted by ``greedy_weights`` on the validation split.

    Args:
        how: a name from COMBINATIONS.
        validation: each member's scores on the validation split.
        test: each member's scores on the test split, in the same order.

    Returns:
        Scores whose logits are log-probabilities, and weights that add up to 1.

    Raises:
        ValueError: ``how`` is unknown, or the members do not score the same images.
    """
    if how not in COMBINATIONS:
        raise ValueError(f"how = {how!r} is unknown; choose one of: {', '.join(COMBINATIONS)}")
    labels = _same_labels(test)
    probabilities = stack(test)
    weights = np.full(len(test), 1 / len(test))
    if how in ("weighted", "greedy"):
        if len(validation) != len(test):
            raise ValueError(f"{len(validation)} members on validation, {len(test)} on test")
        known = _same_labels(validation)
        if how == "weighted":
            weights = accuracy_weights(validation)
        else:
            weights = greedy_weights(stack(validation), known)
    if how == "paper":
        combined = paper(probabilities)
    elif how == "vote":
        combined = vote(probabilities)
    else:
        combined = np.tensordot(weights, probabilities, axes=1)
    smallest = np.finfo(np.float32).tiny
    logs = np.log(np.maximum(combined, smallest)).astype(np.float32)
    return Scores(logs, labels), tuple(float(weight) for weight in weights)


def stack(members: Sequence[Scores]) -> Float:
    """The paper's eq. 1 for each member: o_ic = exp(s_ic) / sum over classes of exp(s_ic).

    Returns:
        Probabilities of shape (members, images, classes).
    """
    logits = np.stack([member.logits for member in members]).astype(np.float64)
    exponents = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=2, keepdims=True))


def paper(probabilities: Float) -> Float:
    """The paper's eq. 2: a second softmax, of the probabilities o_ic, marginalised over models.

    As printed, argmax over c of exp(o_i) / (sum over i of exp(o_i)) leaves open which i the
    numerator means, and summed over all i it is 1 for every class. The text says that scores are
    normalised over the classes and then marginalised "over the models via Softmax", figure 5
    that Softmax is applied again "to get final ensemble output". We therefore read one softmax
    over all pairs of model and class, summed over the models:

        P(y = c) = sum_i exp(o_ic) / sum_c' sum_i exp(o_ic')

    Its argmax is that of sum_i exp(o_ic). As exp is convex, one sure model outweighs several that
    are mildly for another class; where all are about equally sure it agrees with the plain mean.
    For one model it is that model's own argmax. o_ic lies in 0..1, so P is never far from
    uniform: its order is meaningful, its confidence is not.

    Args:
        probabilities: o, shape (members, images, classes).

    Returns:
        P of shape (images, classes).
    """
    summed = np.exp(probabilities).sum(axis=0)
    return np.asarray(summed / summed.sum(axis=1, keepdims=True))


def vote(probabilities: Float) -> Float:
    """Each class's share of the members' votes; a tie goes to the higher mean probability.

    Args:
        probabilities: shape (members, images, classes).

    Returns:
        Shape (images, classes); rows add up to 1.
    """
    classes = probabilities.shape[2]
    votes = np.eye(classes)[probabilities.argmax(axis=2)].mean(axis=0)
    # Less than half a vote, so that it decides nothing but ties.
    part = 1 / (2 * len(probabilities) + 1)
    return np.asarray((1 - part) * votes + part * probabilities.mean(axis=0))


def accuracy_weights(validation: Sequence[Scores]) -> Float:
    """Weights in proportion to accuracy; equal where no member gets anything right."""
    accuracies = np.array([1 - member.error for member in validation])
    if not accuracies.any():
        accuracies = np.ones(len(validation))
    return np.asarray(accuracies / accuracies.sum())


def greedy_weights(probabilities: Float, labels: NDArray[np.int64]) -> Float:
    """Forward selection with replacement (Caruana et al. 2004, "Ensemble selection from
    libraries of models").

    Starting empty, the member that most lowers the error of the mean is added, again and again;
    ties go to the lower cross entropy. The best of all these ensembles counts.

    Args:
        probabilities: on the validation split, shape (members, images, classes).
        labels: shape (images,).

    Returns:
        How often each member was taken, as weights that add up to 1, shape (members,).
    """
    members = len(probabilities)
    taken = np.zeros(members)
    total = np.zeros(probabilities.shape[1:])
    best, best_taken = (np.inf, np.inf), taken
    for size in range(1, GREEDY_ROUNDS + 1):
        losses = [_loss((total + member) / size, labels) for member in probabilities]
        chosen = min(range(members), key=losses.__getitem__)
        total = total + probabilities[chosen]
        taken = taken + np.eye(members)[chosen]
        if losses[chosen] < best:
            best, best_taken = losses[chosen], taken
    return np.asarray(best_taken / best_taken.sum())


def _loss(mean: Float, labels: NDArray[np.int64]) -> tuple[float, float]:
    error = float(np.mean(mean.argmax(axis=1) != labels))
    of_label = mean[np.arange(len(labels)), labels]
    return error, float(-np.log(np.maximum(of_label, np.finfo(np.float64).tiny)).mean())


def _same_labels(members: Sequence[Scores]) -> NDArray[np.int64]:
    if not members:
        raise ValueError("an ensemble needs at least one member")
    first = members[0]
    for number, member in enumerate(members):
        if member.logits.shape != first.logits.shape or (member.labels != first.labels).any():
            raise ValueError(f"members 0 and {number} do not score the same images")
    return first.labels
