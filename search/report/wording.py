"""The report's sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.results.comparison import Comparison, PairwiseComparison
from tuneoff.search.results.early_stop import early_stop_note
from tuneoff.search.results.numbers import duration
from tuneoff.search.results.progress import beyond_budget
from tuneoff.search.results.records import StudyResults, runs_of
from tuneoff.search.results.remarks import timed_sentence
from tuneoff.search.results.sharing import sharing_sentence
from tuneoff.search.results.unjudged import unjudged_sentence

Topic = Literal["arms", "picks", "confirmed", "statistics", "anytime", "predictions"]


def title(results: StudyResults) -> str:
    """The report's title."""
    return f"{results.name}: which arm finds better hyperparameters?"


def outcome(comparison: Comparison) -> list[str]:
    """What follows the verdict: the other comparisons, and what the numbers in it are."""
    if not comparison.pairs:
        return []
    return [*(pair.sentence for pair in comparison.pairs[1:]), *keys(comparison)]


def keys(comparison: Comparison) -> list[str]:
    """What the numbers in the sentences are: what is the same for all pairs is said once."""
    said = dict.fromkeys(pair.key for pair in comparison.pairs)
    if len(said) < 2:
        return list(said)
    firsts, rests = zip(*(pair.key.split(". ", 1) for pair in comparison.pairs), strict=True)
    if len(set(rests)) > 1:
        return [_against([pair.baseline], pair.key) for pair in comparison.pairs]
    of: dict[str, list[str]] = {}
    for pair, first in zip(comparison.pairs, firsts, strict=True):
        of.setdefault(first, []).append(pair.baseline)
    return [*(f"{_against(baselines, first)}." for first, baselines in of.items()), rests[0]]


def _against(baselines: Sequence[str], text: str) -> str:
    return f"Against {' and '.join(baselines)}, {text[0].lower()}{text[1:]}"


def caveats(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Title and items of each box of caveats; only those that have items."""
    boxes = (
        ("What it would take to decide", [(p, p.advice) for p in comparison.pairs]),
        ("Keep in mind", [(p, p.notes) for p in comparison.pairs]),
    )
    found = [(heading, _by_pair(items)) for heading, items in boxes]
    return [(heading, items) for heading, items in found if items]


def _by_pair(items: Sequence[tuple[PairwiseComparison, Sequence[str]]]) -> list[str]:
    """Each sentence once; with the baseline before it unless it is said of all of several pairs."""
    of: dict[str, list[str]] = {}
    for pair, sentences in items:
        for sentence in sentences:
            of.setdefault(sentence, []).append(pair.baseline)
    return [
        sentence
        if len(baselines) == len(items)
        else f"Against {' and '.join(baselines)}: {sentence}"
        for sentence, baselines in of.items()
    ]


def how_to_read(data: ReportData) -> list[str]:
    """What a reader must know to understand the figures and tables."""
    return [sentence for sentences in reading_notes(data).values() for sentence in sentences]


def reading_notes(data: ReportData) -> dict[Topic, list[str]]:
    """The same by what they help to read."""
    results, metric = data.results, data.results.metric
    first, second = "baseline", "reference"
    if metric.maximised:
        first, second = second, first
    budgets = {run.budget for run in results.runs}
    budget = f"the same budget of {budgets.pop():,} epochs" if len(budgets) == 1 else "a budget"
    currency, all_counts = "epochs", "Every epoch of training counts, also those of"
    if results.budget_seconds is not None:
        budget = f"the same budget of {duration(results.budget_seconds)} of training"
        currency, all_counts = "training time", "Every epoch that ended counts, also those of"
    unjudged = unjudged_sentence(results)
    return {
        "arms": [
            f"Each arm has {budget} in each repeat. {all_counts}"
            " pruned, diverged and lost attempts.",
            *timed_sentence(results),
            *(
                sentence
                for run in results.runs
                for sentence in beyond_budget(f"{run.arm}/{run.repeat}", run.spent, run.budget)
            ),
            *(
                f"{note}."
                for arm in results.arms
                if (note := early_stop_note(arm, runs_of(results, arm), results.metric))
            ),
            "All arms search the same space with the same training recipe and the same split of the"
            " data. The same repeat of different arms has the same seeds, so differences are taken"
            " within repeats.",
            *([sharing] if (sharing := sharing_sentence(results)) else ()),
            *([unjudged] if unjudged else ()),
            f"A full search run is {counted(results.trial_epochs, 'epoch')}. A run that diverges"
            f" counts as guessing, {_guessing(results)}.",
            metric.in_words(
                f"What it costs: the share of the baseline's {currency} after which the mean"
                " incumbent"
                ' of the reference has the baseline\'s final validation error. "Never" is: not'
                " within its own budget; such resamples of the repeats count, so that an interval"
                " may end in it."
            ),
        ],
        "picks": [
            metric.in_words(_PICKS),
        ],
        "confirmed": [metric.in_words(_EXPECTED)] if results.confirmed else [],
        "statistics": [
            f"Differences are the {first}'s {metric.bare} minus the {second}'s, everywhere:"
            " positive means that the reference is better.",
            f"{_LEVEL} Its interval covers the luck of searching (between repeats) and of training"
            " (between seeds), but not the choice of images or of the data set.",
            "One interval decides: above zero the reference is better, below zero worse; within the"
            " smallest difference of interest on both sides the two are equally good, even if it"
            " leaves out zero; anything else is undecided. P-values stand beside that as checks: of"
            " the test that flips the signs of the differences, and of Wilcoxon's signed ranks,"
            " each with Holm's correction for several baselines.",
        ],
        "anytime": [
            "Before the first full run of an arm, its anytime curve shows the best configuration at"
            " the deepest epoch reached so far. A run that diverged is the incumbent only while"
            " there is no other.",
        ],
        "predictions": [metric.in_words(_PREDICTIONS)]
        if any(prediction.coverage for prediction in data.predictions)
        else [],
    }


def _guessing(results: StudyResults) -> str:
    """What a run that diverged counts as."""
    metric, chance = results.metric, results.chance_error
    if metric.is_error:
        return f"an error of {metric.number(chance):.1f}%"
    return f"{metric.bare} {metric.text(chance)}"


_PICKS: Final = (
    "Arms choose by validation error alone. The configuration that an arm recommends is then"
    " trained in full, with several seeds, and each of these models is measured once on the test"
    " split: their mean is the recommendation's error. Equal recommendations share them. The"
    " validation error of a recommendation is the lowest of many, and therefore too good; its test"
    " error is not."
)

_LEVEL: Final = (
    "The interval of a difference is Student's t, from two levels of noise; 95% where there is one"
    " baseline, so much more for each of several that all hold together with 95%, and wider where"
    " the study was looked at more than once."
)

_EXPECTED: Final = (
    "The study's configuration is the first of those trained in full: it is exported, and the"
    " ensemble is trained with it. They are ordered by the error that their next training is"
    " expected to have, because the lowest of many single errors is partly luck: the mean of their"
    " trainings is drawn towards the other configurations', the more so the fewer trainings there"
    " are and the more these scatter. The share of runs that diverged counts as guessing."
)

_PREDICTIONS: Final = (
    "A prediction interval counts as having held if the error after the full run lay within it."
    " Each prediction is made again from what had been trained when its run was paused, by the"
    " times of the attempts, and includes the noise of a single run. Left out are pauses before the"
    " policy first used its model, and runs that never came to their end. A run that diverged"
    " counts with the error of guessing."
)
