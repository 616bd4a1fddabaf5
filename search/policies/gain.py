"""How much lower the error of a search's best full run will probably get if it goes on.

The forecast knows how many full runs there were, what they cost, and their errors: not their order,
and no model is fitted. Its form follows from independent draws, and its constants from searches on
learning curves that it is not judged by: see ``benchmarks/stopping.py``, which also says what the
alternatives did.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from tuneoff.search.spec.registry import NO_PRUNER, PRUNERS, SAMPLERS

LEAST_RUNS: Final = 5
"""Full runs that are better than guessing before there is a forecast."""
RECORDS: Final = 1.1
"""Of a sampler that does not learn: how many improvements a search has, as a multiple of those of
independent draws with as much left to gain as there is spread."""
LEARNING: Final = 3.0
"""The same of a sampler that learns from its runs."""
SIZE: Final = 0.75
"""The mean of a gain where there is one, as a multiple of its scale."""
SELECTED: Final = 0.6
"""That is so much smaller in an arm that stops weak runs: its full runs are chosen ones."""
GROWTH: Final = 0.8
"""The power of the share of runs to come with which a gain grows."""
TAIL: Final = 4.0
"""The shape of the distribution of gains (Lomax); the smaller, the heavier is its tail."""


BETTER_THAN_GUESSING: Final = 0.95
"""A run whose error is a larger share of that of guessing than this has failed."""


@dataclass(frozen=True)
class Kind:
    """What a forecast must know of an arm.

    Attributes:
        learns: its sampler learns from its runs.
        selects: its sampler or pruner stops weak runs, or pauses them.
    """

    learns: bool
    selects: bool

    @classmethod
    def of(cls, sampler: str, pruner: str = NO_PRUNER) -> Self:
        """That of an arm with this sampler and pruner."""
        entry = SAMPLERS.entry(sampler)
        return cls(entry.learns, entry.stops_runs or PRUNERS.entry(pruner).stops_runs)


@dataclass(frozen=True)
class FullRuns:
    """The full runs of one search.

    Attributes:
        errors: of those that did not fail, in any order, 0 to 1.
        failed: how many diverged, or are no better than guessing.
        epochs: that the search has trained, all its runs together.
        share: False: errors are not shares but any numbers, of which zero is no bound.
    """

    errors: Sequence[float]
    failed: int
    epochs: int
    share: bool = True

    @classmethod
    def of(
        cls,
        errors: Sequence[float],
        diverged: int,
        epochs: int,
        chance_error: float,
        share: bool = True,
    ) -> Self:
        """Those that did not diverge have these errors.

        Runs that all guess lie close together, and say nothing of how good others may be.

        Args:
            chance_error: of guessing, 0 to 1, or any number where errors are not shares.
            share: whether they are.
        """
        most = BETTER_THAN_GUESSING * chance_error if share else chance_error
        better = [error for error in errors if error < most]
        return cls(better, diverged + len(errors) - len(better), epochs, share)

    @property
    def enough(self) -> bool:
        """True if a forecast can be made of them."""
        return len(self.errors) >= LEAST_RUNS and self.epochs > 0


@dataclass(frozen=True)
class Gain:
    """A forecast of by how much the lowest error falls: nothing, or so much.

    Attributes:
        none: the probability that it does not fall at all.
        size: the mean of the fall if there is one, as errors are stored.
    """

    none: float
    size: float

    @property
    def mean(self) -> float:
        """The expected fall, 0 to 1."""
        return (1.0 - self.none) * self.size

    def below(self, fall: float) -> float:
        """The probability that the error falls by no more than this."""
        if fall < 0:
            return 0.0
        if self.size <= 0:
            return 1.0
        scale = self.size * (TAIL - 1.0)
        return 1.0 - (1.0 - self.none) * math.pow(1.0 + fall / scale, -TAIL)

    def quantile(self, share: float) -> float:
        """The fall that is not exceeded with this probability, from 0 to below 1."""
        if share <= self.none or self.size <= 0:
            return 0.0
        left = (1.0 - share) / (1.0 - self.none)
        return self.size * (TAIL - 1.0) * (math.pow(left, -1.0 / TAIL) - 1.0)


def forecast(runs: FullRuns, ahead: int, kind: Kind) -> Gain:
    """What a search gains if it is trained for so many more epochs.

    Of k further independent draws after n none is the best with probability n / (n + k). Here that
    is raised to a power: higher for a sampler that learns, and lower where the best error is
    already small against the median. The scale of a gain is the geometric mean of the best error,
    which bounds it, and of the distance from there to the median. Gains have a Lomax distribution:
    exponential with an uncertain scale. Where errors are not shares, no bound is known: the scale
    is the distance from the best to the median, and a forecast is the same whatever is added to
    all errors.

    Args:
        runs: at least ``LEAST_RUNS`` that did not fail.
        ahead: epochs.
        kind: of the arm.

    Raises:
        ValueError: there are too few runs.
    """
    if not runs.enough:
        raise ValueError(f"{len(runs.errors)} full runs are too few for a forecast")
    count = len(runs.errors) + runs.failed
    best, median = min(runs.errors), statistics.median(runs.errors)
    further = ahead * count / runs.epochs
    power = LEARNING if kind.learns else RECORDS
    size = SIZE * (SELECTED if kind.selects else 1.0)
    if not runs.share:
        size *= (median - best) * (further / (count + further)) ** GROWTH
        return Gain((count / (count + further)) ** power, size)
    if best <= 0:
        return Gain(1.0, 0.0)
    power *= math.sqrt(best / median)
    size *= math.sqrt((median - best) * best) * (further / (count + further)) ** GROWTH
    return Gain((count / (count + further)) ** power, size)
