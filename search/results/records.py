"""What a study has come to, as plain records that results hand to comparison and report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

import numpy as np

TEST: Final = "test error"
VALIDATION: Final = "validation error"


@dataclass(frozen=True, slots=True)
class Step:
    """The end of one attempt at a trial, in order of time within its arm and repeat.

    Attributes:
        spent: epochs of the arm's budget spent up to and including this attempt.
        trial: the trial's number.
        epoch: the last epoch that the trial has reached.
        error: validation error at that epoch, 0 to 1; that of guessing if it diverged.
        full: True if that is the trial's last epoch (a full search run).
        diverged: True if training diverged in this attempt; ``full`` is False then.
    """

    spent: int
    trial: int
    epoch: int
    error: float
    full: bool
    diverged: bool = False


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The configuration that an arm recommends in one repeat.

    Attributes:
        trial: the trial's number in its study.
        params: the searched parameters.
        validation_error: at the end of its search run, 0 to 1; of guessing if it diverged.
        full_validation_error: after full training; None until that is done.
        test_error: after full training, on the test split; None until that is done.
    """

    trial: int
    params: Mapping[str, Any]
    validation_error: float
    full_validation_error: float | None = None
    test_error: float | None = None


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm in one repeat.

    Attributes:
        arm: the arm's name.
        repeat: 0-based; equal repeats of different arms are paired.
        budget: epochs that it may spend.
        spent: epochs that it has spent, pruned and lost attempts included.
        seconds: device seconds that it has spent.
        states: number of trials by state ("complete", "pruned", "diverged", "failed",
            "paused", "running", "waiting").
        steps: in order of time; empty before the first attempt ends.
        recommendation: None before the first run has come to its end.
    """

    arm: str
    repeat: int
    budget: int
    spent: int
    seconds: float
    states: Mapping[str, int]
    steps: tuple[Step, ...]
    recommendation: Recommendation | None


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """One trial of one arm, for the figures of learning curves and hyperparameters.

    Attributes:
        arm, repeat, number: which trial.
        state: "complete", "pruned", "diverged", "failed", "paused", "running" or "waiting".
        params: the searched parameters.
        errors: validation error, 0 to 1, by epoch, counted from 1.
    """

    arm: str
    repeat: int
    number: int
    state: str
    params: Mapping[str, Any]
    errors: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A configuration trained in full over several seeds.

    Attributes:
        params: the searched parameters.
        source: where it was found, "ARM/REPEAT#TRIAL".
        validation_errors: one for each seed, 0 to 1.
        test_errors: one for each seed, 0 to 1; empty where there is no test split.
    """

    params: Mapping[str, Any]
    source: str
    validation_errors: tuple[float, ...]
    test_errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the ensemble: errors 0 to 1, weight in the combination."""

    model: str
    validation_error: float
    test_error: float
    weight: float


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The combined models: how ("paper", "mean", ...), and its test error, 0 to 1."""

    how: str
    members: tuple[Member, ...]
    test_error: float


@dataclass(frozen=True, slots=True)
class StudyResults:
    """All that a study has come to, as far as it has come.

    Attributes:
        name: the study's name.
        arms: names in the study file's order.
        repeats: number of paired repeats.
        trial_epochs: epochs of one full search run.
        chance_error: top-1 error of guessing, 0 to 1.
        runs: one for each arm and repeat.
        confirmed: best first, by mean validation error.
        ensemble: None until all members are trained.
    """

    name: str
    arms: tuple[str, ...]
    repeats: int
    trial_epochs: int
    chance_error: float
    runs: tuple[ArmRun, ...]
    confirmed: tuple[Confirmed, ...] = ()
    ensemble: Ensemble | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """Epochs until the mean anytime curves first reach the baseline's final error.

    Both sides are timed to the same error, so epochs that the baseline spends after its last
    improvement do not count against it.

    Attributes:
        target: the baseline's final mean validation error, 0 to 1.
        baseline_epochs: when the baseline itself first had it.
        reference_epochs: when the reference first had it; None if it never did.
        ratio: baseline_epochs / reference_epochs; above 1 the reference is faster.
    """

    target: float
    baseline_epochs: int
    reference_epochs: int | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over its repeats. Errors are 0 to 1; None where there is nothing to measure.

    Attributes:
        arm: the arm's name.
        repeats: number of repeats that have a recommendation.
        states: number of trials by state, summed over repeats.
        spent, budget: epochs, summed over repeats.
        seconds: device seconds, summed over repeats.
        best_validation: the lowest validation error among the recommendations.
        mean_validation, sd_validation: over the repeats' recommendations, after their search
            runs.
        validation_errors: one for each repeat, in order.
        test_errors: one for each repeat, in order.
        mean_test, sd_test: over the repeats that have one.
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


@dataclass(frozen=True, slots=True)
class PairedErrors:
    """The errors of the reference and one baseline, paired by repeat, before any statistics.

    Attributes:
        baseline: the baseline's name.
        measure: ``TEST`` or ``VALIDATION``.
        repeats: the paired repeats.
        reference_errors, baseline_errors: one for each of ``repeats``, 0 to 1.
    """

    baseline: str
    measure: str
    repeats: tuple[int, ...]
    reference_errors: tuple[float, ...]
    baseline_errors: tuple[float, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        """Baseline's error minus the reference's, one for each of ``repeats``."""
        # Errors are ratios of counts: without rounding, equal differences such as 0.26 - 0.25
        # and 0.25 - 0.24 differ by 1e-17 and the ranks of the test would be noise.
        pairs = zip(self.baseline_errors, self.reference_errors, strict=True)
        return tuple(round(baseline - ours, 12) for baseline, ours in pairs)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The statistics of the reference against one baseline, paired by repeat.

    Attributes:
        reference, baseline: names of the arms.
        measure: ``TEST`` where every pair has both test errors, else ``VALIDATION``.
        repeats: the paired repeats.
        differences: baseline's error minus the reference's, one for each pair, -1 to 1;
            positive: the reference is better.
        mean: of the differences.
        low, high: bootstrap 95% interval of the mean; None for a single pair.
        p: two-sided Wilcoxon signed-rank test.
        p_holm: the same after Holm's correction over all baselines of this comparison.
        wins, ties, losses: pairs in which the reference is better, equal, worse.
        speed: epochs to the baseline's final error; None where there is no curve.
    """

    reference: str
    baseline: str
    measure: str
    repeats: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    speed: Speed | None

    @property
    def excludes_zero(self) -> bool:
        """True if zero lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class PairwiseComparison(PairedTest):
    """A paired test with its outcome in words.

    Attributes:
        thin: True if there is any doubt that forbids a claim.
        doubts: why no claim can be made yet, and what it would take, worst first.
        notes: what a reader must know beside the claim.
        sentence: the outcome in plain words, honest about the doubts.
        cost: what it cost in epochs, in plain words.
    """

    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    sentence: str
    cost: str

    @property
    def thin(self) -> bool:
        return bool(self.doubts)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who won, by how much, and how sure we may be.

    Attributes:
        study: the study's name.
        reference: the arm that the others are compared with; None for a study with no arms.
        arms: one summary for each arm, in the study file's order.
        pairs: one for each baseline that shares a repeat with the reference; the hand-tuned arm
            first, then in the study file's order.
        verdict: one plain sentence, about the first pair.
        thin: True if the evidence does not carry a claim.
    """

    study: str
    reference: str | None
    arms: tuple[ArmSummary, ...]
    pairs: tuple[PairwiseComparison, ...]
    verdict: str
    thin: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; keys are the attributes' names."""
        return {**plain(self), "pairs": [{**plain(p), "thin": p.thin} for p in self.pairs]}


def plain(value: Any) -> Any:
    """``value`` in plain JSON types: dataclasses become objects, NaN and infinity None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def runs_of(results: StudyResults, arm: str) -> list[ArmRun]:
    """An arm's runs, in the order of their repeats."""
    return sorted((run for run in results.runs if run.arm == arm), key=lambda run: run.repeat)
