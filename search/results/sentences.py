"""The answer about one pair of arms, in sentences that need no statistics to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.comparison import Cost, Pairing
from tuneoff.search.results.numbers import all_of, level_name, share, share_span
from tuneoff.search.results.records import FULL_VALIDATION, TEST, VALIDATION

_RUN: Final = "tuneoff run STUDY.toml --until-decided"
UNTIL_DECIDED: Final = f"`{_RUN}`"
_MANY: Final = 1000
"""The most repeats that a study may have."""
_MEASURE: Final[Mapping[str, str]] = {
    FULL_VALIDATION: "validation error after full training",
    VALIDATION: "validation error after the search",
}
_FAVOURS: Final = "These errors are the lowest of many, and favour whoever tried more settings."


def answer(pair: Pairing, names: Mapping[str, ArmName], metric: Metric) -> str:
    """Quality and cost: two or three sentences.

    Args:
        pair: the numbers.
        names: of both arms.
        metric: what they are.
    """
    ours, theirs = names[pair.reference], names[pair.baseline]
    if pair.low is None or pair.high is None or metric.says_nothing(pair.low, pair.high):
        parts = [_without_interval(pair, ours, theirs, metric)]
    elif pair.quality == "undecided":
        parts = [_undecided(pair, ours, theirs, pair.low, pair.high, metric)]
    elif pair.quality == "equivalent":
        parts = [*_equivalent(pair, ours, theirs, pair.low, pair.high, metric)]
    else:
        better = pair.quality == "better"
        word, side = ("better", metric.lower) if better else ("worse", metric.higher)
        parts = [
            f"{ours.opening} finds {word} settings than {theirs.full}: the {_measure(pair, metric)}"
            " is"
            f" {metric.amount(pair.mean)} {side} ({metric.span(pair.low, pair.high)})."
        ]
    if pair.cost is not None and not _says_cost(pair):
        parts.append(_cost(pair.cost, ours, theirs))
    if pair.measure == VALIDATION:
        parts.append(metric.in_words(_FAVOURS))
    return " ".join(parts)


def key(pair: Pairing, names: Mapping[str, ArmName], metric: Metric) -> str:
    """What the numbers in the answer are, in one or two sentences."""
    repeats = counted(len(pair.repeats), "paired repeat")
    if pair.early:
        repeats = f"{len(pair.repeats)} of {pair.planned} paired repeats"
    few, most = pair.trainings
    trained = f"{few} to {most}" if few < most else str(most)
    seeds = f", with {trained} full training{'' if most == 1 else 's'} of each choice"
    where = f"{repeats}{seeds if most else ''}"
    plus = f"Plus means that {names[pair.reference].short} has the {metric.lower} {metric.bare}"
    if pair.cost is not None and pair.cost.high == math.inf and not pair.cost.never:
        plus = f"{plus}; 'never' is beyond its own budget"
    if pair.low is None or pair.level is None:
        return f"From {where}. {plus}."
    looks = ", wide enough for a look after every repeat" if pair.looks > 1 else ""
    return f"In brackets: {level_name(pair.confidence)} intervals{looks}, from {where}. {plus}."


def advice(pair: Pairing) -> tuple[str, ...]:
    """What it would take to decide; empty where it is decided."""
    if pair.decided:
        return ()
    items = []
    if pair.low is None:
        items.append(_for_an_interval(pair))
    elif pair.more_repeats is not None and len(pair.repeats) + pair.more_repeats <= _MANY:
        items.append(_for_a_decision(pair, pair.more_repeats))
    else:
        items.append(
            "Even a thousand repeats would probably not decide it at the difference seen so far. A"
            " larger smallest_effect in [compare], or more seeds in [promote], would decide it"
            " sooner."
        )
    if pair.margin is None and pair.seeds_sd == 0:
        items.append(
            "'As good as' is a possible answer only where it is known what difference matters. That"
            " is unknown: trainings with other seeds gave equal errors. Declare smallest_effect in"
            " [compare]."
        )
    elif pair.margin is None:
        items.append(
            "'As good as' is a possible answer only where it is known what difference matters:"
            " declare smallest_effect in [compare], or have at least two seeds in [promote]."
        )
    return tuple(items)


def _equivalent(
    pair: Pairing, ours: ArmName, theirs: ArmName, low: float, high: float, metric: Metric
) -> tuple[str, ...]:
    within = f"(within {_margin(pair, metric)}: {metric.span(low, high)})"
    measured = "" if pair.measure == TEST else f" in {_measure(pair, metric)}"
    first = f"{ours.opening} finds settings as good as {_of(theirs, 'those')}{measured} {within}"
    if _says_cost(pair) and pair.cost is not None:
        first = f"{first} for {_share(pair.cost)}{_cost_interval(pair.cost)}"
    if low > 0 or high < 0:
        word = "better" if low > 0 else "worse"
        return f"{first}.", f"It is slightly {word}, by less than what matters."
    return (f"{first}.",)


def _undecided(
    pair: Pairing, ours: ArmName, theirs: ArmName, low: float, high: float, metric: Metric
) -> str:
    so_far = " so far" if pair.early or len(pair.repeats) < pair.last else ""
    return (
        f"Undecided{so_far}: {ours.full} is at most {_bound(high, metric)} better than"
        f" {theirs.full} and at most {_bound(-low, metric)} worse in {_measure(pair, metric)}"
        f" ({metric.span(low, high)})."
    )


def _bound(end: float, metric: Metric) -> str:
    """The end of an interval on one side of zero; rounded up where it would be shown as zero."""
    return metric.amount(max(end, metric.least_shown) if end > 0 else 0.0)


def _without_interval(pair: Pairing, ours: ArmName, theirs: ArmName, metric: Metric) -> str:
    count = len(pair.repeats)
    if pair.same == count:
        where = all_of(count, "repeat")
        both = f"{ours.full} and {theirs.full}"
        return f"Undecided so far: {both} recommend the same settings in {where}."
    where = f"in {all_of(count, 'repeat')}" if count == 1 else f"in the mean of {count} repeats"
    if metric.no_difference(pair.mean):
        seen = f"{ours.full} and {theirs.full} have the same {_measure(pair, metric)} {where}"
    else:
        word = metric.lower if pair.mean > 0 else metric.higher
        seen = (
            f"{where}, the {_measure(pair, metric)} of {ours.full} is {metric.amount(pair.mean)}"
            f" {word}"
            f" than {_of(theirs, 'that')} ({metric.difference(pair.mean)})"
        )
    return f"Undecided so far: {seen}, which may be luck."


def _for_an_interval(pair: Pairing) -> str:
    count = len(pair.repeats)
    if count == 1:
        return (
            "One repeat shows a difference, but says nothing of luck: at least two are needed. Set"
            f" repeats in the study file, or add some by {UNTIL_DECIDED}."
        )
    if pair.level is None:
        return f"The first look is at more repeats than the {count} that are in: let it go on."
    if pair.same == count:
        return (
            "The two arms can be told apart only by repeats in which they recommend different"
            f" settings: {UNTIL_DECIDED} adds repeats."
        )
    if pair.seeds_sd is not None:
        return (
            "Every repeat shows the same difference, and so few may be alike by luck:"
            f" {UNTIL_DECIDED} adds repeats."
        )
    return (
        "Every repeat shows the same difference, from choices that were trained once: more seeds in"
        " [promote] measure how much of it is luck."
    )


def _for_a_decision(pair: Pairing, more: int) -> str:
    needed = len(pair.repeats) + more
    likely = (
        f"About {counted(more, 'more repeat')} would probably decide it, if the difference is as it"
        " looks"
    )
    if pair.limit is None or needed <= pair.limit:
        return f"{likely}: {UNTIL_DECIDED} adds them and stops in time."
    return (
        f"{likely}. That is above the {pair.limit} of max_repeats in [compare]:"
        f" `{_RUN} --max-repeats {needed}` adds them and stops in time."
    )


def _says_cost(pair: Pairing) -> bool:
    """True if the cost stands within the first sentence."""
    return pair.quality == "equivalent" and pair.cost is not None and not pair.cost.never


def _cost(cost: Cost, ours: ArmName, theirs: ArmName) -> str:
    if cost.never:
        perhaps = ""
        if cost.low is not None and math.isfinite(cost.low):
            least = f"{share(cost.low)} of the {cost.currency}"
            perhaps = f"; with better luck it would be, for {least} or more"
        return (
            f"Within its own budget {ours.short} was never as good on validation as"
            f" {theirs.short} in the end{perhaps}."
        )
    return (
        f"{ours.opening_again} needed {_share(cost)}{_cost_interval(cost)} to be"
        f" as good on validation as {theirs.short} in the end."
    )


def _share(cost: Cost) -> str:
    return f"{share(cost.share)} of the {cost.currency}"


def _cost_interval(cost: Cost) -> str:
    if cost.low is None or cost.high is None:
        return ""
    return f" ({share_span(cost.low, cost.high)})"


def _margin(pair: Pairing, metric: Metric) -> str:
    assert pair.margin is not None  # else nothing is equivalent
    if pair.margin_from == "declared":
        return f"{metric.plain(pair.margin)}{metric.points}"
    return f"{metric.amount(pair.margin)}, the noise of a single training"


def _measure(pair: Pairing, metric: Metric) -> str:
    return metric.in_words(_MEASURE.get(pair.measure, pair.measure))


def _of(name: ArmName, noun: str) -> str:
    """The baseline's, at its first mention."""
    return name.possessive if name.full == name.short else f"{noun} of {name.full}"
