"""What the runs of [horizon] and the search's own curves say, as pure functions of records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Final

import numpy as np

from tuneoff.search.results.horizon.ranks import (
    Floats,
    interval,
    kendall,
    mean_of_best,
    plain_spearman,
    regret,
    resamples,
    shared_best,
    spearman,
)
from tuneoff.search.results.horizon.records import (
    ArmAtHorizon,
    ArmChange,
    BestValue,
    CurveRanks,
    HorizonFindings,
    HorizonPair,
    HorizonRuns,
    Interval,
    ParameterDrift,
    Sampled,
)
from tuneoff.search.results.horizon.sentences import sentences
from tuneoff.search.results.records import TEST, VALIDATION, TrialCurve
from tuneoff.search.results.statistics.paired import PairedEstimate, paired_estimate

FEWEST: Final = 4
"""Configurations below which nothing is said of a pair of horizons."""
BEST_SHARE: Final = 0.25
"""How much of the sample counts as the best."""


def find(runs: HorizonRuns | None, trials: Sequence[TrialCurve] = ()) -> HorizonFindings:
    """All that is known of horizons.

    Args:
        runs: of the [horizon] section; None without it.
        trials: the search's own, for ``curve_ranks``.
    """
    curves = curve_ranks(trials)
    if runs is None:
        return HorizonFindings(None, (), (), (), (), VALIDATION, curves, ())
    pairs, drifts, measure = horizon_pairs(runs), parameter_drifts(runs), _measure(runs.sample)
    arms, changes = arms_at_horizons(runs), arm_changes(runs)
    said = sentences(runs, pairs, drifts, changes)
    return HorizonFindings(runs, pairs, drifts, arms, changes, measure, curves, said)


def horizon_pairs(runs: HorizonRuns) -> tuple[HorizonPair, ...]:
    """Every pair of horizons, the shortest with the longest first; see ``HorizonPair``.

    The configurations are weighted as the sample stands for all that the arms tried. Intervals are
    those of a bootstrap over configurations within the levels of the sample: they cover which ones
    were drawn and the noise of their runs. The regret weighs none: it is that of the sample.
    """
    pairs = sorted(combinations(runs.horizons, 2), key=lambda pair: pair[0] - pair[1])
    found = (_pair(runs.sample, short, long) for short, long in pairs)
    return tuple(pair for pair in found if pair is not None)


def _pair(sample: Sequence[Sampled], short: int, long: int) -> HorizonPair | None:
    both = [one for one in sample if one.errors.get(short) and one.errors.get(long)]
    if len(both) < FEWEST:
        return None
    x, y = _means(both, short), _means(both, long)
    measure = _measure(both)
    measured = y if measure == VALIDATION else _means(both, long, tested=True)
    weights, counts = _weights(both), _counts(both)
    top = max(1, round(BEST_SHARE * len(both)))
    costs = interval(regret(x, y, measured, counts[1:]))
    assert costs is not None  # a regret is always defined
    rho, tau = spearman(x, y, counts * weights), kendall(x, y, counts * weights)
    return HorizonPair(
        short=short,
        long=long,
        configurations=len(both),
        spearman=_known(rho[0]),
        spearman_interval=interval(rho[1:]),
        kendall=_known(tau[0]),
        kendall_interval=interval(tau[1:]),
        top=top,
        shared=shared_best(x, y, top),
        regret=float(regret(x, y, measured, counts[:1])[0]),
        regret_interval=costs,
        measure=measure,
    )


def parameter_drifts(runs: HorizonRuns) -> tuple[ParameterDrift, ...]:
    """For each parameter with a logarithmic range, where the best lie at each horizon.

    Short runs are suspected of rates that are too small (Wu, Ren, Liao, Grosse 2018, "Understanding
    short-horizon bias in stochastic meta-optimization").
    """
    both = [one for one in runs.sample if all(one.errors.get(h) for h in runs.horizons)]
    if len(both) < FEWEST:
        return ()
    weights, counts = _weights(both), _counts(both)
    found = []
    for name in runs.log_parameters:
        logs = np.array([math.log(one.params[name]) for one in both])
        means = [
            mean_of_best(logs, _means(both, h), weights, counts, BEST_SHARE) for h in runs.horizons
        ]
        ratio, ratios = means[-1] - means[0], interval((means[-1] - means[0])[1:])
        assert ratios is not None
        found.append(
            ParameterDrift(
                parameter=name,
                values=tuple(
                    _best_value(both, name, h, mean)
                    for h, mean in zip(runs.horizons, means, strict=True)
                ),
                ratio=math.exp(ratio[0]),
                ratio_interval=_exponential(ratios),
            )
        )
    return tuple(found)


def _best_value(both: Sequence[Sampled], name: str, epochs: int, mean: Floats) -> BestValue:
    best = both[int(_means(both, epochs).argmin())]
    around = interval(mean[1:])
    assert around is not None
    return BestValue(epochs, best.params[name], math.exp(mean[0]), _exponential(around))


def _exponential(logs: Interval) -> Interval:
    return Interval(math.exp(logs.low), math.exp(logs.high))


def arms_at_horizons(runs: HorizonRuns) -> tuple[ArmAtHorizon, ...]:
    """What each arm recommends, trained to each horizon, against the hand-tuned arm.

    The recommendations were chosen after the search's own runs; every error here is of a training
    that had no part in the choice. Intervals as in ``statistics.paired.paired_estimate``.
    """
    found = []
    for arm in runs.arms:
        for epochs in runs.horizons:
            errors = _errors_of(runs, epochs)
            mine = [errors[key] for key in runs.picks.get(arm, {}).values() if key in errors]
            if not mine:
                continue
            estimate = _estimate(runs, arm, errors)
            found.append(
                ArmAtHorizon(
                    arm=arm,
                    epochs=epochs,
                    repeats=len(mine),
                    error=fmean(map(fmean, mine)),
                    difference=None if estimate is None else estimate.mean,
                    interval=_interval_of(estimate),
                )
            )
    return tuple(found)


def arm_changes(runs: HorizonRuns) -> tuple[ArmChange, ...]:
    """By how much the longest horizon favours each arm over the hand-tuned one.

    For every configuration its change is its error at the longest horizon minus that at the
    shortest, seed by seed; the difference of these changes is estimated as that of errors is.
    """
    short, long = _errors_of(runs, runs.horizons[0]), _errors_of(runs, runs.horizons[-1])
    changes = {
        key: tuple(b - a for a, b in zip(short[key], long[key], strict=False))
        for key in short.keys() & long.keys()
    }
    found = []
    for arm in runs.arms:
        estimate = _estimate(runs, arm, changes)
        if estimate is not None and runs.baseline is not None:
            found.append(ArmChange(arm, runs.baseline, estimate.mean, _interval_of(estimate)))
    return tuple(found)


def _estimate(
    runs: HorizonRuns, arm: str, errors: Mapping[str, tuple[float, ...]]
) -> PairedEstimate | None:
    """Of the baseline's minus the arm's; None without a repeat that both have."""
    if runs.baseline is None or arm == runs.baseline:
        return None
    ours, theirs = runs.picks.get(arm, {}), runs.picks.get(runs.baseline, {})
    pairs = [(ours[r], theirs[r]) for r in sorted(ours.keys() & theirs.keys())]
    pairs = [pair for pair in pairs if all(key in errors for key in pair)]
    return paired_estimate(pairs, errors) if pairs else None


def _interval_of(estimate: PairedEstimate | None) -> Interval | None:
    found = None if estimate is None else estimate.interval()
    return None if found is None else Interval(*found)


def _errors_of(runs: HorizonRuns, epochs: int) -> dict[str, tuple[float, ...]]:
    """By key; on the test split where every run has been scored on it."""
    tested = _measure(runs.sample) == TEST
    rows = ((one.key, one.test_errors if tested else one.errors) for one in runs.sample)
    return {key: errors[epochs] for key, errors in rows if errors.get(epochs)}


def curve_ranks(trials: Sequence[TrialCurve]) -> tuple[CurveRanks, ...]:
    """How far the error after each epoch of the search's runs ranks them as their ends do.

    Two biases make it look better or worse than [horizon] does. Only runs that came to their end
    are known, and what stopped the others was their error. And an epoch in the middle of a run is
    not the end of a shorter one, which would have annealed its rate by then; but the two errors are
    of one run, and share its luck.
    """
    ended = [trial for trial in trials if trial.state == "complete" and trial.errors]
    if not ended:
        return ()
    last = max(max(trial.errors) for trial in ended)
    epochs = range(1, last + 1)
    rows = [[trial.errors.get(epoch, math.nan) for epoch in epochs] for trial in ended]
    full = [row for row in rows if all(map(math.isfinite, row))]
    if len(full) < FEWEST:
        return ()
    stopped = sum(trial.state != "complete" and bool(trial.errors) for trial in trials)
    *columns, ends = np.array(full).T
    found = []
    for epoch, errors in zip(epochs, columns, strict=False):
        rho, around = plain_spearman(errors, ends)
        found.append(CurveRanks(epoch, len(full), stopped, rho, around))
    return tuple(found)


def _measure(sample: Sequence[Sampled]) -> str:
    """``TEST`` if every run has been scored on the test split."""
    scored = all(
        len(one.test_errors.get(epochs, ())) == len(errors)
        for one in sample
        for epochs, errors in one.errors.items()
    )
    return TEST if scored and any(one.test_errors for one in sample) else VALIDATION


def _means(some: Sequence[Sampled], epochs: int, tested: bool = False) -> Floats:
    return np.array([fmean((one.test_errors if tested else one.errors)[epochs]) for one in some])


def _weights(some: Sequence[Sampled]) -> Floats:
    return np.array([one.weight for one in some])


def _counts(some: Sequence[Sampled]) -> Floats:
    """The sample itself, then its resamples."""
    return np.vstack([np.ones(len(some)), resamples([one.level for one in some])])


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
