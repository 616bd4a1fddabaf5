"""What [horizon] came to, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.results.horizon.records import (
    ArmChange,
    HorizonPair,
    HorizonRuns,
    Interval,
    ParameterDrift,
)

ALMOST, PARTLY = 0.8, 0.5
"""Rank correlations from which runs rank almost, or partly, as longer ones do."""


def sentences(
    runs: HorizonRuns,
    pairs: Sequence[HorizonPair],
    drifts: Sequence[ParameterDrift],
    changes: Sequence[ArmChange],
) -> tuple[str, ...]:
    """The outcome: how far short runs say what long ones do, which arm gains, what drifts.

    Empty as long as there are too few runs for the first of them.
    """
    if not pairs:
        return ()
    said = [ranking(pairs[0], runs)]
    said += [favour(one, runs.horizons[0], runs.horizons[-1], runs.metric) for one in changes]
    said += [drift(one) for one in drifts]
    return tuple(said)


def ranking(pair: HorizonPair, runs: HorizonRuns) -> str:
    """How far a short horizon ranks configurations as a long one does, and what that costs."""
    metric = runs.metric
    short, long = counted(pair.short, "epoch"), str(pair.long)
    known = pair.spearman_interval
    if pair.spearman is None or known is None:
        first = (
            f"Runs of {short} and of {long} cannot be compared: all {metric.plural} of one of them"
            " are equal"
        )
    else:
        first = (
            f"{_how(pair.spearman, known, short, long)} (rank correlation"
            f" {_number(pair.spearman, 2)}, {_number(known.low, 2)} to {_number(known.high, 2)})"
        )
    cost = pair.regret_interval
    around = f"{metric.unsigned(cost.low)} to {metric.unsigned(cost.high)}"
    kind = f"{metric.points} of".lstrip() + f" {metric.in_words(pair.measure)} after {long}"
    lost = metric.unsigned(pair.regret)
    if pair.regret > 0 and not metric.no_difference(pair.regret):
        second = f"choosing by them costs {lost} {kind} ({around})"
    else:
        second = f"no cost of choosing by them is seen ({lost} {kind}, {around})"
    left = f", {counted(runs.missing, 'run')} still to come" if runs.missing else ""
    third = (
        f"Of their best {pair.top}, {pair.shared} {'is' if pair.shared == 1 else 'are'} among the"
        f" best {pair.top} after {long} (by chance {pair.top**2 / pair.configurations:.1f})"
    )
    return f"{first}; {second}. {third}. That is of {pair.configurations} configurations{left}."


def _how(correlation: float, around: Interval, short: str, long: str) -> str:
    if around.low <= 0 <= around.high:
        return f"It is not shown that runs of {short} rank configurations as runs of {long} do"
    words = "otherwise than"
    if correlation >= PARTLY:
        words = "almost as" if correlation >= ALMOST else "partly as"
    return f"Runs of {short} rank configurations {words} runs of {long} do"


def favour(change: ArmChange, short: int, long: int, metric: Metric) -> str:
    """Whether longer runs favour an arm over the hand-tuned one."""
    changed = f"{metric.difference(change.change)}{metric.points}"
    between = f"between {short} and {counted(long, 'epoch')}"
    if change.interval is None:
        return (
            f"It cannot be said yet whether longer runs favour {change.arm}: its lead over"
            f" {change.baseline} changes by {changed} {between}."
        )
    known = (
        f"its lead over {change.baseline} changes by {changed} {between}"
        f" (95% interval {metric.span(change.interval.low, change.interval.high)})"
    )
    if change.interval.low > 0:
        return f"Longer runs favour {change.arm}: {known}."
    if change.interval.high < 0:
        return f"Longer runs favour {change.baseline} over {change.arm}: {known}."
    return f"Whether longer runs favour {change.arm} is not decided: {known}."


def drift(one: ParameterDrift) -> str:
    """Whether longer runs want other values of a parameter."""
    first, last = one.values[0], one.values[-1]
    known = (
        f"the best quarter lies at {first.mean:.2g} after {counted(first.epochs, 'epoch')} and at"
        f" {last.mean:.2g} after {last.epochs} (ratio {_ratio(one.ratio)},"
        f" {_ratio(one.ratio_interval.low)} to {_ratio(one.ratio_interval.high)})"
    )
    if one.ratio_interval.low > 1:
        return f"Short runs choose too small a value of {one.parameter}: {known}."
    if one.ratio_interval.high < 1:
        return f"Short runs choose too large a value of {one.parameter}: {known}."
    return f"No shift of {one.parameter} is shown: {known}."


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _number(value: float, digits: int) -> str:
    """Rounded, and without a sign where that gives zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"  # -0.0 + 0.0 is 0.0
