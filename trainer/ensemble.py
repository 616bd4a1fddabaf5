"""Several models' scores combined into one: the paper's way and others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuneoff.trainer.contract import TOP_1, Judge, Scores
from tuneoff.trainer.registry import COMBINATIONS

Float = NDArray[np.float64]

GREEDY_ROUNDS = 50


def combine(
    how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
) -> tuple[Scores, tuple[float, ...]]:
    """The ensemble's log-probabilities on the test split, and each member's weight.

    Args:
        how: a name from COMBINATIONS.
        validation: each member's scores on the validation split; those combinations that give all
            members the same weight do not look at it.
        test: each member's scores on the test split, in the same order.
        judge: by what those combinations that look at ``validation`` choose weights.

    Returns:
        Scores whose logits are log-probabilities, and weights that add up to 1.

    Raises:
        ValueError: ``how`` is unknown, or the members do not score the same images.
        OwnCodeError: the judge's metric is a user's own, and fails or returns no finite number.
    """
    entry = COMBINATIONS.entry(how)
    labels = _same_labels(test)
    if entry.uses_validation:
        if len(validation) != len(test):
            raise ValueError(
                f"scores on validation are of {len(validation)} members and those on test of "
                f"{len(test)}; give both for each member"
            )
        _same_labels(validation)
    combined, weights = COMBINATIONS.load(how)(stack(test), validation, judge)
    smallest = np.finfo(np.float32).tiny
    logs = np.log(np.maximum(combined, smallest)).astype(np.float32)
    return Scores(logs, labels), tuple(float(weight) for weight in weights)


# The combinations. Each takes the members' probabilities on the images to predict, of shape
# (members, images, classes), their scores on validation, and the judge of weights. It returns the
# ensemble's probabilities, of shape (images, classes), and the members' weights, of shape
# (members,).


def by_paper(
    probabilities: Float, validation: Sequence[Scores], judge: Judge
) -> tuple[Float, Float]:
    """See ``paper``."""
    return paper(probabilities), _equal_weights(len(probabilities))


def by_mean(
    probabilities: Float, validation: Sequence[Scores], judge: Judge
) -> tuple[Float, Float]:
    """The mean of the members' probabilities."""
    return _weighted(probabilities, _equal_weights(len(probabilities)))


def by_vote(
    probabilities: Float, validation: Sequence[Scores], judge: Judge
) -> tuple[Float, Float]:
    """See ``vote``."""
    return vote(probabilities), _equal_weights(len(probabilities))


def by_value(
    probabilities: Float, validation: Sequence[Scores], judge: Judge
) -> tuple[Float, Float]:
    """The mean, the weights being those of ``value_weights``."""
    return _weighted(probabilities, value_weights(stack(validation), validation[0].labels, judge))


def by_greedy_selection(
    probabilities: Float, validation: Sequence[Scores], judge: Judge
) -> tuple[Float, Float]:
    """The mean, the weights being those of ``greedy_weights``."""
    return _weighted(probabilities, greedy_weights(stack(validation), validation[0].labels, judge))


def _equal_weights(members: int) -> Float:
    return np.full(members, 1 / members)


def _weighted(probabilities: Float, weights: Float) -> tuple[Float, Float]:
    return np.tensordot(weights, probabilities, axes=1), weights


# What they are made of.


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
    uniform (of ten classes none exceeds 0.232): its order is meaningful, its confidence is not.
    ``tuneoff predict`` shows the calibrated mean of o instead.

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


def value_weights(probabilities: Float, labels: NDArray[np.int64], judge: Judge = TOP_1) -> Float:
    """Weights in proportion to how much better a member is than the judge's ``worst``: by top-1
    error, to its accuracy. They are equal where none is better.

    Args:
        probabilities: on the validation split, shape (members, images, classes).
        labels: shape (images,).
    """
    better = np.array([max(0.0, judge.worst - judge.value(labels, one)) for one in probabilities])
    if not better.any():
        better = np.ones(len(probabilities))
    return np.asarray(better / better.sum())


def greedy_weights(probabilities: Float, labels: NDArray[np.int64], judge: Judge = TOP_1) -> Float:
    """Forward selection with replacement (Caruana et al. 2004, "Ensemble selection from
    libraries of models").

    Beginning with no member, it adds in each of ``GREEDY_ROUNDS`` rounds the member with which the
    mean has the lowest error, or value of the judge's metric; ties go to the lower cross entropy.
    The best of the ensembles that the rounds passed through is returned.

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
        losses = [_loss((total + member) / size, labels, judge) for member in probabilities]
        chosen = min(range(members), key=losses.__getitem__)
        total = total + probabilities[chosen]
        taken = taken + np.eye(members)[chosen]
        if losses[chosen] < best:
            best, best_taken = losses[chosen], taken
    return np.asarray(best_taken / best_taken.sum())


def _loss(mean: Float, labels: NDArray[np.int64], judge: Judge) -> tuple[float, float]:
    of_label = mean[np.arange(len(labels)), labels]
    entropy = float(-np.log(np.maximum(of_label, np.finfo(np.float64).tiny)).mean())
    return judge.value(labels, mean), entropy


def _same_labels(members: Sequence[Scores]) -> NDArray[np.int64]:
    if not members:
        raise ValueError("an ensemble needs at least one member")
    first = members[0]
    for number, member in enumerate(members):
        if member.logits.shape != first.logits.shape or (member.labels != first.labels).any():
            raise ValueError(f"members 0 and {number} do not score the same images")
    return first.labels
