"""Several studies side by side: one row for each, and one for all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tuneoff.metric import ERROR, Metric
from tuneoff.search.errors import StudyError
from tuneoff.search.results.compare import compare, names_of
from tuneoff.search.results.comparison import PairwiseComparison
from tuneoff.search.results.decision.look import outcome_of
from tuneoff.search.results.records import FULL_VALIDATION, TEST, VALIDATION
from tuneoff.search.results.side_by_side.records import (
    Entry,
    Member,
    PooledRow,
    SideBySide,
    StudyRow,
)
from tuneoff.search.results.side_by_side.sentences import (
    RULE,
    answer,
    by_study,
    notes,
    pooled_sentence,
    spread_sentence,
)
from tuneoff.search.results.side_by_side.settings import compare_settings
from tuneoff.search.results.statistics.levels import ALPHA
from tuneoff.search.results.statistics.pooling import Pooled, pool
from tuneoff.search.study.judging import baselines_of, reference_of


def side_by_side(members: Sequence[Member], reference: str | None = None) -> SideBySide:
    """Compare the same question over several studies.

    Args:
        members: the studies, two at least, in the order in which they are shown.
        reference: the arm that the others are compared with; by default that of
            ``judging.reference_of`` among the arms that all of them have, or else that any has.

    Raises:
        StudyError: no study has an arm of that name.
    """
    every = list(dict.fromkeys(arm for member in members for arm in member.spec.arms))
    if reference is not None and reference not in every:
        raise StudyError(f"no study has an arm {reference!r}; there are: {', '.join(every)}")
    in_all = [arm for arm in every if all(arm in member.spec.arms for member in members)]
    chosen = reference or reference_of(in_all or every)
    members = [_against(member, chosen) for member in members]
    baselines = tuple(baselines_of(every, chosen))
    settings = compare_settings(members)
    entries = [[_entry(member, chosen, baseline) for baseline in baselines] for member in members]
    pooled = []
    for column, baseline in enumerate(baselines):
        mine, row = _pool(
            members, baseline, [of_study[column] for of_study in entries], len(baselines)
        )
        pooled.append(row)
        for of_study, entry in zip(entries, mine, strict=True):
            of_study[column] = entry
    rows = tuple(
        StudyRow(member.spec.name, values, others, tuple(of_study))
        for member, values, others, of_study in zip(
            members, settings.values, settings.others, entries, strict=True
        )
    )
    names = names_of(next(m.results for m in members if chosen in m.spec.arms))
    for member in members:
        names = names_of(member.results) | names
    worded = [
        replace(
            row,
            sentence=pooled_sentence(row, rows, chosen, names),
            spread=spread_sentence(row),
        )
        for row in pooled
    ]
    found = SideBySide(
        reference=chosen,
        baselines=baselines,
        columns=settings.columns,
        shared=settings.shared,
        rows=rows,
        pooled=tuple(worded),
        answer="",
        by_study="",
        notes=(),
        rule=RULE,
    )
    return replace(
        found, answer=answer(found), by_study=by_study(found), notes=notes(found, members)
    )


def _against(member: Member, reference: str) -> Member:
    """The study with every arm compared with this one, if it has that arm."""
    if reference not in member.spec.arms or member.comparison.reference == reference:
        return member
    return replace(member, comparison=compare(member.results, reference))


def _entry(member: Member, reference: str, baseline: str) -> Entry:
    for arm in (reference, baseline):
        if arm not in member.spec.arms:
            return Entry(baseline, missing=f"It has no arm {arm}.")
    pair = next((p for p in member.comparison.pairs if p.baseline == baseline), None)
    if pair is None:
        if not member.comparison.pairs:
            return Entry(baseline, missing=member.comparison.verdict)
        return Entry(baseline, missing=f"No repeat of {reference} and {baseline} has finished yet.")
    return Entry(
        baseline=baseline,
        quality=pair.quality,
        measure=pair.measure,
        repeats=len(pair.repeats),
        planned=pair.planned,
        looks=pair.looks,
        mean=pair.mean,
        low=pair.low,
        high=pair.high,
        standard_error=pair.standard_error,
        margin=pair.margin,
        margin_from=pair.margin_from,
        cost=pair.cost,
        left_out=_no_noise(pair),
        metric=member.comparison.metric,
    )


def _no_noise(pair: PairwiseComparison) -> str:
    if pair.same == len(pair.repeats):
        return "both arms recommend the same settings in every repeat"
    if pair.standard_error is None:
        return "nothing is known of its noise"
    return "" if pair.standard_error > 0 else "all its differences are equal"


def _pool(
    members: Sequence[Member], baseline: str, entries: Sequence[Entry], baselines: int
) -> tuple[list[Entry], PooledRow]:
    """The entries with their weights, and their row."""
    kinds = {entry.metric.kind: entry.metric for entry in entries if not entry.missing}
    metric = next(iter(kinds.values()), ERROR)
    there = [one.measure for one in entries if not one.missing and one.metric.kind == metric.kind]
    measure = next((kind for kind in (TEST, FULL_VALIDATION, VALIDATION) if kind in there), "")
    found = [
        replace(entry, left_out=f"it compares the {entry.metric.in_words(entry.measure)}")
        if not entry.missing and (entry.measure != measure or entry.metric.kind != metric.kind)
        else entry
        for entry in entries
    ]
    able = [i for i, one in enumerate(found) if not one.missing and not one.left_out]
    names = tuple(members[i].spec.name for i in able)
    confidence = 1 - ALPHA / baselines
    if len(able) < 2:
        nothing = PooledRow(baseline, names, measure, None, None, None, None, confidence)
        return found, replace(nothing, metric=metric)
    pooled = pool([found[i].mean or 0.0 for i in able], [_error(found[i]) for i in able])
    for i, weight in zip(able, pooled.weights, strict=True):
        found[i] = replace(found[i], weight=weight)
    row = _row(baseline, names, measure, confidence, pooled, _margin(found, able), metric)
    return found, row


def _row(
    baseline: str,
    names: tuple[str, ...],
    measure: str,
    confidence: float,
    pooled: Pooled,
    margin: float | None,
    metric: Metric,
) -> PooledRow:
    interval = pooled.interval(confidence)
    low, high = map(metric.possible, interval)
    predicted = pooled.prediction()
    ends = (
        (None, None)
        if predicted is None
        else (metric.possible(predicted[0]), metric.possible(predicted[1]))
    )
    return PooledRow(
        baseline=baseline,
        studies=names,
        measure=measure,
        quality=outcome_of(interval, margin),
        mean=pooled.mean,
        low=low,
        high=high,
        confidence=confidence,
        standard_error=pooled.standard_error,
        tau=pooled.tau,
        tau_low=pooled.tau_low,
        tau_high=metric.possible(pooled.tau_high),
        predicted_low=ends[0],
        predicted_high=ends[1],
        margin=margin,
        metric=metric,
    )


def _error(entry: Entry) -> float:
    assert entry.standard_error is not None  # else it is left out
    return entry.standard_error


def _margin(entries: Sequence[Entry], able: Sequence[int]) -> float | None:
    """What all of them declare; noise between seeds is of one study, and no wish of anybody."""
    declared = {entries[i].margin for i in able if entries[i].margin_from == "declared"}
    every = all(entries[i].margin_from == "declared" for i in able)
    return declared.pop() if every and len(declared) == 1 else None
