"""Every arm against a reference, repeat by repeat: summaries, decisions, answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from tuneoff.search.errors import StudyError
from tuneoff.search.results.anytime import cost_of
from tuneoff.search.results.arm_names import ArmName, arm_names
from tuneoff.search.results.comparison import (
    ArmSummary,
    Checks,
    Comparison,
    MarginFrom,
    Pairing,
    PairwiseComparison,
)
from tuneoff.search.results.decision.look import Look, PairLook, look
from tuneoff.search.results.decision.pairs import PairEvidence, evidence_of
from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.nothing import diverged_arms, has_diverged, nothing_to_compare
from tuneoff.search.results.records import (
    VALIDATION,
    ArmRun,
    Recommendation,
    StudyResults,
    runs_of,
)
from tuneoff.search.results.remarks import remarks
from tuneoff.search.results.sentences import advice, answer, key
from tuneoff.search.results.statistics.curves import interquartile_mean
from tuneoff.search.results.statistics.forecast import Shared
from tuneoff.search.results.statistics.improvement import probability_of_improvement
from tuneoff.search.results.statistics.intervals import bootstrap_interval, mean_sd
from tuneoff.search.results.statistics.paired import PairedEstimate
from tuneoff.search.results.statistics.power import repeats_to_decide
from tuneoff.search.results.statistics.selection import (
    SelectionGap,
    overtuning,
    selection_gap,
)
from tuneoff.search.results.statistics.significance import (
    holm,
    sign_flip_p,
    wilcoxon_p,
)
from tuneoff.search.study.judging import reference_of


def compare(results: StudyResults, reference: str | None = None) -> Comparison:
    """Compare every arm with ``reference``, repeat by repeat.

    Args:
        results: the study as far as it has come.
        reference: an arm's name; by default that of ``judging.reference_of``.

    Raises:
        StudyError: there is no arm of that name.
    """
    if reference is not None and reference not in results.arms:
        raise StudyError(
            f"study {results.name!r} has no arm {reference!r}; it has: {', '.join(results.arms)}"
        )
    arms = tuple(_summary(results, arm) for arm in results.arms)
    if not results.arms:
        return Comparison(
            results.name, None, (), (), "The study has no arms.", False, results.metric
        )
    chosen = reference or reference_of(results.arms)
    pairs = () if all(map(has_diverged, arms)) else _compare_all(results, chosen)
    if pairs:
        verdict = pairs[0].sentence + diverged_arms(arms)
        return Comparison(
            results.name, chosen, arms, pairs, verdict, pairs[0].decided, results.metric
        )
    why = nothing_to_compare(results, arms, chosen)
    return Comparison(results.name, chosen, arms, (), why, False, results.metric)


def names_of(results: StudyResults) -> dict[str, ArmName]:
    """What each arm is called in a sentence."""
    return arm_names(results.arms, {arm: facts.description for arm, facts in results.facts.items()})


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
        middle_validation=_middle(list(validation.values())),
        middle_test=_middle(list(test.values())),
        gap=_gap(results, found),
        overtuning=_overtuning(runs),
        budget_seconds=results.budget_seconds and results.budget_seconds * len(runs),
    )


def _gap(results: StudyResults, found: Mapping[int, Recommendation]) -> SelectionGap | None:
    if results.full_epochs != results.trial_epochs:
        return None
    pairs = [
        (one.validation_error, one.full_validation_error)
        for one in found.values()
        if one.full_validation_error is not None
    ]
    return selection_gap([selected for selected, _ in pairs], [anew for _, anew in pairs])


def _overtuning(runs: Sequence[ArmRun]) -> float | None:
    known = [run.incumbent_tests for run in runs if len(run.incumbent_tests) > 1]
    lost = [found.absolute for tests in known if (found := overtuning(tests)) is not None]
    return math.fsum(lost) / len(lost) if lost else None


def _middle(values: Sequence[float]) -> float | None:
    return float(interquartile_mean(np.asarray(values))) if values else None


def _recommendations(results: StudyResults, arm: str) -> dict[int, Recommendation]:
    """What the arm recommends, by repeat; without the repeats that have no recommendation yet."""
    runs = runs_of(results, arm)
    return {run.repeat: run.recommendation for run in runs if run.recommendation is not None}


def _compare_all(results: StudyResults, reference: str) -> tuple[PairwiseComparison, ...]:
    """The reference against each baseline that shares a repeat with it, ``judging.HAND`` first."""
    repeats = max(2, results.repeats)
    rule = results.rule or Rule(repeats, repeats, None)
    evidence = evidence_of(results, reference)
    seen = look(evidence, rule)
    differences = [pair.estimate.differences for pair in seen.pairs]
    flips, ranks = [sign_flip_p(d) for d in differences], [wilcoxon_p(d) for d in differences]
    p_values = zip(flips, holm(flips), ranks, holm(ranks), strict=True)
    names = names_of(results)
    pairings = [
        _pairing(results, seen, pair, rule, p) for pair, p in zip(seen.pairs, p_values, strict=True)
    ]
    return tuple(_in_words(results, pairing, names) for pairing in pairings)


def _pairing(
    results: StudyResults,
    seen: Look,
    pair: PairLook,
    rule: Rule,
    p_values: tuple[float, float, float, float],
) -> Pairing:
    evidence, estimate = pair.evidence, pair.estimate
    low, high = (
        (None, None) if pair.interval is None else map(results.metric.possible, pair.interval)
    )
    differences = estimate.differences
    return Pairing(
        reference=evidence.reference,
        baseline=evidence.baseline,
        measure=evidence.measure,
        repeats=evidence.repeats,
        unfinished=evidence.unfinished,
        planned=results.repeats,
        trainings=_trainings(evidence),
        differences=differences,
        mean=estimate.mean,
        low=low,
        high=high,
        confidence=1 - pair.plan.alpha,
        level=pair.level,
        looks=len(pair.plan.repeats),
        last=pair.plan.repeats[-1],
        limit=rule.limit,
        quality=pair.outcome,
        margin=seen.margin,
        margin_from=_margin_from(seen, rule),
        standard_error=estimate.standard_error,
        degrees=estimate.degrees,
        repeats_sd=estimate.repeats_sd,
        seeds_sd=estimate.seeds.sd,
        same=sum(ours == theirs for ours, theirs in evidence.picks),
        wins=sum(d > 0 for d in differences),
        ties=sum(d == 0 for d in differences),
        losses=sum(d < 0 for d in differences),
        improvement=probability_of_improvement(differences),
        checks=Checks(
            *p_values,
            _equivalence(estimate, seen.margin),
            bootstrap_interval(differences, 1 - pair.plan.alpha),
        ),
        cost=cost_of(results, evidence.reference, evidence.baseline, evidence.repeats),
        more_repeats=_more_repeats(pair, seen.margin),
    )


def _margin_from(seen: Look, rule: Rule) -> MarginFrom:
    if rule.margin is not None:
        return "declared"
    return "none" if seen.margin is None else "noise between seeds"


def _trainings(evidence: PairEvidence) -> tuple[int, int]:
    if evidence.measure == VALIDATION:
        return 0, 0
    counts = [len(evidence.errors[key]) for pick in evidence.picks for key in pick]
    return min(counts), max(counts)


def _equivalence(estimate: PairedEstimate, margin: float | None) -> float | None:
    return None if margin is None else estimate.equivalence_p(margin)


def _more_repeats(pair: PairLook, margin: float | None) -> int | None:
    """How many more would decide with a power of 80%, if the true difference is the mean."""
    estimate = pair.estimate
    if pair.outcome != "undecided" or not estimate.spread or pair.interval is None:
        return None
    shared = None
    if estimate.shared_error:
        shared = Shared(estimate.shared_error, max(1, estimate.seeds.degrees))
    needed = repeats_to_decide(estimate.mean, estimate.spread, margin, pair.plan.alpha, shared)
    return None if needed is None else max(1, needed - estimate.repeats)


def _in_words(
    results: StudyResults, pairing: Pairing, names: Mapping[str, ArmName]
) -> PairwiseComparison:
    return PairwiseComparison(
        **{field.name: getattr(pairing, field.name) for field in fields(pairing)},
        sentence=answer(pairing, names, results.metric),
        key=key(pairing, names, results.metric),
        advice=advice(pairing),
        notes=remarks(results, pairing, names),
    )
