"""A comparison in one sentence each: the question, the answer, and what it cost; no jargon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Final, Literal

from tuneoff.metric import Metric
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.comparison import Comparison, Cost, Pairing
from tuneoff.search.results.nothing import has_diverged
from tuneoff.search.results.numbers import all_of, share, share_span
from tuneoff.search.results.records import (
    FULL_VALIDATION,
    TEST,
    Recommendation,
    StudyResults,
    runs_of,
)

Tone = Literal["better", "worse", "equivalent", "undecided", "none"]
"""What colours an answer; "none" is that of a study in which nothing is compared."""

BADGES: Final[Mapping[Tone, str]] = {
    "better": "Better",
    "worse": "Worse",
    "equivalent": "As good",
    "undecided": "Undecided",
    "none": "No answer",
}
"""The outcome in one or two words: no reader has to tell colours apart."""


def question(results: StudyResults, comparison: Comparison, names: Mapping[str, ArmName]) -> str:
    """What the study asks, of the reference and the first baseline."""
    reference = comparison.reference
    if reference is None:
        return f"{results.name}: which settings are best?"
    others = [arm for arm in results.arms if arm != reference]
    if not others:
        return f"{results.name}: which settings does {names[reference].full} find?"
    first = comparison.pairs[0].baseline if comparison.pairs else others[0]
    return f"{results.name}: does {names[reference].full} beat {names[first].full}?"


def headline(pair: Pairing, names: Mapping[str, ArmName], metric: Metric) -> str:
    """The answer about one pair."""
    ours, theirs = names[pair.reference].full, names[pair.baseline].full
    match pair.quality:
        case "better":
            return f"Yes: {ours} finds better settings than {theirs}, with {_fewer(pair, metric)}."
        case "worse":
            return f"No: {ours} finds worse settings than {theirs}, with {_fewer(pair, metric)}."
        case "equivalent":
            return f"No difference that matters: {ours} and {theirs} come out equally good."
    if pair.same == len(pair.repeats):
        where = all_of(pair.same, "repeat")
        return f"{_open(pair)}: {ours} and {theirs} recommend the same settings in {where}."
    if _is_level(pair, metric):
        more = "but more evidence is needed to call them equally good"
        return f"{_open(pair)}: {ours} and {theirs} are level so far, {more}."
    place = "ahead of" if pair.mean > 0 else "behind"
    return (
        f"{_open(pair)}: {ours} is {_amount(pair.mean, metric)} {place} {theirs}, which may"
        " be luck."
    )


def against(pair: Pairing, names: Mapping[str, ArmName], metric: Metric) -> str:
    """The answer about a further pair, in a short line."""
    before = f"Against {names[pair.baseline].full}:"
    match pair.quality:
        case "better" | "worse":
            return f"{before} {pair.quality}, with {_fewer(pair, metric)}."
        case "equivalent":
            return f"{before} no difference that matters."
    start = f"{before} {_open(pair).lower()},"
    if pair.same == len(pair.repeats):
        return f"{start} the same settings in {all_of(pair.same, 'repeat')}."
    if _is_level(pair, metric):
        return f"{start} level so far."
    place = "ahead" if pair.mean > 0 else "behind"
    return f"{start} {_amount(pair.mean, metric)} {place} so far, which may be luck."


def without_pairs(results: StudyResults, comparison: Comparison) -> str:
    """Why there is no answer, where nothing can be compared."""
    arms = comparison.arms
    if not arms:
        return "No answer: this study has no arms."
    if not any(arm.spent or arm.repeats for arm in arms):
        return "No answer yet: nothing has been run."
    if all(map(has_diverged, arms)):
        return "No answer: training broke down in every run."
    if all({state for state, count in arm.states.items() if count} == {"failed"} for arm in arms):
        return "No answer: every run failed."
    if len(arms) == 1:
        return "No comparison: the study has only one arm."
    picks = [run.recommendation for run in results.runs if run.recommendation is not None]
    if any(not pick.judged for pick in picks):
        return "No answer: what the arms recommend was not trained in full."
    return "No answer yet: the arms have no finished repeat in common."


def cost_line(pair: Pairing, names: Mapping[str, ArmName], metric: Metric) -> str:
    """What the reference's training cost, measured by the baseline's; empty if that is unknown."""
    if pair.cost is None:
        return ""
    cost, ours, theirs = pair.cost, names[pair.reference], names[pair.baseline]
    if cost.never:
        probably = "" if cost.price == "never" else "probably "
        return (
            f"{ours.opening_again} {probably}saves no training: in its search it did not reach the"
            f" {metric.on('validation')} at which {theirs.short} ended."
        )
    reached = (
        f"it was as good as {theirs.possessive} end result after {share(cost.share)} of the"
        f" {cost.currency}"
    )
    is_open = f"Whether {ours.short} saves training is open: {reached}"
    if cost.low is None or cost.high is None:
        return f"{is_open}, but in a single repeat."
    between = share_span(cost.low, cost.high)
    between = "" if between == share(cost.share) else f" ({between})"
    match cost.price:
        case "cheaper":
            return f"{ours.opening_again} saves training: {reached}{between}."
        case "dearer":
            return f"{ours.opening_again} takes more training: {reached}{between}."
    return f"{is_open}, but {_range(cost)} is possible."


def errors_line(results: StudyResults, pair: Pairing, names: Mapping[str, ArmName]) -> str:
    """How often models are wrong that were trained with what the two arms recommend."""
    ours = _mean_error(results, pair.reference, pair)
    theirs = _mean_error(results, pair.baseline, pair)
    if ours is None or theirs is None:
        return ""
    a, b = names[pair.reference], names[pair.baseline]
    split = "test" if pair.measure == TEST else "validation"
    metric = results.metric
    have = f"get {metric.text(ours)} of the {split} images wrong"
    if not metric.is_error:
        have = f"have a {metric.on(split)} of {metric.text(ours)}"
    text = (
        f"On average, models with the settings of {a.short} {have}; with those of {b.short} it is"
        f" {metric.text(theirs)}."
    )
    if pair.quality != "equivalent" or pair.margin is None:
        return text
    declared = pair.margin_from == "declared"
    least = metric.plain(pair.margin) if declared else metric.size(pair.margin)
    return f"{text} Less than {least}{metric.percentage_points} count as no difference here."


def _fewer(pair: Pairing, metric: Metric) -> str:
    if metric.is_error:
        more = "fewer" if pair.mean > 0 else "more"
        return f"{_amount(pair.mean, metric)} {more} errors"
    measure = metric.on("test" if pair.measure == TEST else "validation")
    side = metric.lower if pair.mean > 0 else metric.higher
    return f"{_amount(pair.mean, metric)} {side} {measure}"


def _amount(difference: float, metric: Metric) -> str:
    shown = "less than 0.01" if _is_zero(difference, metric) else metric.size(difference)
    return f"{shown}{metric.percentage_points}"


def _is_zero(difference: float, metric: Metric) -> bool:
    return metric.percent and metric.no_difference(difference)


def _is_level(pair: Pairing, metric: Metric) -> bool:
    return metric.no_difference(pair.mean)


def _open(pair: Pairing) -> str:
    yet = pair.early or len(pair.repeats) < pair.last or pair.low is None
    return "Not decided yet" if yet else "Not decided"


def _range(cost: Cost) -> str:
    assert cost.low is not None  # without an interval nothing is said of it
    assert cost.high is not None
    if math.isinf(cost.high):
        return f"anything from {share(cost.low)} to never"
    return f"anything from {share_span(cost.low, cost.high)}"


def _mean_error(results: StudyResults, arm: str, pair: Pairing) -> float | None:
    """Of what the arm recommends in the paired repeats, 0 to 1; None where one is missing."""
    found = [
        _error(run.recommendation, pair.measure)
        for run in runs_of(results, arm)
        if run.repeat in pair.repeats and run.recommendation is not None
    ]
    known = [error for error in found if error is not None]
    return fmean(known) if known and len(known) == len(pair.repeats) else None


def _error(pick: Recommendation, measure: str) -> float | None:
    if measure == TEST:
        return pick.test_error
    return pick.full_validation_error if measure == FULL_VALIDATION else pick.validation_error
