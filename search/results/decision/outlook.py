"""What it will probably cost until the arms are decided, by simulation from what is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneoff.search.results.decision.look import Look, PairLook
from tuneoff.search.results.statistics.forecast import Shared, ends


@dataclass(frozen=True, slots=True)
class Range:
    """Median and 80% range: 10% and 90% quantile."""

    low: float
    median: float
    high: float

    def times(self, factor: float) -> Range:
        """The same in another unit."""
        return Range(self.low * factor, self.median * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a study that goes on until its arms are decided will probably end.

    Attributes:
        repeats: at the end, those that are there included.
        epochs: still to be trained.
        seconds: device seconds that these take at the speed so far; None while that is unknown.
        undecided: probability that it reaches the most repeats undecided.
        unfinished: how many repeats are open of which this does not know yet what comes of them.
    """

    repeats: Range
    epochs: Range
    seconds: Range | None
    undecided: float
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What things cost.

    Attributes:
        repeat: epochs of one more repeat of all arms, with full training of its picks.
        due: epochs that are still to be trained in the repeats that are open.
        seconds: device seconds of an epoch; None while none was trained.
    """

    repeat: float
    due: float
    seconds: float | None


def outlook(look: Look, repeats: int, price: Price) -> Outlook | None:
    """Simulated courses of all pairs, from the posterior of what is known.

    Each pair's course is that of ``statistics.forecast``; the study ends with the last of them.

    Args:
        look: at the repeats that are in.
        repeats: how many are open: no course ends before those are in.
        price: see ``Price``.

    Returns:
        None where nothing is known of a pair's noise, as with fewer than two repeats or where both
        arms have the same pick in all of them, or if no look is left.
    """
    courses = [_ends(pair, look) for pair in look.pairs]
    found = [ended for ended in courses if ended is not None]
    if not found or len(found) < len(courses):
        return None
    ended = np.maximum(np.max(found, axis=0), repeats)
    last = look.plan.repeats[-1]
    low, median, high = np.quantile(
        np.minimum(ended, last), [0.1, 0.5, 0.9], method="inverted_cdf"
    ).tolist()
    epochs = Range(*(price.due + (n - repeats) * price.repeat for n in (low, median, high)))
    return Outlook(
        repeats=Range(low, median, high),
        epochs=epochs,
        seconds=None if price.seconds is None else epochs.times(price.seconds),
        undecided=float(np.mean(ended > last)),
        unfinished=max(pair.evidence.unfinished for pair in look.pairs),
    )


def _ends(pair: PairLook, look: Look) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    estimate = pair.estimate
    if estimate.standard_error is None:
        return None
    own = (estimate.spread or 0.0) ** 2 / max(1, estimate.repeats)
    common = max(0.0, (estimate.standard_error or 0.0) ** 2 - own)
    shared = Shared(math.sqrt(common), max(1, estimate.seeds.degrees)) if common else None
    return ends(estimate.differences, look.plan, look.margin, shared)
