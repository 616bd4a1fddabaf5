"""The words of a report, explained with this study's numbers to somebody who meets them first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tuneoff.messages import counted
from tuneoff.metric import Metric, capitalised
from tuneoff.search.report.data import ReportData
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.compare import names_of
from tuneoff.search.results.comparison import Pairing
from tuneoff.search.results.numbers import duration
from tuneoff.search.results.records import StudyResults

_METHODS: Final[Mapping[str, str]] = {
    "Bayesian optimisation": "a program that tries settings, learns from every result where good"
    " ones are likely to be, and tries those next",
    "hand tuning": "settings that a person chose",
    "random search": "settings that are drawn at random",
    "grid search": "settings on a regular grid",
    "quasi-random search": "settings that are spread evenly",
}


def terms(data: ReportData) -> list[tuple[str, str]]:
    """Each word with its meaning, in an order in which each can be understood."""
    return list(_terms(data))


def _terms(data: ReportData) -> Iterator[tuple[str, str]]:
    results, names = data.results, names_of(data.results)
    pair = data.comparison.pairs[0] if data.comparison.pairs else None
    yield "Settings", f"{_settings(data)} fixed before training; also called hyperparameters."
    yield (
        "Arm",
        "One way to find good settings. All arms have the same training budget."
        f"{_methods(results, names)}",
    )
    unit = "the unit of cost here" if results.budget_seconds is None else "cost is counted in time"
    yield "Epoch", f"One pass over the training images: {unit}.{_budget(results)}"
    yield (
        "Search run",
        f"A short training, of {counted(results.trial_epochs, 'epoch')}, by which an arm tries"
        " settings. A run that looks weak may be stopped or paused before.",
    )
    if results.full_epochs is not None:
        yield (
            "Full training",
            f"{counted(results.full_epochs, 'epoch')} with the settings that an arm recommends in"
            " the end, several times with other random numbers (seeds).",
        )
    metric = results.metric
    what = f"What models are judged by; the {metric.lower}, the better."
    yield (
        capitalised(metric.bare),
        f"{'The share of images that a model gets wrong.' if metric.is_error else what} The"
        f" {metric.on('validation')} is measured on images by which the arms choose; the"
        f" {metric.on('test')} on others, which no choice has seen.",
    )
    if metric.percent:
        yield (
            "Percentage points",
            "The difference of two shares: from 2.0% to 1.5% it is 0.5 percentage points.",
        )
    yield (
        "Paired repeat",
        "The whole search done once more, with other random numbers, which are the same for every"
        f" arm. Arms are compared within repeats; there {_are(results.repeats)}.",
    )
    if pair is not None and pair.low is not None:
        often = f"{100 * pair.confidence:.3g} of 100"
        yield (
            "Interval, in brackets",
            "The range in which the true difference probably lies: other repeats would have given"
            f" other numbers, and {often} ranges that are made like this one hold the truth.",
        )
    if pair is not None and pair.margin is not None:
        yield "As good", f"The two differ by less than {_margin(pair, metric)}."


def _settings(data: ReportData) -> str:
    names = list(data.best.params) if data.best is not None else []
    if not names:
        return "Numbers and choices that are"
    shown = ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")
    return f"Numbers and choices (here {shown}) that are"


def _methods(results: StudyResults, names: Mapping[str, ArmName]) -> str:
    found = dict.fromkeys(
        facts.description for facts in results.facts.values() if facts.description in _METHODS
    )
    if not found or not names:
        return ""
    said = "; ".join(f"{method}: {_METHODS[method]}" for method in found)
    return f" {said[0].upper()}{said[1:]}."


def _budget(results: StudyResults) -> str:
    if results.budget_seconds is not None:
        return f" Each arm may train for {duration(results.budget_seconds)} in each repeat."
    budgets = {run.budget for run in results.runs if run.budget}
    if len(budgets) != 1:
        return ""
    return f" Each arm may spend {budgets.pop():,} in each repeat."


def _are(repeats: int) -> str:
    return "is only one" if repeats == 1 else f"are {repeats:,}"


def _margin(pair: Pairing, metric: Metric) -> str:
    assert pair.margin is not None  # asked for only where there is one
    if pair.margin_from == "declared":
        least = f"{metric.plain(pair.margin)}{metric.percentage_points}"
        return f"{least}, the least that the study file calls of use"
    return (
        f"{metric.size(pair.margin)}{metric.percentage_points}, by which trainings of the same"
        " settings vary with"
        " the seed alone"
    )
