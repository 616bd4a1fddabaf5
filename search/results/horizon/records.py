"""What [horizon] came to, as plain records: its runs, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneoff.metric import ERROR, Metric


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """One configuration of the sample. Errors are 0 to 1; of guessing for a run that diverged.

    Attributes:
        key: equal for equal parameters.
        arm: that found it first.
        level: its third of the arm's configurations, 0 the better.
        weight: for how many of the arms' configurations it stands.
        search_error: mean of its search runs.
        errors: validation errors by horizon in epochs, one for each seed that is done.
        test_errors: of the same runs on the test split; empty where there is none.
    """

    key: str
    params: Mapping[str, Any]
    arm: str
    level: int
    weight: float
    search_error: float
    errors: Mapping[int, tuple[float, ...]]
    test_errors: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class HorizonRuns:
    """The runs of [horizon], as far as they have come.

    Attributes:
        horizons: in epochs, the short ones first.
        population: configurations from which the sample was drawn.
        sample: empty before it is drawn.
        arms: names in the study file's order.
        baseline: the hand-tuned arm with which the others are compared; None if there is none.
        picks: by arm, the key of what it recommends by repeat.
        log_parameters: searched parameters with a logarithmic range.
        missing: runs that are to come.
        metric: what all errors are, and how they are stored; see ``StudyResults``.
    """

    horizons: tuple[int, ...]
    population: int
    sample: tuple[Sampled, ...]
    arms: tuple[str, ...]
    baseline: str | None
    picks: Mapping[str, Mapping[int, str]]
    log_parameters: tuple[str, ...]
    missing: int
    metric: Metric = ERROR


@dataclass(frozen=True, slots=True)
class HorizonPair:
    """How far a short horizon says what a long one does. Of configurations that have both.

    Attributes:
        short, long: epochs.
        configurations: how many.
        spearman, kendall: weighted rank correlations of validation errors, -1 to 1; None where all
            errors of one horizon are equal.
        top: how many count as the best: a quarter.
        shared: how many of the best of the short horizon are among the best of the long one.
        regret: error at the long horizon of the best by the short one, minus that of the best by
            the long one, -1 to 1.
        measure: on which split the regret is measured, "test error" or "validation error". The
            best are always chosen by validation.
    """

    short: int
    long: int
    configurations: int
    spearman: float | None
    spearman_interval: Interval | None
    kendall: float | None
    kendall_interval: Interval | None
    top: int
    shared: int
    regret: float
    regret_interval: Interval
    measure: str


@dataclass(frozen=True, slots=True)
class BestValue:
    """Where the best configurations of one horizon lie in one parameter.

    Attributes:
        best: the value of the best configuration.
        mean: weighted geometric mean over the best quarter.
    """

    epochs: int
    best: float
    mean: float
    mean_interval: Interval


@dataclass(frozen=True, slots=True)
class ParameterDrift:
    """Whether longer runs want other values of a parameter with a logarithmic range.

    Attributes:
        values: one for each horizon.
        ratio: mean of the longest horizon by that of the shortest; above 1 longer runs want more.
    """

    parameter: str
    values: tuple[BestValue, ...]
    ratio: float
    ratio_interval: Interval


@dataclass(frozen=True, slots=True)
class ArmAtHorizon:
    """What an arm recommends, trained to one horizon. Errors and differences are -1 to 1.

    Attributes:
        repeats: how many of its recommendations have runs.
        error: their mean error.
        difference: the baseline's error minus this arm's, over the repeats that both have;
            positive: this arm is better. None for the baseline itself, or without one.
        interval: of the difference; None where it cannot be known, with one repeat for example.
    """

    arm: str
    epochs: int
    repeats: int
    error: float
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class ArmChange:
    """By how much longer runs favour an arm over the baseline.

    Attributes:
        change: its difference to the baseline at the longest horizon minus that at the shortest;
            positive: longer runs favour it.
        interval: of the change; None where it cannot be known.
    """

    arm: str
    baseline: str
    change: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class CurveRanks:
    """How far the errors after an epoch say what the same runs end with.

    Attributes:
        runs: those that came to their end without diverging.
        stopped: those that were stopped or had not come to their end, of which nothing is known.
        spearman: rank correlation of the errors after ``epoch`` and at the end; None if all errors
            of one of them are equal.
    """

    epoch: int
    runs: int
    stopped: int
    spearman: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class HorizonFindings:
    """All that a report says about horizons.

    Attributes:
        runs: None without a [horizon] section.
        pairs: every pair of horizons with enough runs, the shortest with the longest first.
        measure: on which split the arms are compared.
        curves: by epoch, from the search's own runs.
        sentences: the outcome in plain words, the first about the ranks, then one for each arm
            that is compared, then one for each of ``drifts``; empty without runs to speak of.
    """

    runs: HorizonRuns | None
    pairs: tuple[HorizonPair, ...]
    drifts: tuple[ParameterDrift, ...]
    arms: tuple[ArmAtHorizon, ...]
    changes: tuple[ArmChange, ...]
    measure: str
    curves: tuple[CurveRanks, ...]
    sentences: tuple[str, ...]
