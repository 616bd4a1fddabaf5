"""What several studies say together, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tuneoff.metric import ERROR, Metric
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.numbers import level_name, share
from tuneoff.search.results.records import VALIDATION
from tuneoff.search.results.side_by_side.records import (
    Entry,
    Member,
    PooledRow,
    SideBySide,
    StudyRow,
)

RULE: Final = (
    "Each study counts by its own mean difference and the standard error of that: studies with less"
    " noise weigh more, but the more the studies differ from each other, the more equal the weights"
    " become.",
    "The studies are taken as a sample of studies like them, whose true differences scatter around"
    " a mean with a standard deviation tau: a random-effects meta-analysis. Tau is estimated by"
    " restricted maximum likelihood (REML), its interval by the Q-profile method.",
    "The pooled interval is that of Hartung, Knapp, Sidik and Jonkman, with Student's t for the"
    " number of studies less one, and never narrower than if the studies were known to be alike.",
    "It is about the mean over studies like these. Where one more study may come out is said by the"
    " prediction interval, which is wider.",
    "Studies are pooled that compare the same kind of error and whose noise is known. The pooled"
    " difference can be called as good only where all of them declare the same smallest difference"
    " of interest.",
)
"""The rule by which studies are pooled, a sentence each."""

_FEW: Final = 5
"""Studies below which hardly anything is known of how much studies differ."""
_WORDS: Final = {
    "better": "better",
    "equivalent": "as good",
    "worse": "worse",
    "undecided": "undecided",
}


def studies(count: int) -> str:
    """So many studies: "1 study", "3 studies"."""
    return f"{count:,} {'study' if count == 1 else 'studies'}"


def quality_word(quality: str | None) -> str:
    """An outcome as people say it: "as good" for "equivalent"; empty if there is none."""
    return "" if quality is None else _WORDS[quality]


def answer(found: SideBySide) -> str:
    """The outcome against the first baseline."""
    if not found.pooled:
        return f"Nothing to compare: {found.reference} is the only arm of these studies."
    return found.pooled[0].sentence


def pooled_sentence(
    row: PooledRow, rows: Sequence[StudyRow], reference: str, names: Mapping[str, ArmName]
) -> str:
    """The outcome against one baseline over all studies that are pooled."""
    ours, theirs = names[reference], names[row.baseline]
    if row.mean is None or row.low is None or row.high is None:
        return _not_pooled(row, rows, ours, theirs)
    over = f"Over {studies(len(row.studies))}"
    metric, measure = row.metric, row.metric.in_words(row.measure)
    around = f"({metric.span(row.low, row.high)})"
    if row.quality == "equivalent":
        assert row.margin is not None  # else nothing is equivalent
        return (
            f"{over}, {ours.full} finds settings as good as {theirs.full} does: the"
            f" {measure} differs by less than {metric.plain(row.margin)}{metric.points} on average"
            f" {around}."
        )
    if row.quality == "undecided":
        return (
            f"{over}, it is undecided whether {ours.full} finds better settings than {theirs.full}:"
            f" on average the {measure} is {_least(row.low, row.high, metric)} {around}."
        )
    better = row.quality == "better"
    word, side = ("better", metric.lower) if better else ("worse", metric.higher)
    return (
        f"{over}, {ours.full} finds {word} settings than {theirs.full}: the {measure} is"
        f" {metric.amount(row.mean)} {side} on average {around}."
    )


def spread_sentence(row: PooledRow) -> str:
    """How much studies differ, and what cannot be said of that with so few."""
    if row.tau is None or row.tau_low is None:
        return ""
    count = len(row.studies)
    if count == 2:
        return (
            "Two studies hardly show how much studies differ: the interval is wide for that reason,"
            " and nothing is said of a third one."
        )
    metric = row.metric
    unknown = "100" if metric.percent else "any"
    high = (
        unknown if row.tau_high is None or math.isinf(row.tau_high) else metric.size(row.tau_high)
    )
    between = (
        f"From study to study the true difference varies with a standard deviation of"
        f" {metric.amount(row.tau)} (95%: {metric.size(row.tau_low)} to {high})"
    )
    if row.predicted_low is None or row.predicted_high is None:
        return f"{between}."
    ahead = metric.span(row.predicted_low, row.predicted_high)
    weak = ""
    if count < _FEW:
        weak = f" With {count} studies, both are rough: five or more would say it better."
    return f"{between}; in one more study like these it is expected at {ahead}.{weak}"


def notes(found: SideBySide, members: Sequence[Member]) -> tuple[str, ...]:
    """What a reader must know beside the pooled difference, the most important first."""
    return (
        *_left_out(found),
        *_unlike_arms(found),
        *_same_images(members),
        *_early(found),
        *_stopped(found),
    )


def _not_pooled(row: PooledRow, rows: Sequence[StudyRow], ours: ArmName, theirs: ArmName) -> str:
    of = f"of {studies(len(rows))}"
    known = f"only 1 {of}, {row.studies[0]}, has" if row.studies else f"none {of} has"
    return (
        f"{ours.opening} against {theirs.full} cannot be pooled: {known} a difference whose noise"
        " is known."
    )


def _least(low: float, high: float, metric: Metric) -> str:
    """What an interval around zero leaves open."""
    return (
        f"at most {_bound(high, metric)} {metric.lower} and at most {_bound(-low, metric)}"
        f" {metric.higher}"
    )


def _bound(end: float, metric: Metric) -> str:
    return metric.amount(max(end, metric.least_shown) if end > 0 else 0.0)


def by_study(found: SideBySide) -> str:
    """Which studies come to which outcome against the first baseline, by themselves."""
    if not found.pooled:
        return ""
    by_outcome: dict[str, list[str]] = {}
    for row in found.rows:
        entry = row.entries[0]
        word = "without an answer" if entry.missing else quality_word(entry.quality)
        by_outcome.setdefault(word, []).append(row.name)
    order = [word for word in (*_WORDS.values(), "without an answer") if word in by_outcome]
    if len(order) == 1 and len(found.rows) > 1:
        return f"Study by study: {order[0]} in all {len(found.rows)}."
    parts = [f"{word} in {_listed(by_outcome[word])}" for word in order]
    return f"Study by study: {'; '.join(parts)}."


def _left_out(found: SideBySide) -> Iterator[str]:
    for row in found.rows:
        for entry in row.entries:
            if entry.left_out and found.pooled:
                yield (
                    f"{row.name} is not in the pooled difference to {entry.baseline}:"
                    f" {entry.left_out}."
                )


def _unlike_arms(found: SideBySide) -> Iterator[str]:
    """Where arms of the same name, or what is searched, are not the same in all studies."""
    keys = list(found.rows[0].others) if found.rows else []
    for arm in (found.reference, *found.baselines):
        mine = [key for key in keys if key.startswith(f"arms.{arm}.")]
        there = [row for row in found.rows if any(row.others[key] != "–" for key in mine)]
        short = [key.removeprefix(f"arms.{arm}.") for key in mine]
        if mine and len(there) > 1:
            yield (
                f"The arm {arm} is not the same in all studies: they differ in {_listed(short)}."
                " The pooled difference is a mean over these variants."
            )
    if any(key.startswith("space.") for key in keys):
        yield "The studies do not search the same space."


def _same_images(members: Sequence[Member]) -> Iterator[str]:
    by_data: dict[str, list[str]] = {}
    for member in members:
        # Scaled to another size, they are the same images; folders differ by what is in them.
        name = "folder" if member.spec.data is None else member.spec.data.name
        by_data.setdefault(member.digest if name == "folder" else name, []).append(member.spec.name)
    for names in by_data.values():
        if len(names) > 1:
            yield (
                f"{_listed(names)} are measured on the same images. What is peculiar to these"
                " counts in each of them, while the pooled interval takes studies as independent:"
                " it says less of other data than its width suggests."
            )


def _early(found: SideBySide) -> Iterator[str]:
    for row in found.rows:
        pairs = [e for e in row.entries if not e.missing and e.repeats < e.planned]
        if pairs:
            there = f"{pairs[0].repeats} of {pairs[0].planned} repeats are in"
            yield f"{row.name} is not finished: {there}."
    measures = {e.measure for row in found.rows for e in row.entries if not e.missing}
    if measures == {VALIDATION}:
        metric = found.pooled[0].metric if found.pooled else ERROR
        yield metric.in_words(
            "The errors are those by which the arms chose, the lowest of many: they favour whoever"
            " tried more settings."
        )


def _stopped(found: SideBySide) -> Iterator[str]:
    names = [row.name for row in found.rows if any(_may_stop(entry) for entry in row.entries)]
    if names:
        yield (
            f"{_listed(names)} may end as soon as {'they are' if len(names) > 1 else 'it is'}"
            " decided. Such a study's difference is a little too large on average, and so is the"
            " pooled one."
        )


def _may_stop(entry: Entry) -> bool:
    return not entry.missing and entry.looks > 1 and entry.repeats >= entry.planned


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def cost_range(entries: Sequence[Entry]) -> str:
    """The shares of the baseline's epochs that were needed, least and most: "31% to never"."""
    shares = sorted(entry.cost.share for entry in entries if entry.cost is not None)
    if not shares:
        return ""
    low, high = share(shares[0]), share(shares[-1])
    return low if low == high else f"{low} to {high}"


def level(row: PooledRow) -> str:
    """The level of the pooled interval: "95%"."""
    return level_name(row.confidence)
