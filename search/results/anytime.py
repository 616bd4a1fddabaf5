"""What an arm would have recommended at each point of its budget, and how fast it got there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuneoff.search.results.records import ArmRun, Speed, StudyResults, runs_of
from tuneoff.search.results.statistics import interval_of_means


@dataclass(frozen=True, slots=True)
class AnytimeCurve:
    """What an arm would have recommended, had it been stopped at each point.

    Attributes:
        arm: the arm's name.
        repeats: number of repeats in the mean.
        spent: epochs of budget, increasing; starts where the last repeat gets its first value.
        mean: mean over repeats of the incumbent's validation error, 0 to 1.
        low, high: bootstrap 95% interval of that mean; empty for fewer than two repeats.
    """

    arm: str
    repeats: int
    spent: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def incumbent(run: ArmRun) -> tuple[tuple[int, float], ...]:
    """(epochs spent, validation error of the recommended configuration) after each step.

    Recommended is the best full run that did not diverge; before there is one, the best run at the
    deepest epoch that any has reached; and a run that diverged only while there is no other. What a
    run reached before it diverged does not count either. ``study.selection.recommend`` ranks runs
    in the same order.

    As in LCBench's normalised regret (Zimmer, Lindauer, Hutter, 2021), errors at different epochs
    are never compared: the curve may rise when a deeper epoch is reached, or when the incumbent
    diverges, but from the first full run on it only falls.
    """
    curve: list[tuple[int, float]] = []
    ranks: dict[int, tuple[int, int, float]] = {}
    best = (3, 0, 1.0)  # worse than any rank
    for step in run.steps:
        if step.diverged:
            ranks[step.trial] = (2, 0, step.error)
            best = min(ranks.values())
        else:
            rank = (0, 0, step.error) if step.full else (1, -step.epoch, step.error)
            ranks[step.trial] = min(rank, ranks.get(step.trial, rank))
            best = min(rank, best)
        curve.append((step.spent, best[2]))
    return tuple(curve)


def spending_grid(results: StudyResults, points: int = 200) -> tuple[int, ...]:
    """At most ``points`` of the epochs at which some arm's incumbent could change, increasing."""
    every = sorted({step.spent for run in results.runs for step in run.steps})
    if len(every) <= points:
        return tuple(every)
    kept = np.linspace(0, len(every) - 1, points).round().astype(int)
    return tuple(every[i] for i in kept)


def anytime(results: StudyResults, arm: str, grid: Sequence[int]) -> AnytimeCurve:
    """Mean over repeats of the incumbent's error at each of ``grid``'s epochs.

    A repeat's last recommendation stands after its last step. Points before some repeat's first
    value, or after the last repeat's last step, are left out: there the mean would be over other
    repeats, or over nothing new.

    Args:
        results: the study.
        arm: the arm's name.
        grid: epochs spent, increasing.
    """
    curves = [incumbent(run) for run in runs_of(results, arm) if run.steps]
    if not curves:
        return AnytimeCurve(arm, 0, (), (), (), ())
    first = max(curve[0][0] for curve in curves)
    last = max(curve[-1][0] for curve in curves)
    spent = tuple(point for point in grid if first <= point <= last)
    table = np.array([_at(curve, spent) for curve in curves])  # (repeats, points)
    low, high = interval_of_means(table)
    mean = tuple(table.mean(axis=0).tolist())
    return AnytimeCurve(arm, len(curves), spent, mean, low, high)


def _at(curve: Sequence[tuple[int, float]], grid: Sequence[int]) -> list[float]:
    """The step function ``curve`` at each point of ``grid``; none lies before its first step."""
    spent = [point for point, _ in curve]
    return [curve[i - 1][1] for i in np.searchsorted(spent, grid, side="right")]


def speed_of(
    results: StudyResults, reference: str, baseline: str, repeats: Sequence[int]
) -> Speed | None:
    """When the mean curves of two arms first reach the baseline's final error.

    Args:
        results: the study.
        reference, baseline: the arms.
        repeats: those that the two arms share; only they are in the means.

    Returns:
        None if an arm has no curve yet.
    """
    shared = replace(results, runs=tuple(r for r in results.runs if r.repeat in set(repeats)))
    grid = spending_grid(shared, points=sys.maxsize)
    ours, theirs = anytime(shared, reference, grid), anytime(shared, baseline, grid)
    if not ours.spent or not theirs.spent:
        return None
    target = theirs.mean[-1]
    baseline_epochs = _first(theirs, target)
    reference_epochs = _first(ours, target)
    assert baseline_epochs is not None  # the last point of its own curve reaches it
    ratio = baseline_epochs / reference_epochs if reference_epochs else None
    return Speed(target, baseline_epochs, reference_epochs, ratio)


def _first(curve: AnytimeCurve, target: float) -> int | None:
    """The first epoch at which the curve is at or below ``target``."""
    pairs = zip(curve.spent, curve.mean, strict=True)
    # The tolerance is for means of equal numbers that were summed in another order.
    return next((spent for spent, mean in pairs if mean <= target + 1e-12), None)
