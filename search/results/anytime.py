"""What an arm would have recommended at each point of its budget, and how fast it got there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuneoff.search.results.comparison import Cost
from tuneoff.search.results.records import ArmRun, Step, StudyResults, runs_of
from tuneoff.search.results.statistics.curves import budget_share
from tuneoff.search.results.statistics.intervals import interval_of_means


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
    return tuple((step.spent, error) for step, error, _ in _incumbents(run))


def incumbent_trials(run: ArmRun) -> tuple[int, ...]:
    """The trials that ``incumbent`` recommends, one after the other; one may come back."""
    trials = [trial for _, _, trial in _incumbents(run)]
    return tuple(trial for i, trial in enumerate(trials) if i == 0 or trials[i - 1] != trial)


def _incumbents(run: ArmRun) -> Iterator[tuple[Step, float, int]]:
    ranks: dict[int, tuple[int, int, float]] = {}
    best, trial = (3, 0, 1.0), -1  # worse than any rank
    for step in run.steps:
        if step.diverged:
            ranks[step.trial] = (2, 0, step.error)
            best, trial = min((rank, number) for number, rank in ranks.items())
        else:
            rank = (0, 0, step.error) if step.full else (1, -step.epoch, step.error)
            ranks[step.trial] = min(rank, ranks.get(step.trial, rank))
            if rank < best:
                best, trial = rank, step.trial
        yield step, best[2], trial


def spending_grid(results: StudyResults, points: int = 200) -> tuple[int, ...]:
    """At most ``points`` of the epochs at which some arm's incumbent could change, increasing."""
    every = sorted({step.spent for run in results.runs for step in run.steps})
    if len(every) <= points:
        return tuple(every)
    kept = np.linspace(0, len(every) - 1, points).round().astype(int)
    return tuple(every[i] for i in kept)


def anytime(
    results: StudyResults, arm: str, grid: Sequence[int], intervals: bool = True
) -> AnytimeCurve:
    """Mean over repeats of the incumbent's error at each of ``grid``'s epochs.

    A repeat's last recommendation stands after its last step. Points before some repeat's first
    value, or after the last repeat's last step, are left out: there the mean would be over other
    repeats, or over nothing new.

    Args:
        results: the study.
        arm: the arm's name.
        grid: epochs spent, increasing.
        intervals: False leaves ``low`` and ``high`` empty, which take far longer than the mean.
    """
    curves = [incumbent(run) for run in runs_of(results, arm) if run.steps]
    if not curves:
        return AnytimeCurve(arm, 0, (), (), (), ())
    first = max(curve[0][0] for curve in curves)
    last = max(curve[-1][0] for curve in curves)
    spent = tuple(point for point in grid if first <= point <= last)
    table = np.array([_at(curve, spent) for curve in curves])  # (repeats, points)
    low, high = interval_of_means(table) if intervals else ((), ())
    mean = tuple(table.mean(axis=0).tolist())
    return AnytimeCurve(arm, len(curves), spent, mean, low, high)


def _at(curve: Sequence[tuple[int, float]], grid: Sequence[int]) -> list[float]:
    """The step function ``curve`` at each point of ``grid``; none lies before its first step."""
    spent = [point for point, _ in curve]
    return [curve[i - 1][1] for i in np.searchsorted(spent, grid, side="right")]


def cost_of(
    results: StudyResults, reference: str, baseline: str, repeats: Sequence[int]
) -> Cost | None:
    """What share of the baseline's budget the reference needs to be as good as all of it.

    Args:
        results: the study.
        reference, baseline: the arms.
        repeats: those that the two arms share; only they are in the means.

    Returns:
        None if a repeat of either arm has no curve, or the baseline spent nothing.
    """
    ours, theirs = (
        [run for run in runs_of(results, arm) if run.repeat in set(repeats)]
        for arm in (reference, baseline)
    )
    timed = results.budget_seconds is not None
    curves, goals = [_paid(run, timed) for run in ours], [incumbent(run) for run in theirs]
    epochs = float(np.mean([run.spent for run in theirs])) if theirs else 0.0
    budgets = np.array([run.seconds if timed else run.spent for run in theirs], dtype=float)
    if not all([*curves, *goals, budgets.sum()]) or not curves:
        return None
    grid = sorted({spent for curve in curves for spent, _ in curve})
    table = np.array([_with_unknown(curve, grid) for curve in curves])
    final = np.array([curve[-1][1] for curve in goals])
    found = budget_share(table, final, np.array(grid, dtype=float), budgets)
    return Cost(
        share=found.share,
        low=found.low,
        high=found.high,
        epochs=found.share * epochs,
        baseline_epochs=epochs,
        target=float(final.mean()),
        baseline_seconds=float(budgets.mean()) if timed else None,
    )


def _paid(run: ArmRun, timed: bool) -> tuple[tuple[float, float], ...]:
    """As ``incumbent``, after so many seconds of training instead of epochs if it is timed."""
    steps = _incumbents(run)
    return tuple((step.seconds if timed else step.spent, error) for step, error, _ in steps)


def _with_unknown(curve: Sequence[tuple[float, float]], grid: Sequence[float]) -> list[float]:
    """As ``_at``, and NaN before the first step."""
    spent = [point for point, _ in curve]
    values = [math.nan, *(error for _, error in curve)]
    return [values[i] for i in np.searchsorted(spent, grid, side="right")]
