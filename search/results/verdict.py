"""A comparison in plain words: the outcome, its evidence, and what forbids a claim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tuneoff.search.results.records import (
    VALIDATION,
    ArmSummary,
    PairedErrors,
    PairwiseComparison,
    Speed,
    StudyResults,
    runs_of,
)
from tuneoff.search.results.statistics import ALPHA, pairs_needed, repeats_to_show


def doubts_of(results: StudyResults, pair: PairwiseComparison, baselines: int) -> tuple[str, ...]:
    """Why ``pair`` carries no claim, worst first; empty if it carries one."""
    count, needed = len(pair.repeats), pairs_needed(baselines)
    doubts = []
    if count < needed:
        doubts.append(
            f"{many(count, 'paired repeat')} cannot bring p below {ALPHA} against"
            f" {many(baselines, 'baseline')}, {needed} could"
        )
    elif pair.p_holm >= ALPHA or pair.low is None or pair.high is None or _spans_zero(pair):
        doubts.append(_noise(pair, baselines))
    if count < results.repeats:
        doubts.append(
            f"only {count} of {results.repeats} repeats have picks on both sides,"
            " and a test that is read before all are in finds too much"
        )
    if pair.measure == VALIDATION:
        doubts.append(
            "not every pick has a test error yet, and validation errors favour whoever tried"
            " more; train the picks in full to have them"
        )
    return tuple(doubts)


def _spans_zero(pair: PairwiseComparison) -> bool:
    return pair.low is None or pair.high is None or pair.low <= 0 <= pair.high


def _noise(pair: PairwiseComparison, baselines: int) -> str:
    sd = statistics.stdev(pair.differences)
    repeats = repeats_to_show(pair.mean, sd, baselines)
    if repeats is None:
        return "the difference is too small for any sensible number of repeats to tell from none"
    repeats = max(repeats, len(pair.repeats) + 1)
    return (
        f"it cannot be told from luck; a true difference of this size would take about"
        f" {repeats} repeats"
    )


def notes_of(results: StudyResults, reference: str, paired: PairedErrors) -> tuple[str, ...]:
    notes = []
    for arm, errors in (
        (reference, paired.reference_errors),
        (paired.baseline, paired.baseline_errors),
    ):
        guessing = sum(error >= results.chance_error for error in errors)
        if guessing:
            notes.append(
                f"{arm}'s pick is no better than guessing in {many(guessing, 'repeat')},"
                " which weighs on the mean difference"
            )
    ours, theirs = (
        sum(r.spent for r in runs_of(results, arm) if r.repeat in paired.repeats)
        for arm in (reference, paired.baseline)
    )
    # 10%: an arm may end a few epochs under its budget when the next trial does not fit.
    if abs(ours - theirs) > 0.1 * max(ours, theirs):
        count = len(paired.repeats)
        notes.append(
            f"the two did not spend the same: {ours / count:,.0f} epochs a repeat for {reference},"
            f" {theirs / count:,.0f} for {paired.baseline}"
        )
    busy = sum(
        run.states.get(state, 0)
        for run in results.runs
        if run.arm in (reference, paired.baseline)
        for state in ("running", "waiting", "paused")
    )
    if busy:
        notes.append(f"{many(busy, 'trial')} of the two arms still to be finished")
    return tuple(notes)


def cost_of(reference: str, baseline: str, speed: Speed | None) -> str:
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


def sentence_of(pair: PairwiseComparison, baselines: int) -> str:
    size = f"{100 * abs(pair.mean):.2f} points of {pair.measure}"
    evidence = _evidence(pair, baselines)
    ours, theirs = pair.reference, pair.baseline
    if not pair.thin:
        outcome = f"{ours} beats" if pair.mean > 0 else f"{ours} loses to"
        cost = f"; {pair.cost}" if pair.cost else ""
        return f"{outcome} {theirs} by {size} ({evidence}){cost}."
    if pair.mean == 0:
        outcome = f"{ours} and {theirs} are level on {pair.measure}"
    else:
        outcome = f"{ours} {'leads' if pair.mean > 0 else 'trails'} {theirs} by {size}"
    return f"No verdict yet: {outcome} ({evidence}), but the evidence is thin: {pair.doubts[0]}."


def _evidence(pair: PairwiseComparison, baselines: int) -> str:
    """Interval, p and count, turned so that they agree with "by X points" in sign."""
    parts = []
    if pair.low is not None and pair.high is not None:
        low, high = (pair.low, pair.high) if pair.mean >= 0 else (-pair.high, -pair.low)
        parts.append(f"95% interval {100 * low:.2f} to {100 * high:.2f}")
    after = " after Holm's correction" if baselines > 1 else ""
    parts.append(f"p {p_text(pair.p_holm)}{after}")
    count = f"better in {pair.wins}" if pair.mean >= 0 else f"worse in {pair.losses}"
    parts.append(f"{count} of {many(len(pair.repeats), 'repeat')}")
    return ", ".join(parts)


def p_text(p: float) -> str:
    """A p-value with its relation sign: "= 0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def nothing_to_compare(arms: Sequence[ArmSummary], reference: str) -> str:
    if not any(arm.spent or arm.repeats for arm in arms):
        return "Nothing has been run yet."
    if len(arms) == 1:
        return f"No verdict: {reference} is the study's only arm, there is nothing to compare."
    if not next(arm for arm in arms if arm.arm == reference).repeats:
        return f"No verdict yet: {reference} has no finished trial."
    return f"No verdict yet: no other arm has a finished trial in a repeat that {reference} has."
