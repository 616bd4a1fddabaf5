"""The evidence of each pair of arms, as the statistics take it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tuneoff.search.results.records import (
    FULL_VALIDATION,
    TEST,
    VALIDATION,
    Recommendation,
    StudyResults,
    runs_of,
)
from tuneoff.search.results.statistics.paired import SeedNoise, seed_noise
from tuneoff.search.study.judging import baselines_of, reference_of


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """The reference and one baseline, paired by repeat.

    Attributes:
        reference, baseline: names of the arms.
        repeats: the paired repeats that are in.
        unfinished: how many paired repeats are left out, as a pick may still change there, or is
            still to be trained in full.
        picks: keys of what the reference and the baseline recommend, for each paired repeat.
        errors: by key, the errors of its trainings, 0 to 1.
        measure: what they are: ``records.TEST`` where every pick of the study has one, else
            ``FULL_VALIDATION``, else ``VALIDATION``.
    """

    reference: str
    baseline: str
    repeats: tuple[int, ...]
    unfinished: int
    picks: tuple[tuple[str, str], ...]
    errors: Mapping[str, Sequence[float]]
    measure: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of all pairs.

    Attributes:
        pairs: the hand-tuned arm first; without baselines that share no repeat with the reference.
        noise: between seeds of one configuration, pooled over the picks of all arms; not known
            where nothing is trained in full.
    """

    pairs: tuple[PairEvidence, ...]
    noise: SeedNoise


def evidence_of(results: StudyResults, reference: str | None = None) -> Evidence:
    """What is known of every arm against the reference.

    Repeats with a pick that is not finished are left out. As long as a pair has none but these, no
    pair's are: all are compared on validation errors of the search.

    Args:
        results: the study.
        reference: an arm's name; by default that of ``judging.reference_of``.
    """
    if not results.arms:
        return Evidence((), SeedNoise(None, 0))
    reference = reference or reference_of(results.arms)
    found = {arm: _judged(results, arm) for arm in results.arms}
    finished = {arm: _finished(picks) for arm, picks in found.items()}
    shared = {
        baseline: common
        for baseline in baselines_of(results.arms, reference)
        if (common := found[reference].keys() & found[baseline].keys())
    }
    if all(finished[reference].keys() & finished[baseline].keys() for baseline in shared):
        found = finished
    measure, errors = _errors([pick for picks in found.values() for pick in picks.values()])
    pairs = []
    for baseline, there in shared.items():
        ours, theirs = found[reference], found[baseline]
        repeats = tuple(sorted(ours.keys() & theirs.keys()))
        both = tuple((ours[repeat].key, theirs[repeat].key) for repeat in repeats)
        left_out = len(there) - len(repeats)
        pairs.append(PairEvidence(reference, baseline, repeats, left_out, both, errors, measure))
    # Errors of search runs were chosen by, and may come of one seed: they are no noise of seeds.
    noise = SeedNoise(None, 0) if measure == VALIDATION else seed_noise(errors.values())
    return Evidence(tuple(pairs), noise)


def _finished(picks: Mapping[int, Recommendation]) -> dict[int, Recommendation]:
    return {repeat: pick for repeat, pick in picks.items() if pick.finished}


def _judged(results: StudyResults, arm: str) -> dict[int, Recommendation]:
    """What the arm recommends, by repeat; without what the bound on full training leaves out."""
    found = {run.repeat: run.recommendation for run in runs_of(results, arm)}
    return {repeat: pick for repeat, pick in found.items() if pick is not None and pick.judged}


def _errors(picks: Sequence[Recommendation]) -> tuple[str, dict[str, tuple[float, ...]]]:
    """The most telling measure that every pick has, and by key the errors."""
    kinds: tuple[tuple[str, Callable[[Recommendation], tuple[float, ...]]], ...] = (
        (TEST, lambda pick: pick.test_errors),
        (FULL_VALIDATION, lambda pick: pick.full_validation_errors),
    )
    for measure, kind in kinds:
        found = {pick.key: kind(pick) for pick in picks}
        if all(found.values()):
            return measure, found
    searched: dict[str, list[float]] = defaultdict(list)
    for pick in picks:
        searched[pick.key].append(pick.validation_error)
    return VALIDATION, {key: tuple(errors) for key, errors in searched.items()}
