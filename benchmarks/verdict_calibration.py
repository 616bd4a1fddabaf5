"""How often the verdict is wrong, and what it costs: simulated comparisons of two arms.

Each table is made of comparisons whose true difference is known, judged by the estimator and the
intervals that judge a study. Errors are in units of the standard deviation between seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import click
import numpy as np
from threadpoolctl import threadpool_limits
from verdict_costs import forecasts, power, sequential_cost, share_coverage, spending
from verdict_tally import FIRST, LAST, REPEATS, Margin, declared, from_seeds, percent, tally
from verdict_worlds import NOISES, World, results_of, simulate

from tuneoff.search.results.compare import compare
from tuneoff.search.results.decision.look import look, outcome_of
from tuneoff.search.results.decision.pairs import evidence_of
from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.statistics.levels import ALPHA

WORLDS = {
    "own picks, 3 seeds": World(),
    "own picks, 3 seeds, repeats alike": World(between=0),
    "own picks, 1 seed": World(seeds=(1,)),
    "own picks, 1, 2 and 5 seeds": World(seeds=(1, 2, 5)),
    "baseline's pick always the same, 3 seeds": World("one"),
    "baseline's pick always the same, 1, 2 and 5 seeds": World("one", seeds=(1, 2, 5)),
    "baseline's pick always the same, a seed more with each repeat": World("one", growing=True),
    "baseline's pick always the same, 1 seed": World("one", seeds=(1,)),
    "baseline's pick mostly the same, 3 seeds": World("mostly one"),
    "each arm's pick always the same, 3 seeds": World("one each"),
    "both pick from five, 3 seeds": World("few"),
    "both pick from five alike ones, 3 seeds": World("few", between=0),
    "baseline's shared pick half as noisy": World("one", louder=0.5),
    "baseline's shared pick 1.5 times as noisy": World("one", louder=1.5),
    "baseline's shared pick twice as noisy": World("one", louder=2),
}


def false_alarms(simulations: int) -> Iterator[list[str]]:
    """An arm compared with itself: how often it is called better or worse, in percent."""
    yield ["arms alike", *(f"{n} repeats" for n in REPEATS), f"until decided, {FIRST} to {LAST}"]
    for name, world in WORLDS.items():
        cells = []
        for first, last in [*((n, n) for n in REPEATS), (FIRST, LAST)]:
            found = tally(world, 0.0, (first, last), simulations)
            cells.append(percent(found.share("better", "worse")))
        yield [name, *cells]


def through_compare(simulations: int) -> Iterator[list[str]]:
    """What ``compare`` says of whole studies that go on as ``judge`` has them go on, in percent."""
    outcomes = ("better", "worse", "equivalent", "undecided")
    yield ["true difference; margin; design", *outcomes, "repeats", "interval holds"]
    for difference, margin in [(0.0, None), (0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]:
        for first, last in [(8, 8), (FIRST, LAST)]:
            found, spent, held = Counter[str](), 0, 0
            rule = Rule(first, last, None if margin is None else 0.01 * margin)
            rng = np.random.default_rng(0)
            for _ in range(simulations):
                drawn = simulate(World(between=0.5), difference, last, rng)
                for count in range(first, last + 1):
                    results = results_of(drawn, count, rule)
                    if not look(evidence_of(results), rule).undecided:
                        break
                pair = compare(results).pairs[0]
                found[pair.quality] += 1
                spent += count
                if pair.low is not None and pair.high is not None:
                    held += pair.low <= 0.01 * difference <= pair.high
            shown = "from seeds" if margin is None else f"{margin:g}"
            design = f"{last} repeats" if first == last else f"until decided, {first} to {last}"
            shares = [percent(found[one] / simulations) for one in outcomes]
            mean = f"{spent / simulations:.1f}"
            yield [f"{difference:g}; {shown}; {design}", *shares, mean, percent(held / simulations)]


def coverage(simulations: int) -> Iterator[list[str]]:
    """Intervals that hold the true difference, in percent, after 6, 8 and 20 repeats."""
    yield ["true difference 1", *NOISES, f"normal, until decided, {FIRST} to {LAST}"]
    for name, world in WORLDS.items():
        if world.picks == "few":
            continue  # arms that pick at random from the same five are alike
        cells = []
        for noise in NOISES:
            noisy = replace(world, noise=noise)
            shares = [tally(noisy, 1.0, (n, n), simulations).covered for n in REPEATS]
            cells.append(" / ".join(map(percent, shares)))
        ended = tally(world, 1.0, (FIRST, LAST), simulations)
        yield [name, *cells, percent(ended.covered)]


def three_baselines(simulations: int) -> Iterator[list[str]]:
    """One arm against three baselines that are like it: any "better" or "worse", in percent."""
    yield ["pairs", *(f"{n} repeats" for n in REPEATS)]
    rng = np.random.default_rng(0)
    wrong = dict.fromkeys(REPEATS, 0)
    for _ in range(simulations):
        drawn = simulate(World(), 0.0, REPEATS[-1], rng)
        others = [simulate(World(), 0.0, REPEATS[-1], rng) for _ in range(2)]
        pairs = [drawn, *(drawn.against(other, index) for index, other in enumerate(others))]
        for n in REPEATS:
            intervals = [pair.estimate(n).interval(1 - ALPHA / 3) for pair in pairs]
            wrong[n] += any(outcome_of(one, None) != "undecided" for one in intervals)
    yield ["three, level 1 - 0.05 / 3", *(percent(wrong[n] / simulations) for n in REPEATS)]


def false_equivalence(simulations: int) -> Iterator[list[str]]:
    """A true difference of exactly the margin: how often it is called equivalent, in percent."""
    header = [*(f"{n} repeats" for n in REPEATS), f"until decided, {FIRST} to {LAST}"]
    yield ["margin, world", *header]
    worlds = {
        "own picks": World(between=0.5),
        "own picks, repeats alike": World(between=0),
        "baseline's pick always the same": World("one", between=0.5),
        "own picks, heavy-tailed": World(between=0.5, noise="heavy-tailed"),
        "own picks, skewed": World(between=0.5, noise="skewed"),
    }
    margins: dict[str, tuple[float, Margin]] = {
        "declared, 1": (1.0, declared(1.0)),
        "declared, 2": (2.0, declared(2.0)),
        "from seeds": (1.0, from_seeds),
    }
    for title, (true, margin) in margins.items():
        for name, world in worlds.items():
            cells = []
            for first, last in [*((n, n) for n in REPEATS), (FIRST, LAST)]:
                found = tally(world, true, (first, last), simulations, margin)
                cells.append(percent(found.share("equivalent")))
            yield [f"{title}; {name}", *cells]


def shared_picks(simulations: int) -> Iterator[list[str]]:
    """Shared picks between arms, true difference three margins: called equivalent, in percent."""
    designs = [*((n, n) for n in REPEATS), (FIRST, LAST)]
    header = [*(f"{n} repeats" for n in REPEATS), f"until decided, {FIRST} to {LAST}"]
    yield ["shared picks between arms, sd between repeats", *header]
    for between in (0.5, 3.0):
        for shared in (0.5, 0.7, 0.8, 0.9):
            world = World(between=between, shared=shared)
            found = [tally(world, 1.5, one, simulations, declared(0.5)) for one in designs]
            shares = [percent(one.share("equivalent")) for one in found]
            yield [f"in {100 * shared:.0f}% of repeats; {between:g}", *shares]


TABLES = {
    "false-alarms": false_alarms,
    "compare": through_compare,
    "coverage": coverage,
    "three-baselines": three_baselines,
    "false-equivalence": false_equivalence,
    "shared-picks": shared_picks,
    "power": power,
    "sequential-cost": sequential_cost,
    "spending": spending,
    "forecasts": forecasts,
    "share": share_coverage,
}


@click.command()
@click.option("--table", "names", multiple=True, type=click.Choice(list(TABLES)))
@click.option("--simulations", default=2000, show_default=True, help="of each cell")
def command(names: tuple[str, ...], simulations: int) -> None:
    """Print the tables, or those named, in Markdown."""
    with threadpool_limits(1):
        for name in names or TABLES:
            table = TABLES[name]
            click.echo(f"\n{(table.__doc__ or '').strip()} {simulations} simulations a cell.\n")
            rows = table(simulations)
            header = next(rows)
            click.echo(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}")
            for row in rows:
                click.echo(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    command()
