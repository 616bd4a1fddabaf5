"""Many simulated comparisons, judged as a study's are, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from verdict_worlds import World, simulate

from tuneoff.search.results.decision.look import outcome_of
from tuneoff.search.results.statistics.levels import ALPHA
from tuneoff.search.results.statistics.paired import PairedEstimate
from tuneoff.search.results.statistics.sequential import looks

FIRST, LAST = 6, 20  # looks until decided
REPEATS = (6, 8, 20)  # of fixed designs

Margin = Callable[[PairedEstimate], float | None]


def from_seeds(estimate: PairedEstimate) -> float | None:
    """The default: the noise between seeds, as far as it is known."""
    return estimate.seeds.sd


def declared(margin: float | None) -> Margin:
    """As the study file says."""
    return lambda _: margin


@dataclass(frozen=True)
class Tally:
    """What many simulated comparisons came to.

    Attributes:
        outcomes: share of each outcome.
        covered: share of the intervals that hold the true difference; NaN if there is none.
        repeats: mean number of repeats.
    """

    outcomes: Counter[str]
    simulations: int
    covered: float
    repeats: float

    def share(self, *outcomes: str) -> float:
        """Share of these outcomes together."""
        return sum(self.outcomes[one] for one in outcomes) / self.simulations


def tally(
    world: World,
    difference: float,
    repeats: tuple[int, int],
    simulations: int,
    margin: Margin | None = None,
    alpha: float = ALPHA,
) -> Tally:
    """Judge simulated comparisons at ``repeats``, or until decided between the first and the last.

    Args:
        world, difference: see ``simulate``.
        repeats: of the first and the last look; if they are equal, there is one.
        simulations: how many; their seed is fixed.
        margin: what each estimate takes as smallest interesting difference; None: nothing, so that
            nothing is called equivalent.
        alpha: 1 - the level.
    """
    plan, rng = looks(*repeats, alpha), np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    covered, spent = [], 0
    for _ in range(simulations):
        drawn = simulate(world, difference, repeats[1], rng)
        for count in plan.repeats:
            estimate = drawn.estimate(count)
            level = plan.level(count)
            interval = None if level is None else estimate.interval(level)
            outcome = outcome_of(interval, margin(estimate) if margin else None)
            if outcome != "undecided":
                break
        outcomes[outcome] += 1
        spent += count
        if interval is not None:
            covered.append(interval[0] <= difference <= interval[1])
    share = float(np.mean(covered)) if covered else float("nan")
    return Tally(outcomes, simulations, share, spent / simulations)


def percent(share: float) -> str:
    """A share as text: "4.7"."""
    return f"{100 * share:.1f}"
