"""Who won, by how much, and how sure we may be: pure statistics on what the arms did."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import replace
from typing import Final

from tuneoff.search.errors import StudyError
from tuneoff.search.results.anytime import speed_of
from tuneoff.search.results.records import (
    TEST,
    VALIDATION,
    ArmSummary,
    Comparison,
    PairedErrors,
    PairwiseComparison,
    Recommendation,
    StudyResults,
    runs_of,
)
from tuneoff.search.results.statistics import bootstrap_interval, holm, mean_sd, wilcoxon_p
from tuneoff.search.results.verdict import (
    cost_of,
    doubts_of,
    notes_of,
    nothing_to_compare,
    sentence_of,
)

HAND: Final = "hand"  # the arm that a verdict leads with, if it is there


def compare(results: StudyResults, reference: str | None = None) -> Comparison:
    """Compare every arm with ``reference``, repeat by repeat.

    Args:
        results: the study as far as it has come.
        reference: an arm's name; by default "bayes" if there is such an arm, else the first.

    Raises:
        StudyError: there is no arm of that name.
    """
    if reference is not None and reference not in results.arms:
        raise StudyError(
            f"study {results.name!r} has no arm {reference!r}; it has: {', '.join(results.arms)}"
        )
    arms = tuple(_summary(results, arm) for arm in results.arms)
    if not results.arms:
        return Comparison(results.name, None, (), (), "The study has no arms.", True)
    chosen = reference or ("bayes" if "bayes" in results.arms else results.arms[0])
    pairs = _compare_all(results, chosen)
    if pairs:
        return Comparison(results.name, chosen, arms, pairs, pairs[0].sentence, pairs[0].thin)
    return Comparison(results.name, chosen, arms, (), nothing_to_compare(arms, chosen), True)


def _recommendations(results: StudyResults, arm: str) -> dict[int, Recommendation]:
    return {
        run.repeat: run.recommendation
        for run in runs_of(results, arm)
        if run.recommendation is not None
    }


def _summary(results: StudyResults, arm: str) -> ArmSummary:
    runs, picks = runs_of(results, arm), _recommendations(results, arm)
    states: Counter[str] = Counter()
    for run in runs:
        states.update(run.states)
    validation = {repeat: pick.validation_error for repeat, pick in picks.items()}
    test = {r: pick.test_error for r, pick in picks.items() if pick.test_error is not None}
    mean_validation, sd_validation = mean_sd(list(validation.values()))
    mean_test, sd_test = mean_sd(list(test.values()))
    return ArmSummary(
        arm=arm,
        repeats=len(picks),
        states=dict(sorted(states.items())),
        spent=sum(run.spent for run in runs),
        budget=sum(run.budget for run in runs),
        seconds=math.fsum(run.seconds for run in runs),
        best_validation=min(validation.values(), default=None),
        mean_validation=mean_validation,
        sd_validation=sd_validation,
        validation_errors=tuple(validation.get(r) for r in range(results.repeats)),
        test_errors=tuple(test.get(r) for r in range(results.repeats)),
        mean_test=mean_test,
        sd_test=sd_test,
    )


def _pair(results: StudyResults, reference: str, baseline: str) -> PairedErrors | None:
    ours, theirs = _recommendations(results, reference), _recommendations(results, baseline)
    repeats = tuple(sorted(ours.keys() & theirs.keys()))
    if not repeats:
        return None
    our_tests = tuple(e for r in repeats if (e := ours[r].test_error) is not None)
    their_tests = tuple(e for r in repeats if (e := theirs[r].test_error) is not None)
    if len(our_tests) == len(their_tests) == len(repeats):
        return PairedErrors(baseline, TEST, repeats, our_tests, their_tests)
    return PairedErrors(
        baseline,
        VALIDATION,
        repeats,
        tuple(ours[r].validation_error for r in repeats),
        tuple(theirs[r].validation_error for r in repeats),
    )


def _compare_all(results: StudyResults, reference: str) -> tuple[PairwiseComparison, ...]:
    baselines = [arm for arm in results.arms if arm != reference]
    baselines.sort(key=lambda arm: arm != HAND)  # stable: the hand-tuned arm first
    pairs = [pair for baseline in baselines if (pair := _pair(results, reference, baseline))]
    p_values = [wilcoxon_p(pair.differences) for pair in pairs]
    return tuple(
        _compare_pair(results, reference, pair, p, adjusted, len(pairs))
        for pair, p, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    )


def _compare_pair(
    results: StudyResults,
    reference: str,
    paired: PairedErrors,
    p: float,
    p_holm: float,
    baselines: int,
) -> PairwiseComparison:
    differences = paired.differences
    interval = bootstrap_interval(differences)
    speed = speed_of(results, reference, paired.baseline, paired.repeats)
    blank = PairwiseComparison(
        reference=reference,
        baseline=paired.baseline,
        measure=paired.measure,
        repeats=paired.repeats,
        differences=differences,
        mean=statistics.fmean(differences),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        p=p,
        p_holm=p_holm,
        wins=sum(d > 0 for d in differences),
        ties=sum(d == 0 for d in differences),
        losses=sum(d < 0 for d in differences),
        speed=speed,
        doubts=(),
        notes=(),
        sentence="",
        cost=cost_of(reference, paired.baseline, speed),
    )
    judged = replace(
        blank,
        doubts=doubts_of(results, blank, baselines),
        notes=notes_of(results, reference, paired),
    )
    return replace(judged, sentence=sentence_of(judged, baselines))
