"""One error as a straight line in another, with what deviates from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuneoff.search.replay.effects import Effects

SLOPE_SD = 0.25
"""Standard deviation of the prior of a slope, around 1."""


@dataclass(frozen=True)
class Line:
    """y = centre_y + slope (x - centre_x) + effects of the configuration and of the seed.

    The slope has a normal prior around 1. The configurations that a study trains in full are good
    ones, close together: by themselves they say little of a slope, and nothing of bad ones.
    """

    centre_x: float
    centre_y: float
    slope: float
    effects: Effects

    @classmethod
    def of(cls, points: Sequence[tuple[str, float, float]]) -> Line | None:
        """The posterior mean given points (key of the configuration, x, y); None without any.

        With residual variance s^2 of the line of slope 1 and prior variance r^2, the slope is
        1 + sum dx (dy - dx) / (sum dx^2 + s^2 / r^2), dx and dy from their means: ridge regression
        (Hastie, Tibshirani and Friedman 2009, eq. 3.44) of y - x.
        """
        if not points:
            return None
        x = np.array([point[1] for point in points])
        y = np.array([point[2] for point in points])
        dx, dy = x - x.mean(), y - y.mean()
        variance = float(np.var(dy - dx))
        weight = float(dx @ dx) + variance / SLOPE_SD**2
        slope = 1.0 + float(dx @ (dy - dx)) / weight if weight > 0 else 1.0
        deviations: dict[str, list[float]] = defaultdict(list)
        for (key, _, _), deviation in zip(points, dy - slope * dx, strict=True):
            deviations[key].append(float(deviation))
        return cls(float(x.mean()), float(y.mean()), slope, Effects.of(deviations))

    def draw(self, key: str, x: float, draw: int, what: str, seed: object) -> float:
        """A value at x of one training of a configuration, with both deviations.

        Args:
            draw: the number of the world.
            what: tells this line's deviations from those of others.
        """
        line = self.centre_y + self.slope * (x - self.centre_x)
        effects = self.effects
        return (
            line
            + effects.of_configuration(key, draw, what)
            + effects.of_training(key, draw, what, seed)
        )
