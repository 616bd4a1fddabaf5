"""The report's sentences, and numbers as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tuneoff.search.report.data import ReportData
from tuneoff.search.results.records import Comparison, PairwiseComparison, StudyResults
from tuneoff.search.results.statistics import pairs_needed
from tuneoff.search.results.verdict import counted

NONE: Final = "–"  # where there is nothing to show

# Sentences


def title(results: StudyResults) -> str:
    """The report's title."""
    return f"{results.name}: which arm finds better hyperparameters?"


def outcome(comparison: Comparison) -> list[str]:
    """What follows the verdict: what it cost, and the other comparisons."""
    if not comparison.pairs:
        return []
    lead, *others = comparison.pairs
    cost = [f"Cost: {lead.cost}."] if lead.cost and lead.cost not in comparison.verdict else []
    return [*cost, *(pair.sentence for pair in others)]


def caveats(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Title and items of each box of caveats; only those that have items."""
    several = len(comparison.pairs) > 1

    def sentences(items: Iterable[tuple[PairwiseComparison, str]]) -> list[str]:
        named = (f"Against {p.baseline}: {text}." if several else f"{text}." for p, text in items)
        return [item[0].upper() + item[1:] for item in named]

    boxes = (
        ("Why the evidence is thin", [(p, text) for p in comparison.pairs for text in p.doubts]),
        ("Keep in mind", [(p, text) for p in comparison.pairs for text in p.notes]),
    )
    return [(heading, sentences(items)) for heading, items in boxes if items]


def how_to_read(data: ReportData) -> list[str]:
    """What a reader must know to understand the figures and tables."""
    results = data.results
    baselines = max(1, len(data.comparison.pairs))
    budgets = {run.budget for run in results.runs}
    budget = f"the same budget of {budgets.pop():,} epochs" if len(budgets) == 1 else "a budget"
    return [
        f"Each arm has {budget} in each repeat. Every epoch of training counts, also those of"
        " pruned, diverged and lost attempts.",
        "All arms search the same space with the same training recipe and the same split of the"
        " data. The same repeat of different arms has the same seeds, so differences are taken"
        " within repeats.",
        f"A full search run is {counted(results.trial_epochs, 'epoch')}. A run that diverges counts"
        f" as guessing, an error of {100 * results.chance_error:.1f}%.",
        "Arms choose by validation error alone. The configuration that an arm recommends is then"
        " trained in full and measured once on the test split. The validation error of a"
        " recommendation is the lowest of many, and therefore too good; its test error is not.",
        "Differences are baseline minus reference: positive means that the reference is better. The"
        " 95% interval is a bootstrap over repeats. It covers the luck of searching and training,"
        " but not the choice of images or of the data set, and with few repeats it is too narrow.",
        "p is that of Wilcoxon's exact two-sided signed-rank test over the repeats, adjusted by"
        f" Holm's method for {counted(baselines, 'baseline')}. With fewer than"
        f" {pairs_needed(baselines)} repeats it cannot fall below 0.05, whatever the difference. A"
        " claim is made only if p is below 0.05, the interval excludes zero, and every repeat has"
        " its test errors.",
        "Before the first full run of an arm, its anytime curve shows the best configuration at"
        " the deepest epoch reached so far. A run that diverged is the incumbent only while there"
        " is no other. Speed is the number of epochs until the mean curves first reach the"
        " baseline's final error.",
        *([_PREDICTIONS] if any(prediction.coverage for prediction in data.predictions) else ()),
    ]


_PREDICTIONS: Final = (
    "A prediction interval counts as having held if the error after the full run lay within it."
    " Each prediction is made again from what had been trained when its run was paused, by the"
    " times of the attempts, and includes the noise of a single run. Left out are pauses before the"
    " policy first used its model, and runs that never came to their end. A run that diverged"
    " counts with the error of guessing."
)


# Numbers


def percent(error: float | None) -> str:
    """An error of 0 to 1, in percent."""
    return NONE if error is None else f"{100 * error:.2f}"


def points(difference: float) -> str:
    """A difference of errors, in percentage points with their sign."""
    return f"{100 * difference:+.2f}"


def interval(pair: PairwiseComparison) -> str:
    """The 95% interval of a mean difference, in percentage points."""
    if pair.low is None or pair.high is None:
        return NONE
    return f"({points(pair.low)} to {points(pair.high)})"


def mean_and_sd(mean: float | None, sd: float | None) -> str:
    """The mean and standard deviation of errors of 0 to 1, in percent."""
    return percent(mean) if sd is None else f"{percent(mean)} ± {percent(sd)}"


def mean_and_range(errors: Sequence[float]) -> str:
    """The mean of errors of 0 to 1 and, in brackets, the lowest and highest, in percent."""
    # Of the two or three seeds that these are for, a standard deviation would say too much.
    if not errors:
        return NONE
    mean = percent(sum(errors) / len(errors))
    return mean if len(errors) == 1 else f"{mean} ({percent(min(errors))}–{percent(max(errors))})"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def parameters(params: Mapping[str, Any]) -> str:
    """Names and values of hyperparameters, in one line."""

    def shown(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name} = {shown(value)}" for name, value in params.items())
