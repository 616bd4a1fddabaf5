"""How sure an ensemble is: the mean of its members' probabilities, calibrated on validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

Floats = NDArray[np.float64]

_LARGEST_LOG = 4.0  # of a temperature


def mean_log_probabilities(
    logits: Sequence[NDArray[np.float32]], weights: Sequence[float]
) -> Floats:
    """Logarithms of the weighted mean of the members' softmax probabilities.

    Args:
        logits: each member's, all of shape (images, classes).
        weights: of the members; they add up to 1.

    Returns:
        Shape (images, classes).
    """
    each = log_softmax(np.stack(logits).astype(np.float64), axis=2)
    return np.asarray(logsumexp(each, axis=0, b=np.asarray(weights)[:, None, None]))


def fitted_temperature(log_probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature T with which ``tempered`` fits the labels best.

    It minimises the cross entropy (Guo et al. 2017, "On calibration of modern neural networks"), of
    the members' mean rather than of each (pool, then calibrate; Rahaman and Thiery 2021). A
    standard normal prior on log T keeps it finite where no label contradicts, as in a small
    validation split without an error.

    Args:
        log_probabilities: shape (images, classes).
        labels: shape (images,).

    Returns:
        Above 1 where the probabilities are too sure, below 1 where they are not sure enough.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        fitted = tempered(log_probabilities, float(np.exp(log_temperature)))
        return float(-fitted[rows, labels].sum() + log_temperature**2 / 2)

    found = minimize_scalar(loss, bounds=(-_LARGEST_LOG, _LARGEST_LOG), method="bounded")
    return float(np.exp(found.x))


def tempered(log_probabilities: Floats, temperature: float) -> Floats:
    """Logarithms of p^(1/T), normalised over the classes; the order of the classes stays."""
    finite = np.maximum(log_probabilities, np.log(np.finfo(np.float64).tiny))
    return np.asarray(log_softmax(finite / temperature, axis=1))
