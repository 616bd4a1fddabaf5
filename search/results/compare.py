"""Every arm against a reference, repeat by repeat: summaries, paired tests, verdict."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from tuneoff.search.errors import StudyError
from tuneoff.search.results.anytime import speed_of
from tuneoff.search.results.records import (
    TEST,
    VALIDATION,
    ArmSummary,
    Comparison,
    PairedErrors,
    PairedTest,
    PairwiseComparison,
    Recommendation,
    StudyResults,
    runs_of,
)
from tuneoff.search.results.statistics import bootstrap_interval, holm, mean_sd, wilcoxon_p
from tuneoff.search.results.verdict import judged, nothing_to_compare

REFERENCE: Final = "bayes"  # the arm that the others are compared with, if there is such an arm
HAND: Final = "hand"  # the baseline that the verdict is about, if there is such an arm


def compare(results: StudyResults, reference: str | None = None) -> Comparison:
    """Compare every arm with ``reference``, repeat by repeat.

    Args:
        results: the study as far as it has come.
        reference: an arm's name; by default ``REFERENCE`` if there is such an arm, else the first.

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
    chosen = reference or (REFERENCE if REFERENCE in results.arms else results.arms[0])
    pairs = _compare_all(results, chosen)
    if pairs:
        return Comparison(results.name, chosen, arms, pairs, pairs[0].sentence, pairs[0].thin)
    return Comparison(results.name, chosen, arms, (), nothing_to_compare(arms, chosen), True)


def _summary(results: StudyResults, arm: str) -> ArmSummary:
    runs, found = runs_of(results, arm), _recommendations(results, arm)
    states: Counter[str] = Counter()
    for run in runs:
        states.update(run.states)
    validation = {repeat: one.validation_error for repeat, one in found.items()}
    test = {r: one.test_error for r, one in found.items() if one.test_error is not None}
    mean_validation, sd_validation = mean_sd(list(validation.values()))
    mean_test, sd_test = mean_sd(list(test.values()))
    return ArmSummary(
        arm=arm,
        repeats=len(found),
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


def _recommendations(results: StudyResults, arm: str) -> dict[int, Recommendation]:
    """What the arm recommends, by repeat; without the repeats that have no recommendation yet."""
    runs = runs_of(results, arm)
    return {run.repeat: run.recommendation for run in runs if run.recommendation is not None}


def _compare_all(results: StudyResults, reference: str) -> tuple[PairwiseComparison, ...]:
    """The reference against each baseline that shares a repeat with it, ``HAND`` first."""
    baselines = [arm for arm in results.arms if arm != reference]
    baselines.sort(key=lambda arm: arm != HAND)  # stable: the others stay in the study's order
    every = [errors for arm in baselines if (errors := _paired_errors(results, reference, arm))]
    p_values = [wilcoxon_p(errors.differences) for errors in every]
    tests = [
        _test(results, reference, errors, p, p_holm)
        for errors, p, p_holm in zip(every, p_values, holm(p_values), strict=True)
    ]
    return tuple(
        judged(results, errors, test, len(every)) for errors, test in zip(every, tests, strict=True)
    )


def _paired_errors(results: StudyResults, reference: str, baseline: str) -> PairedErrors | None:
    """The errors of both arms in the repeats that they share; None if they share none.

    Test errors if every recommendation has one, else validation errors for all.
    """
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


def _test(
    results: StudyResults, reference: str, errors: PairedErrors, p: float, p_holm: float
) -> PairedTest:
    differences = errors.differences
    mean, _ = mean_sd(differences)
    assert mean is not None  # there is one difference at least
    low, high = bootstrap_interval(differences) or (None, None)
    return PairedTest(
        reference=reference,
        baseline=errors.baseline,
        measure=errors.measure,
        repeats=errors.repeats,
        differences=differences,
        mean=mean,
        low=low,
        high=high,
        p=p,
        p_holm=p_holm,
        wins=sum(d > 0 for d in differences),
        ties=sum(d == 0 for d in differences),
        losses=sum(d < 0 for d in differences),
        speed=speed_of(results, reference, errors.baseline, errors.repeats),
    )
