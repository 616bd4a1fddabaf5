"""What comes of comparing the arms of a study, as plain records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tuneoff.metric import ERROR, Metric
from tuneoff.search.results.decision.look import Outcome
from tuneoff.search.results.plain import plain
from tuneoff.search.results.statistics.improvement import Improvement
from tuneoff.search.results.statistics.selection import SelectionGap

MarginFrom = Literal["declared", "noise between seeds", "none"]
Price = Literal["cheaper", "dearer", "never", "unclear"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What share of the baseline's budget the reference needs to be as good as all of it.

    The reference is as good from the point on at which its mean incumbent has the baseline's final
    mean validation error. Infinite is "not within its own budget".

    Attributes:
        share: of the epochs that the baseline spent.
        low, high: 95% interval of the share; None for a single repeat.
        epochs: share * baseline_epochs; infinite for "never".
        baseline_epochs: that the baseline spent, mean over the paired repeats.
        target: the baseline's final mean validation error, 0 to 1.
        baseline_seconds: of training that the baseline spent, mean over the paired repeats, in a
            study whose budget is in seconds: there ``share`` is of these, and ``epochs`` are as
            many as the baseline trained in that time. None where the budget is in epochs.
    """

    DERIVED: ClassVar = ("never", "price")
    NOT_FINITE: ClassVar = ("share", "low", "high", "epochs")

    share: float
    low: float | None
    high: float | None
    epochs: float
    baseline_epochs: float
    target: float
    baseline_seconds: float | None = None

    @property
    def currency(self) -> str:
        """What the share is of, in words."""
        return "epochs" if self.baseline_seconds is None else "training time"

    @property
    def never(self) -> bool:
        """True if the reference never got there; an infinite share is None in JSON."""
        return math.isinf(self.share)

    @property
    def price(self) -> Price:
        """What the interval says: it is all below 1, all above it, all infinite, or neither."""
        if self.low is None or self.high is None:
            return "unclear"
        if math.isinf(self.low):
            return "never"
        return "cheaper" if self.high < 1 else "dearer" if self.low > 1 else "unclear"


@dataclass(frozen=True, slots=True)
class Checks:
    """What stands beside the decision, and does not make it.

    Attributes:
        sign_flip, wilcoxon: two-sided, of the paired differences.
        sign_flip_holm, wilcoxon_holm: the same after Holm's correction over all baselines.
        equivalence: of two one-sided tests that the difference is not within the margin; None
            without a margin, or where the standard error is not known.
        bootstrap: interval of the mean difference that assumes no distribution (BCa), at the
            level of one pair, 0 to 1; None for a single pair.
    """

    sign_flip: float
    sign_flip_holm: float
    wilcoxon: float
    wilcoxon_holm: float
    equivalence: float | None
    bootstrap: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Pairing:
    """The reference against one baseline, in numbers; the two are paired by repeat.

    Errors and differences are 0 to 1. A difference is the baseline's error minus the reference's:
    positive means that the reference is better.

    Attributes:
        reference, baseline: names of the arms.
        measure: ``records.TEST``, ``records.FULL_VALIDATION`` or ``records.VALIDATION``.
        repeats: the paired repeats.
        unfinished: how many paired repeats are left out, as they are not finished yet.
        planned: how many repeats the study has.
        trainings: full trainings of each pick, the fewest and the most; 0 where none is measured.
        differences: one for each of ``repeats``, each a mean over the seeds of two picks.
        mean: of the differences.
        low, high: the interval that decides; None while nothing is known of the noise.
        confidence: probability that the intervals of all looks hold, 0 to 1: 1 - 0.05 / the number
            of baselines.
        level: of this look's interval taken alone; None if no look at so few repeats is allowed.
        looks: at how many numbers of repeats one may look; 1: once, when all are in.
        last: the most repeats that the looks allow.
        limit: the most repeats to which [compare] lets the study grow; None where not known.
        quality: of the reference's picks: "better", "worse", "equivalent" or "undecided".
        margin: the smallest difference that is of interest; None if there is none.
        margin_from: where it comes from.
        standard_error, degrees: of the mean; None and 0 where they are not known.
        repeats_sd: standard deviation between repeats that would be left with any number of seeds.
        seeds_sd: standard deviation between trainings of one configuration.
        same: repeats in which both arms recommend the same configuration.
        wins, ties, losses: repeats in which the reference is better, equal, worse.
        improvement: how probable it is that the reference is better in a repeat to come.
        checks: p-values.
        cost: None where there is no curve.
        more_repeats: how many more would decide with a power of 80% if the difference is what it
            seems; None if decided, or if no sensible number would.
    """

    reference: str
    baseline: str
    measure: str
    repeats: tuple[int, ...]
    unfinished: int
    planned: int
    trainings: tuple[int, int]
    differences: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    confidence: float
    level: float | None
    looks: int
    last: int
    limit: int | None
    quality: Outcome
    margin: float | None
    margin_from: MarginFrom
    standard_error: float | None
    degrees: float
    repeats_sd: float | None
    seeds_sd: float | None
    same: int
    wins: int
    ties: int
    losses: int
    improvement: Improvement | None
    checks: Checks
    cost: Cost | None
    more_repeats: int | None

    @property
    def decided(self) -> bool:
        """True unless the quality is undecided."""
        return self.quality != "undecided"

    @property
    def early(self) -> bool:
        """True if some of the study's repeats are not in yet."""
        return len(self.repeats) < self.planned


@dataclass(frozen=True, slots=True)
class PairwiseComparison(Pairing):
    """A pairing with its outcome in words.

    Attributes:
        sentence: the outcome, quality and cost, in plain words.
        key: what the numbers in it are.
        advice: what it would take to decide; empty where it is decided.
        notes: what a reader must know beside the outcome.
    """

    DERIVED: ClassVar = ("decided", "early")

    sentence: str
    key: str
    advice: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over its repeats. Errors are 0 to 1; None where there is nothing to measure.

    Attributes:
        arm: the arm's name.
        repeats: number of repeats that have a recommendation.
        states: number of trials by state, summed over repeats.
        spent, budget: epochs, summed over repeats; the budget is about what the time is enough
            for where it is in seconds.
        seconds: device seconds, summed over repeats.
        best_validation: the lowest validation error among the recommendations.
        mean_validation, sd_validation: over the repeats' recommendations, after their search
            runs.
        validation_errors: one for each repeat, in order.
        test_errors: one for each repeat, in order: the mean over the seeds of full training.
        mean_test, sd_test: over the repeats that have one.
        middle_validation, middle_test: interquartile means of the same, which one unlucky repeat
            does not move.
        gap: by how much the validation errors of the picks rise when they are trained anew with
            other seeds; None where full training is longer or shorter than a search run.
        overtuning: mean over repeats of the last incumbent's test error minus the least of all
            incumbents'; None where no repeat has two incumbents that were trained in full.
        budget_seconds: of training, summed over repeats; None where the budget is in epochs.
    """

    arm: str
    repeats: int
    states: Mapping[str, int]
    spent: int
    budget: int
    seconds: float
    best_validation: float | None
    mean_validation: float | None
    sd_validation: float | None
    validation_errors: tuple[float | None, ...]
    test_errors: tuple[float | None, ...]
    mean_test: float | None
    sd_test: float | None
    middle_validation: float | None = None
    middle_test: float | None = None
    gap: SelectionGap | None = None
    overtuning: float | None = None
    budget_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who is better, by how much, at what cost, and how sure we may be.

    Attributes:
        study: the study's name.
        reference: the arm that the others are compared with; None for a study with no arms.
        arms: one summary for each arm, in the study file's order.
        pairs: one for each baseline that shares a repeat with the reference; the hand-tuned arm
            first, then in the study file's order.
        verdict: the answer in plain words, about the first pair.
        decided: True if the first pair is.
        metric: what all errors are, and how they are stored; see ``StudyResults``.
    """

    study: str
    reference: str | None
    arms: tuple[ArmSummary, ...]
    pairs: tuple[PairwiseComparison, ...]
    verdict: str
    decided: bool
    metric: Metric = ERROR

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; keys are the attributes' names."""
        found: dict[str, Any] = plain(self)
        return found
