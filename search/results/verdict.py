"""A comparison in plain words: the outcome, its evidence, and what forbids a claim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import fields

from tuneoff.search.results.records import (
    VALIDATION,
    ArmSummary,
    PairedErrors,
    PairedTest,
    PairwiseComparison,
    Speed,
    StudyResults,
    runs_of,
)
from tuneoff.search.results.statistics import ALPHA, pairs_needed, repeats_to_show


def judged(
    results: StudyResults, errors: PairedErrors, test: PairedTest, baselines: int
) -> PairwiseComparison:
    """A test with its outcome in words, and with all that speaks against a claim.

    Args:
        results: the study.
        errors: what was tested.
        test: its statistics.
        baselines: how many baselines the reference is compared with.
    """
    doubts = _doubts(results, test, baselines)
    cost = _cost(test.reference, test.baseline, test.speed)
    return PairwiseComparison(
        **{field.name: getattr(test, field.name) for field in fields(test)},
        doubts=doubts,
        notes=_notes(results, test.reference, errors),
        sentence=_sentence(test, baselines, doubts, cost),
        cost=cost,
    )


def nothing_to_compare(arms: Sequence[ArmSummary], reference: str) -> str:
    """Why there is no comparison, in one sentence."""
    if not any(arm.spent or arm.repeats for arm in arms):
        return "Nothing has been run yet."
    if len(arms) == 1:
        return f"No verdict: {reference} is the study's only arm; there is nothing to compare."
    if not next(arm for arm in arms if arm.arm == reference).repeats:
        return f"No verdict yet: {reference} has no finished trial."
    return f"No verdict yet: no other arm has a finished trial in a repeat that {reference} has."


def p_value(p: float) -> str:
    """A p-value as text: "0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def counted(count: int, noun: str) -> str:
    """A number of things: "1 repeat", "1,200 repeats"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _doubts(results: StudyResults, test: PairedTest, baselines: int) -> tuple[str, ...]:
    """Why no claim can be made, worst first; empty if one can be."""
    count, needed = len(test.repeats), pairs_needed(baselines)
    doubts = []
    if count < needed:
        doubts.append(
            f"{counted(count, 'paired repeat')} cannot bring p below {ALPHA} against"
            f" {counted(baselines, 'baseline')}, {needed} could"
        )
    elif test.p_holm >= ALPHA or not test.excludes_zero:
        doubts.append(_noise(test, baselines))
    if count < results.repeats:
        doubts.append(
            f"only {count} of {results.repeats} repeats have a recommendation from both arms, and"
            " whoever tests before all repeats are in finds differences too often"
        )
    if test.measure == VALIDATION:
        doubts.append(
            "not every recommendation has a test error yet, and validation errors favour the arm"
            " that tried more configurations; full training of the recommendations measures them"
        )
    return tuple(doubts)


def _noise(test: PairedTest, baselines: int) -> str:
    sd = statistics.stdev(test.differences)
    repeats = repeats_to_show(test.mean, sd, baselines)
    if repeats is None:
        return "the difference is too small for any sensible number of repeats to tell from none"
    repeats = max(repeats, len(test.repeats) + 1)
    return (
        "it cannot be told from luck; to show a true difference of this size would take"
        f" about {repeats} repeats"
    )


def _notes(results: StudyResults, reference: str, errors: PairedErrors) -> tuple[str, ...]:
    """What a reader must know beside the claim."""
    notes = []
    for arm, found in (
        (reference, errors.reference_errors),
        (errors.baseline, errors.baseline_errors),
    ):
        guessing = sum(error >= results.chance_error for error in found)
        if guessing:
            notes.append(
                f"{arm}'s recommendation is no better than guessing in"
                f" {counted(guessing, 'repeat')}, which weighs on the mean difference"
            )
    ours, theirs = (
        sum(r.spent for r in runs_of(results, arm) if r.repeat in errors.repeats)
        for arm in (reference, errors.baseline)
    )
    # 10%: an arm may end a few epochs under its budget when the next trial does not fit.
    if abs(ours - theirs) > 0.1 * max(ours, theirs):
        count = len(errors.repeats)
        notes.append(
            f"the two did not spend the same: {ours / count:,.0f} epochs a repeat for {reference},"
            f" {theirs / count:,.0f} for {errors.baseline}"
        )
    busy = sum(
        run.states.get(state, 0)
        for run in results.runs
        if run.arm in (reference, errors.baseline)
        for state in ("running", "waiting", "paused")
    )
    if busy:
        are = "is" if busy == 1 else "are"
        notes.append(f"{counted(busy, 'trial')} of the two arms {are} not finished yet")
    return tuple(notes)


def _cost(reference: str, baseline: str, speed: Speed | None) -> str:
    if speed is None:
        return ""
    if speed.reference_epochs is None or speed.ratio is None:
        return f"{reference} never reached {baseline}'s final validation error"
    ratio = speed.ratio
    factor = f"{ratio:.1f} times as fast" if ratio >= 1 else f"{1 / ratio:.1f} times as slow"
    if 1 / 1.05 < ratio < 1.05:
        factor = "as fast"
    return (
        f"{reference} reached {baseline}'s final validation error after"
        f" {speed.reference_epochs:,} epochs, {baseline} after {speed.baseline_epochs:,}: {factor}"
    )


def _sentence(test: PairedTest, baselines: int, doubts: Sequence[str], cost: str) -> str:
    size = f"{100 * abs(test.mean):.2f} points of {test.measure}"
    evidence = _evidence(test, baselines)
    ours, theirs = test.reference, test.baseline
    if not doubts:
        outcome = f"{ours} beats" if test.mean > 0 else f"{ours} loses to"
        return f"{outcome} {theirs} by {size} ({evidence}){f'; {cost}' if cost else ''}."
    if test.mean == 0:
        outcome = f"{ours} and {theirs} are level on {test.measure}"
    else:
        outcome = f"{ours} {'leads' if test.mean > 0 else 'trails'} {theirs} by {size}"
    return f"No verdict yet: {outcome} ({evidence}), but the evidence is thin: {doubts[0]}."


def _evidence(test: PairedTest, baselines: int) -> str:
    """Interval, p and count, with the sign of "by so many points"."""
    parts = []
    if test.low is not None and test.high is not None:
        low, high = (test.low, test.high) if test.mean >= 0 else (-test.high, -test.low)
        parts.append(f"95% interval {100 * low:.2f} to {100 * high:.2f}")
    after = " after Holm's correction" if baselines > 1 else ""
    p = p_value(test.p_holm)
    parts.append(f"p {p if p.startswith('<') else f'= {p}'}{after}")
    count = f"better in {test.wins}" if test.mean >= 0 else f"worse in {test.losses}"
    parts.append(f"{count} of {counted(len(test.repeats), 'repeat')}")
    return ", ".join(parts)
