"""What error a configuration's next run is expected to have, given the noisy ones before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ATOMS = 256
"""Errors to which the distribution of true errors gives weight."""
ROUNDS = 100
"""Of the EM algorithm. More make the distribution less smooth, and the estimates hardly change."""
WINDOW = 40.0
"""Means that are more standard deviations than this above the lowest one stay as they are."""
CELLS = 16.0
"""Cells to a standard deviation, in which means count as equal while the distribution is fitted."""
PRIOR_RUNS = 1.0
"""How many degrees of freedom ``noise_variance`` gives to the noise of counting images."""
UNKNOWN = 0.1
"""Of values that are no shares: what stands for that noise, as a part of the distance from the
lowest mean to the median of all means. It makes estimates depend on no unit."""


def shrunk_means(runs: Sequence[Sequence[float]], images: int | None) -> list[float]:
    """For each configuration the expected error of its next run.

    The lowest of many noisy errors is lower than what its configuration is worth, the more so the
    fewer runs stand behind it. Let x_i be the mean of configuration i's n_i runs, with
    x_i ~ N(theta_i, s^2 / n_i) and theta_i ~ G. The estimate is the posterior mean

        E[theta_i | x_i] = sum_k g_k p_k phi(x_i; g_k, s^2 / n_i) / sum_k p_k phi(...)

    with G the nonparametric maximum-likelihood distribution (Kiefer and Wolfowitz 1956) on a grid
    of errors g with weights p, fitted by EM (Laird 1978); Jiang and Zhang 2009, "General maximum
    likelihood empirical Bayes estimation of normal means". A normal G, as in James and Stein's
    estimator, would not do: bad configurations, which every search has, make it so wide that
    nothing is shrunk.

    Args:
        runs: the errors of each configuration's runs; one run each at least.
        images: how many images an error, 0 to 1, was measured on; None: they are no shares.

    Returns:
        Errors, in the order of ``runs``. Nothing is shrunk where there is one configuration.
    """
    if not runs:
        return []
    means = np.array([_mean(errors) for errors in runs])
    counts = np.array([len(errors) for errors in runs], dtype=np.float64)
    variances = noise_variance(runs, images) / counts
    if not variances.max() > 0:  # no share, and all alike
        return [float(error) for error in means]
    near = means <= means.min() + WINDOW * np.sqrt(variances.max())
    shrunk = means.copy()
    shrunk[near] = _posterior_means(means[near], variances[near])
    return [float(error) for error in shrunk]


def noise_variance(runs: Sequence[Sequence[float]], images: int | None) -> float:
    """The variance of the errors of runs of one configuration.

    It is pooled over the configurations that were run several times, of which the worse half is
    left out: bad configurations are noisier, and the best ones are to be told apart. To that it
    adds, as ``PRIOR_RUNS`` degrees of freedom, the variance p (1 - p) / ``images`` of counting
    wrong ones among images at the lowest mean error p, so that there is a value where nothing was
    run twice and where two runs agree by chance (moderated variances; Smyth 2004).

    Args:
        runs, images: as in ``shrunk_means``.

    Returns:
        Above 0; without ``images``, 0 where all means are equal and nothing shows any noise.
    """
    means = [_mean(errors) for errors in runs]
    lowest = min(means)
    if images is None:
        counting = (UNKNOWN * (float(np.median(means)) - lowest)) ** 2
    else:
        rate = (lowest * images + 1) / (images + 2)  # Laplace's rule: never 0
        counting = rate * (1 - rate) / images
    repeated = sorted((errors for errors in runs if len(errors) > 1), key=_mean)
    better = repeated[: (len(repeated) + 1) // 2]
    squares = sum(float(np.var(errors)) * len(errors) for errors in better)
    freedom = sum(len(errors) - 1 for errors in better)
    return (PRIOR_RUNS * counting + squares) / (PRIOR_RUNS + freedom)


def _mean(errors: Sequence[float]) -> float:
    return sum(errors) / len(errors)  # NumPy's takes ten times as long for a single one


def _posterior_means(means: Floats, variances: Floats) -> Floats:
    grid = np.linspace(means.min(), means.max(), ATOMS)
    # Thousands of configurations have few different means: those of equal cells are fitted as one.
    width = np.sqrt(variances.min()) / CELLS
    cells = np.stack([np.round(means / width), variances])
    _, first, counts = np.unique(cells, axis=1, return_index=True, return_counts=True)
    likelihood = _likelihood(means[first], variances[first], grid)
    weights = np.full(ATOMS, 1 / ATOMS)
    for _ in range(ROUNDS):
        shares = likelihood * weights
        shares /= shares.sum(axis=1, keepdims=True)
        weights = counts @ shares / counts.sum()
    shares = _likelihood(means, variances, grid) * weights
    return np.asarray(shares @ grid / shares.sum(axis=1))


def _likelihood(means: Floats, variances: Floats, grid: Floats) -> Floats:
    """Of each mean at each error of the grid, up to a factor for each mean, (means, grid)."""
    logs = -((means[:, None] - grid) ** 2) / (2 * variances[:, None])
    # The grid reaches from the lowest to the highest mean, so that the nearest atom is near enough
    # for any mean; the factor keeps the others from all becoming 0.
    return np.asarray(np.exp(logs - logs.max(axis=1, keepdims=True)))
