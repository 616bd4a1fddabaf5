"""How often each configuration stands in a mean difference, and what its noise does there."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Shares:
    """How the noise of seeds enters, in units of sigma^2; symbols as in ``paired_estimate``.

    Attributes:
        count: paired repeats R.
        total: w_c^2 / n_c by configuration; their sum is V.
        missed: by configuration, what S^2 / R misses of that, sum_(r != s) x_rc x_sc / n_c
            / (R (R - 1)); their sum is K.
        within: (T - R V) / (R - 1), in the mean of S^2.
        shared: configurations that several repeats pick.
    """

    count: int
    total: dict[Hashable, float]
    missed: dict[Hashable, float]
    within: float
    shared: frozenset[Hashable]


def shares_of(picks: Sequence[tuple[Key, Key]], trainings: Mapping[Key, int]) -> Shares:
    """The shares of a pair of arms.

    Args:
        picks: for each paired repeat, what the arm and what the baseline recommends.
        trainings: of each of these configurations, n_c.
    """
    count = len(picks)
    net: dict[Hashable, int] = defaultdict(int)  # R w_c
    often: dict[Hashable, int] = defaultdict(int)
    for ours, theirs in picks:
        for key, sign in ((theirs, 1), (ours, -1)):
            net[key] += sign
            often[key] += ours != theirs
    numbers: dict[Hashable, int] = {key: trainings[key] for pair in picks for key in pair}
    total = {key: w * w / numbers[key] / count**2 for key, w in net.items()}
    missed = {
        key: (w * w - often[key]) / numbers[key] / (count * (count - 1) or 1)
        for key, w in net.items()
    }
    single = math.fsum(often[key] / numbers[key] for key in net)
    within = max(0.0, (single - count * math.fsum(total.values())) / (count - 1 or 1))
    shared = frozenset(key for key, times in often.items() if times > 1)
    return Shares(count, total, missed, within, shared)
