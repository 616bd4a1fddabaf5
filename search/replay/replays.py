"""A study simulated several times, each time in another world: how often it says what."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tuneoff.search.replay.run import UNWATCHED, Watch, simulate
from tuneoff.search.replay.world import World
from tuneoff.search.results.anytime import cost_of
from tuneoff.search.results.decision.look import Outcome, PairLook, look
from tuneoff.search.results.decision.pairs import evidence_of
from tuneoff.search.results.decision.rule import standing_rule
from tuneoff.search.results.records import StudyResults
from tuneoff.search.spec.file import StudySpec
from tuneoff.trainer.contract import Task


@dataclass(frozen=True)
class PairOutcome:
    """What one simulation says of the reference and one baseline.

    Attributes:
        difference: baseline's error minus the reference's, -1 to 1; positive: the reference is
            better.
        low, high: its interval, on which the outcome rests; None if nothing is known.
        share: of the baseline's budget after which the reference was as good as all of it;
            infinite if it never was.
    """

    reference: str
    baseline: str
    outcome: Outcome
    difference: float
    low: float | None
    high: float | None
    share: float


@dataclass(frozen=True)
class Replay:
    """One simulation of a study.

    Attributes:
        seed: of the world and of the study.
        results: as a real study has them.
        repeats: at the end.
    """

    seed: int
    results: StudyResults
    pairs: tuple[PairOutcome, ...]

    @property
    def repeats(self) -> int:
        """How many there were in the end."""
        return self.results.repeats


@dataclass(frozen=True)
class PairSummary:
    """One pair over all simulations.

    Attributes:
        outcomes: how many simulations ended in each.
        difference: 10%, 50% and 90% quantile, -1 to 1.
        share: the same of the share of the baseline's budget; infinite for "never".
    """

    reference: str
    baseline: str
    outcomes: dict[Outcome, int]
    difference: tuple[float, float, float]
    share: tuple[float, float, float]


def replay(
    spec: StudySpec,
    task: Task,
    world: World,
    seconds: float = 0.0,
    watch: Watch = UNWATCHED,
) -> Replay:
    """Simulate a study once, and judge it as a real one is judged.

    Args:
        as ``run.simulate``.

    Raises:
        Stopped: as ``run.simulate``.
    """
    results = simulate(spec, task, world, seconds, watch)
    return Replay(spec.seed, results, outcomes_of(results, spec))


class Surrogate(Protocol):
    """What worlds are drawn from.

    Attributes:
        task: of the studies in them.
        seconds: that an epoch is said to take.
    """

    @property
    def task(self) -> Task: ...

    @property
    def seconds(self) -> float: ...

    def draw(self, seed: int) -> World:
        """A world; other seeds, other worlds."""


def replays(
    spec: StudySpec,
    surrogate: Surrogate,
    count: int,
    seed: int,
    watch: Watch = UNWATCHED,
) -> list[Replay]:
    """Simulate a study so many times; each has a world and seeds of its own.

    Args:
        spec: see ``settings.simulated``.
        seed: other seeds, other simulations.
    """
    made = []
    for number in range(count):
        mine = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        own = spec.model_copy(update={"seed": mine})
        world = surrogate.draw(mine)
        made.append(replay(own, surrogate.task, world, surrogate.seconds, watch))
    return made


def outcomes_of(results: StudyResults, spec: StudySpec) -> tuple[PairOutcome, ...]:
    """The outcome of each pair, by the interval that decides a real study."""
    rule = standing_rule(spec, results.repeats)
    return tuple(_outcome(results, pair) for pair in look(evidence_of(results), rule).pairs)


def _outcome(results: StudyResults, pair: PairLook) -> PairOutcome:
    evidence = pair.evidence
    low, high = pair.interval or (None, None)
    cost = cost_of(results, evidence.reference, evidence.baseline, evidence.repeats)
    share = math.inf if cost is None else cost.share
    names = evidence.reference, evidence.baseline
    return PairOutcome(*names, pair.outcome, pair.estimate.mean, low, high, share)


def summaries(found: Sequence[Replay]) -> tuple[PairSummary, ...]:
    """Each pair over all simulations."""
    pairs: dict[tuple[str, str], list[PairOutcome]] = {}
    for one in found:
        for pair in one.pairs:
            pairs.setdefault((pair.reference, pair.baseline), []).append(pair)
    return tuple(
        PairSummary(
            reference,
            baseline,
            dict(Counter(pair.outcome for pair in some)),
            quantiles([pair.difference for pair in some]),
            quantiles([pair.share for pair in some]),
        )
        for (reference, baseline), some in pairs.items()
    )


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """10%, 50% and 90%: values that there are, since some may be infinite."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), method="inverted_cdf")
    return float(low), float(middle), float(high)
