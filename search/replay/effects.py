"""What is peculiar to one configuration, and what to one training of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

LEAST_PAIRS = 4
"""Degrees of freedom within configurations below which a variance between seeds means nothing."""


def normal(*words: object) -> float:
    """A standard normal number that is a function of these words alone.

    Equal words give equal numbers in every process; other words give an independent one.
    """
    return float(ndtri(uniform(*words)))


def uniform(*words: object) -> float:
    """A uniform number between 0 and 1 that is a function of these words alone, as ``normal``."""
    digest = hashlib.blake2b("\0".join(map(repr, words)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**64


@dataclass(frozen=True)
class Effects:
    """Deviations y_cs = b_c + e_cs of trainings s of configurations c, b and e normal.

    Attributes:
        between: variance of b, what another seed does not change.
        within: variance of e, between seeds.
        known: by configuration, the mean and the variance of b given its trainings.
        separated: False if too few configurations were trained twice to tell the two variances
            apart; then all is taken for noise between seeds.
    """

    between: float
    within: float
    known: Mapping[str, tuple[float, float]]
    separated: bool

    @classmethod
    def of(
        cls,
        deviations: Mapping[str, Sequence[float]],
        typical: Collection[str] | None = None,
    ) -> Effects:
        """Estimated by the analysis of variance of one random factor, unbalanced.

        With N deviations of C configurations, n_c of each, and N0 = (N - sum n_c^2 / N) / (C - 1):
        within = SSW / (N - C) and between = max(0, (SSB / (C - 1) - within) / N0) (Searle, Casella
        and McCulloch 1992, Variance Components, sec. 3.6). A configuration's own effect is the best
        linear predictor, mean_c * between / (between + within / n_c) (sec. 3.4).

        Args:
            deviations: by configuration, one for each training, from what was expected of it; of
                mean 0 over all.
            typical: the configurations that tell the variances; all, if None.
        """
        every_group = {key: np.asarray(some, float) for key, some in deviations.items() if some}
        groups = {k: y for k, y in every_group.items() if typical is None or k in typical}
        count, total = len(groups), sum(len(some) for some in groups.values())
        if total == 0:
            return cls(0.0, 0.0, {}, separated=False)
        every = np.concatenate(list(groups.values()))
        if total - count < LEAST_PAIRS or count < 2:
            return cls(0.0, float(np.mean(every**2)), {}, separated=False)
        means = {key: float(some.mean()) for key, some in groups.items()}
        inside = sum(float(((some - means[key]) ** 2).sum()) for key, some in groups.items())
        outside = sum(len(some) * (means[key] - every.mean()) ** 2 for key, some in groups.items())
        size = (total - sum(len(some) ** 2 for some in groups.values()) / total) / (count - 1)
        within = inside / (total - count)
        between = max(0.0, (float(outside) / (count - 1) - within) / size)
        known = {}
        for key, some in every_group.items():
            share = between / (between + within / len(some)) if between > 0 else 0.0
            known[key] = (share * float(some.mean()), between * (1.0 - share))
        return cls(between, within, known, separated=True)

    def of_configuration(self, key: str, *words: object) -> float:
        """A draw of b for a configuration: a function of the key and these words."""
        mean, variance = self.known.get(key, (0.0, self.between))
        return mean + math.sqrt(variance) * normal("configuration", key, *words)

    def of_training(self, key: str, *words: object) -> float:
        """A draw of e for one training of a configuration."""
        return math.sqrt(self.within) * normal("training", key, *words)
