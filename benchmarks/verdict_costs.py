"""Tables of verdict_calibration.py: repeats that an answer takes, and what is said beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr
from verdict_tally import FIRST, LAST, REPEATS, declared, percent, tally
from verdict_worlds import Simulated, World, simulate, simulate_curves

from tuneoff.search.results.decision.look import outcome_of
from tuneoff.search.results.statistics.curves import budget_share
from tuneoff.search.results.statistics.forecast import expected_course, forecast
from tuneoff.search.results.statistics.levels import ALPHA, Floats
from tuneoff.search.results.statistics.power import repeats_to_decide
from tuneoff.search.results.statistics.sequential import (
    Looks,
    looks,
    spending_bounds,
    student_factor,
)

FORECAST_PATHS = 400  # of each forecast; many are averaged


def power(simulations: int) -> Iterator[list[str]]:
    """Repeats planned for a power of 80%, and how many comparisons they decide, in percent."""
    yield ["true difference / sd", "margin / sd", "planned repeats", "decided"]
    world = World()
    for difference, margin in [(0.5, None), (0.8, None), (1.2, None), (0.0, 0.5), (0.0, 0.8),
                               (0.3, 0.8), (0.0, 1.2), (1.0, 0.8)]:  # fmt: skip
        planned = repeats_to_decide(difference, 1.0, margin)
        assert planned is not None
        wide = None if margin is None else margin * world.sd
        found = tally(world, difference * world.sd, (planned, planned), simulations, declared(wide))
        shown = "none" if margin is None else f"{margin:g}"
        decided = percent(1 - found.share("undecided"))
        yield [f"{difference:g}", shown, str(planned), decided]


def sequential_cost(simulations: int) -> Iterator[list[str]]:
    """Mean repeats until decided; then decided in percent, and by 20 repeats without looking."""
    differences = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    yield ["margin / sd", *(f"{d:g}" for d in differences)]
    world = World()
    for margin in (0.5, 0.8, 1.2):
        cells = []
        for difference in differences:
            wide = margin * world.sd
            both = [
                tally(world, difference * world.sd, span, simulations, declared(wide))
                for span in ((FIRST, LAST), (LAST, LAST))
            ]
            shares = [percent(1 - one.share("undecided")) for one in both]
            cells.append(f"{both[0].repeats:.1f}; {shares[0]} / {shares[1]}")
        yield [f"{margin:g}", *cells]


def spending(simulations: int) -> Iterator[list[str]]:
    """Mean repeats until decided, and decided in percent, by how the error is spent."""
    differences = (0.0, 0.25, 0.5, 1.0, 2.0)
    yield ["spending; margin / sd 0.8; true difference / sd", *(f"{d:g}" for d in differences)]
    repeats = tuple(range(FIRST, LAST + 1))
    t = np.array(repeats) / LAST
    normal = NormalDist()
    ways: dict[str, Floats] = {
        "like Pocock": np.log(1 + (np.e - 1) * t),
        "t": t,
        "t^1.5": t**1.5,
        "t^2 (used)": t**2,
        "t^3": t**3,
        "like O'Brien, Fleming": np.array(
            [4 * normal.cdf(normal.inv_cdf(ALPHA / 4) / np.sqrt(x)) / ALPHA for x in t]
        ),
    }
    for name, share in ways.items():
        tails = 2 * ndtr(-spending_bounds(t, ALPHA * share))
        factor = student_factor(repeats, tails, ALPHA)
        plan = Looks(ALPHA, repeats, tuple((factor * tails).tolist()))
        cells = []
        for difference in differences:
            end = expected_course(difference, 1.0, plan, 0.8, paths=10 * simulations)
            cells.append(f"{end.mean_repeats:.1f}; {percent(1 - end.undecided)}")
        yield [name, *cells]


def forecasts(simulations: int) -> Iterator[list[str]]:
    """Comparisons that 6 repeats leave open: what is forecast for the rest, and what comes."""
    yield [
        "true difference / sd",
        "forecast to be decided",
        "decided",
        "forecast repeats",
        "repeats",
    ]
    world, plan = World(), looks(FIRST, LAST)
    for name, spread, centre in [("0", 0, 0), ("0.5", 0, 0.5), ("1", 0, 1), ("normal", 1, 0)]:
        rng, seen = np.random.default_rng(0), []
        margin = 0.8 * world.sd
        for _ in range(simulations):
            difference = (centre + spread * rng.standard_normal()) * world.sd
            drawn = simulate(world, difference, LAST, rng)
            end = _end(drawn, plan, margin)
            if end == FIRST:
                continue
            expected = forecast(
                drawn.estimate(FIRST).differences, plan, margin, paths=FORECAST_PATHS
            )
            assert expected is not None
            seen.append(
                (1 - expected.undecided, end <= LAST, expected.mean_repeats, min(end, LAST))
            )
        shares = np.mean(seen, axis=0)
        cells = [percent(shares[0]), percent(shares[1]), f"{shares[2]:.1f}", f"{shares[3]:.1f}"]
        yield [name, *cells]


def _end(drawn: Simulated, plan: Looks, margin: float) -> int:
    """Repeats at which a comparison is decided; one past the last if it never is."""
    for count in plan.repeats:
        level = plan.level(count)
        assert level is not None
        if outcome_of(drawn.estimate(count).interval(level), margin) != "undecided":
            return count
    return plan.repeats[-1] + 1


def share_coverage(simulations: int) -> Iterator[list[str]]:
    """Intervals of the budget's share that hold the true share, in percent."""
    yield ["true share of the budget", *(f"{n} repeats" for n in REPEATS)]
    for speed in (4.0, 2.0, 1.2):
        cells = []
        rng = np.random.default_rng(0)
        truth = simulate_curves(speed, 20_000, rng).share()
        for n in REPEATS:
            held = 0
            for _ in range(simulations):
                drawn = simulate_curves(speed, n, rng)
                found = budget_share(drawn.arm, drawn.final, drawn.spent, drawn.budgets)
                assert found.low is not None
                assert found.high is not None
                held += found.low <= truth <= found.high
            cells.append(percent(held / simulations))
        yield [f"{truth:.2f}", *cells]
