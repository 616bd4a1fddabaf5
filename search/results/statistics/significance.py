"""P-values of paired differences, and their correction for several comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy.stats
from scipy.special import stdtr

from tuneoff.search.results.statistics.levels import SEED

ENUMERATED: Final = 20  # differences up to which all 2^n signs are tried
FLIPS: Final = 100_000  # signs tried beyond that, in whole series


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the given order (Holm, 1979): control the family-wise error rate.

    adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)), with p_(1) the smallest of m.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test (Wilcoxon, 1945); zero differences are dropped.

    Exact by enumeration up to 13 pairs, ties or not, because SciPy's normal approximation would
    call five pairs significant, which no exact test can: the smallest p is 2 / 2^n.
    """
    moved = [d for d in differences if d != 0]
    if not moved:
        return 1.0
    return float(scipy.stats.wilcoxon(moved).pvalue)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test of the mean (Fisher's randomization test, 1935).

    If the arms are alike, each difference could as well have had the other sign: p is the share of
    the 2^n signs with which the sum is as far from zero as it is, or farther. Up to ``ENUMERATED``
    differences all signs are tried; beyond, ``FLIPS`` random ones with a fixed seed, and
    p = (1 + as far) / (1 + tried), which is never too small (Phipson, Smyth, 2010). Zeros count
    as they are.
    """
    values = np.asarray([d for d in differences if d != 0], dtype=float)
    if values.size == 0:
        return 1.0
    found = abs(values.sum()) - 1e-9 * np.abs(values).max()  # sums of equal numbers are equal
    if values.size <= ENUMERATED:
        sums = np.array([values[0]])  # the other half of the signs mirrors these
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= found))
    generator = np.random.default_rng(SEED)
    far = 0
    for start in range(0, FLIPS, 10_000):
        signs = generator.integers(0, 2, size=(min(10_000, FLIPS - start), values.size)) * 2 - 1
        far += int(np.sum(np.abs(signs @ values) >= found))
    return (1 + far) / (1 + FLIPS)


def equivalence_p(mean: float, standard_error: float, degrees: float, margin: float) -> float:
    """P of two one-sided t tests that the true difference is not within -+ margin.

    The larger of P(T >= (mean + margin) / se) and P(T <= (mean - margin) / se) (Schuirmann, 1987).
    It is below alpha where the interval at level 1 - 2 alpha lies within the margin.

    Args:
        mean, standard_error, degrees: of the estimate.
        margin: smallest interesting difference, positive, in the same unit.
    """
    if standard_error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    below = stdtr(degrees, -(mean + margin) / standard_error)
    above = stdtr(degrees, (mean - margin) / standard_error)
    return float(max(below, above))
