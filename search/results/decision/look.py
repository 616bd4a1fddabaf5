"""One look at the evidence: which pairs of arms are decided, however often one has looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuneoff.search.results.decision.pairs import Evidence, PairEvidence
from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.statistics.levels import ALPHA
from tuneoff.search.results.statistics.paired import PairedEstimate, paired_estimate
from tuneoff.search.results.statistics.sequential import Looks, looks

Outcome = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True, slots=True)
class PairLook:
    """A pair at one look.

    Attributes:
        evidence: what was looked at.
        estimate: of the difference, 0 to 1; positive: the reference is better.
        plan: the looks that are allowed.
        level: of the interval; None before the first look.
        interval: of the same, which holds however often one has looked; None if nothing is known.
        outcome: of the reference.
    """

    evidence: PairEvidence
    estimate: PairedEstimate
    plan: Looks
    level: float | None
    interval: tuple[float, float] | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Look:
    """All pairs at one moment.

    Attributes:
        plan: the looks of each pair.
        margin: that was used, 0 to 1; None if there is none, so that no pair can be equivalent.
    """

    pairs: tuple[PairLook, ...]
    plan: Looks
    margin: float | None

    @property
    def undecided(self) -> tuple[PairLook, ...]:
        return tuple(pair for pair in self.pairs if pair.outcome == "undecided")


def look(evidence: Evidence, rule: Rule) -> Look:
    """Judge every pair at the repeated confidence interval of its number of repeats.

    The pairs share the error probability evenly (Bonferroni).
    """
    alpha = ALPHA / max(1, len(evidence.pairs))
    # Equal errors of all seeds are not a noise of 0: they are too coarsely counted to show it.
    margin = (evidence.noise.sd or None) if rule.margin is None else rule.margin
    found = tuple(_look(pair, evidence, rule, alpha, margin) for pair in evidence.pairs)
    return Look(found, looks(rule.first, rule.last, alpha), margin)


def _look(
    pair: PairEvidence, evidence: Evidence, rule: Rule, alpha: float, margin: float | None
) -> PairLook:
    estimate = paired_estimate(pair.picks, pair.errors, evidence.noise)
    plan = _plan(rule, len(pair.picks), alpha)
    level = plan.level(len(pair.picks))
    interval = None if level is None else estimate.interval(level)
    return PairLook(pair, estimate, plan, level, interval, outcome_of(interval, margin))


def _plan(rule: Rule, repeats: int, alpha: float) -> Looks:
    """The looks at a pair of so many repeats.

    Where one look was meant and it comes early, it is taken as one of looks at every repeat.
    """
    early = rule.first == rule.last and repeats < rule.first
    return looks(2 if early else rule.first, rule.last, alpha)


def outcome_of(interval: tuple[float, float] | None, margin: float | None) -> Outcome:
    """What an interval of the difference says; one within the margin is "equivalent" whatever its
    sign."""
    if interval is None:
        return "undecided"
    low, high = interval
    if margin is not None and -margin <= low and high <= margin:
        return "equivalent"
    return "better" if low > 0 else "worse" if high < 0 else "undecided"
