"""Simulated comparisons of two arms whose true difference is known, for verdict_calibration.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.records import ArmRun, Recommendation, StudyResults
from tuneoff.search.results.statistics.levels import Floats
from tuneoff.search.results.statistics.paired import PairedEstimate, paired_estimate

Pick = tuple[str, int]
Standard = Callable[[np.random.Generator, int], Floats]  # numbers of mean 0 and variance 1

ARMS = ("bayes", "hand")  # the arm and its baseline
CANDIDATES = 5  # that both arms pick from where picks are "few"
NOISES: dict[str, Standard] = {
    "normal": lambda rng, count: rng.standard_normal(count),
    "skewed": lambda rng, count: rng.exponential(size=count) - 1,
    "heavy-tailed": lambda rng, count: rng.standard_t(3, size=count) / np.sqrt(3),
}


@dataclass(frozen=True)
class World:
    """How two arms' picks come about.

    Attributes:
        shared: probability that both arms pick the same in a repeat ("own" only); what differs
            elsewhere is larger by so much that the mean difference is as told.
        picks: "own": every repeat of an arm picks a configuration of its own. "one": the baseline
            picks the same one in all repeats, as a written list mostly does. "mostly one": in five
            of six. "one each": so does the arm. "few": both pick at random from ``CANDIDATES``.
        noise: name of the distribution of both parts, "normal", "skewed" or "heavy-tailed".
        between: standard deviation between repeats of the true difference.
        within: standard deviation between seeds of a configuration.
        seeds: trainings of a pick, in turn.
        growing: True: the baseline's first pick has as many trainings as there are repeats, as a
            study has that adds seeds while it goes on.
        louder: factor of ``within`` for the baseline's configurations.
    """

    picks: Literal["own", "one", "mostly one", "one each", "few"] = "own"
    noise: str = "normal"
    between: float = 1.0
    within: float = 1.0
    seeds: tuple[int, ...] = (3,)
    louder: float = 1.0
    growing: bool = False
    shared: float = 0.0

    @property
    def sd(self) -> float:
        """Of one repeat's difference, where every pick has the first number of seeds."""
        return float(np.sqrt(self.between**2 + self.within**2 * 2 / self.seeds[0]))


@dataclass(frozen=True)
class Simulated:
    """One comparison: what both arms picked, and the errors of all trainings."""

    picks: list[tuple[Pick, Pick]]
    errors: dict[Pick, list[float]]

    def estimate(self, repeats: int) -> PairedEstimate:
        """What is seen after so many repeats, when no pick has more trainings than that."""
        picks = self.picks[:repeats]
        seen = {key for pair in picks for key in pair}
        return paired_estimate(picks, {key: self.errors[key][:repeats] for key in seen})

    def against(self, other: Simulated, index: int) -> Simulated:
        """The same arm against another's baseline."""
        renamed: dict[Pick, list[float]] = {
            (f"b{index}", at): errors for (name, at), errors in other.errors.items() if name == "b"
        }
        ours = {key: errors for key, errors in self.errors.items() if key[0] == "a"}
        pairs = zip(self.picks, other.picks, strict=True)
        picks = [(a, (f"b{index}", b[1])) for (a, _), (_, b) in pairs]
        return Simulated(picks, ours | renamed)


def simulate(world: World, difference: float, repeats: int, rng: np.random.Generator) -> Simulated:
    """Draw a comparison; the arm is better by ``difference`` in the mean."""
    standard = NOISES[world.noise]
    shared = world.picks in ("one", "mostly one", "one each")
    wide = world.between if shared else world.between / np.sqrt(2)  # of each arm's own share
    ours = wide * standard(rng, repeats)
    theirs = difference + (0.0 if shared else wide * standard(rng, repeats))
    levels: dict[Pick, float]
    if world.picks == "few":
        drawn = rng.integers(0, CANDIDATES, size=(repeats, 2)).tolist()
        picks = [(("c", a), ("c", b)) for a, b in drawn]
        levels = {("c", c): x for c, x in enumerate(world.between * standard(rng, CANDIDATES))}
    elif world.picks == "one each":
        picks = [(("a", 0), ("b", 0))] * repeats
        levels = {("a", 0): 0.0, ("b", 0): difference}
    else:
        at = [
            r if world.picks == "own" else int(world.picks == "mostly one" and r % 6 == 5)
            for r in range(repeats)
        ]
        both = rng.random(repeats) < world.shared if world.shared else np.zeros(repeats, bool)
        picks = [(("b" if both[r] else "a", r), ("b", at[r])) for r in range(repeats)]
        ours = ours - difference * world.shared / (1 - world.shared)
        levels = {("a", r): x for r, x in enumerate(ours.tolist())}
        levels |= {("b", r): x for r, x in enumerate((theirs + np.zeros(repeats)).tolist())}
    used = sorted({key for pair in picks for key in pair})
    errors = {}
    for index, key in enumerate(used):
        wobble = world.within * (world.louder if key[0] == "b" else 1.0)
        grows = world.growing and key == ("b", 0)
        noise = wobble * standard(rng, repeats if grows else world.seeds[index % len(world.seeds)])
        errors[key] = (levels[key] + noise).tolist()
    return Simulated(picks, errors)


def results_of(drawn: Simulated, repeats: int, rule: Rule) -> StudyResults:
    """The records of a study that has come to this: errors about 30%, a noise of 1 point."""

    def run(arm: str, repeat: int, key: Pick) -> ArmRun:
        errors = tuple(0.3 + 0.01 * error for error in drawn.errors[key][:repeats])
        pick = Recommendation(0, {"pick": f"{key}"}, errors[0], errors, errors)
        return ArmRun(arm, repeat, 0, 0, 0.0, {"complete": 1}, (), pick)

    runs = [
        run(arm, repeat, key)
        for repeat, pair in enumerate(drawn.picks[:repeats])
        for arm, key in zip(ARMS, pair, strict=True)
    ]
    return StudyResults("simulated", ARMS, repeats, 1, 0.9, tuple(runs), rule=rule)


@dataclass(frozen=True)
class Curves:
    """Anytime curves of an arm, and where its baseline ended.

    Attributes:
        arm: shape (repeats, points).
        final: of the baseline. Shape (repeats,).
        spent: epochs at each point. Shape (points,).
        budgets: of the baseline. Shape (repeats,).
    """

    arm: Floats
    final: Floats
    spent: Floats
    budgets: Floats

    def share(self) -> float:
        """At which share of the baseline's budget the arm's mean curve reaches the mean end."""
        reached = self.arm.mean(axis=0) <= self.final.mean()
        first = self.spent[reached.argmax()] if reached.any() else np.inf
        return float(first / self.budgets.mean())


def simulate_curves(speed: float, repeats: int, rng: np.random.Generator) -> Curves:
    """Curves that fall to a floor, each in steps at random points, as those of a search do.

    Args:
        speed: how many times as fast as the baseline the arm falls.
        repeats: how many of them.
        rng: source of randomness.
    """
    spent = np.arange(2.0, 202.0, 2.0)
    floor = 0.2 + 0.01 * rng.standard_normal((repeats, 2))
    pace = rng.gamma(4.0, 0.25, size=(repeats, 2))  # mean 1
    jumps = np.cumsum(rng.random((repeats, len(spent))) < 0.3, axis=1) / 0.3 * 2.0
    arm = floor[:, :1] + 0.3 * np.exp(-jumps * speed * pace[:, :1] / 60)
    final = floor[:, 1] + 0.3 * np.exp(-200 * pace[:, 1] / 60)
    return Curves(arm, final, spent, np.full(repeats, 200.0))
