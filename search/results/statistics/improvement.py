"""How probable it is that an arm does better than another in a repeat to come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from tuneoff.search.results.statistics.levels import CONFIDENCE

MEANINGFUL: Final = 0.75
"""The probability from which Bouthillier et al. (2021) call an improvement meaningful."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """Probability of improvement with its interval, each from 0 to 1."""

    probability: float
    low: float
    high: float


def probability_of_improvement(
    differences: Sequence[float], level: float = CONFIDENCE
) -> Improvement | None:
    """P(arm better than baseline) in a repeat: the share of positive differences, ties count half.

    Bouthillier et al., Accounting for variance in machine learning benchmarks (MLSys 2021),
    section 5: an improvement is shown if the interval is above 0.5, and worth having if it reaches
    above ``MEANINGFUL``. They bootstrap the interval, which is a point where one arm wins all
    repeats, however few; here it is Wilson's score interval (1927) of a proportion,

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        differences: by paired repeat, positive where the arm is better.
        level: of the interval.

    Returns:
        None if there is no difference.
    """
    count = len(differences)
    if count == 0:
        return None
    p = sum(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences) / count
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return Improvement(p, max(0.0, centre - half), min(1.0, centre + half))
