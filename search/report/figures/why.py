"""The picture of why the answer is what it is: paired picks, and beside them the cost."""

from __future__ import annotations

from collections.abc import Mapping

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.figures.why_cost import cost_figure
from tuneoff.search.report.figures.why_picks import picks_figure
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.compare import names_of
from tuneoff.search.results.comparison import Cost, PairwiseComparison
from tuneoff.search.results.numbers import all_of, duration, level_name, share, share_span
from tuneoff.search.results.records import TEST

MOST = 3
"""Comparisons that are drawn; more would be too small to be seen."""


def why_panels(data: ReportData) -> tuple[Panels, ...]:
    """Two figures of 300 pixels: differences between paired picks, and the cost of being as good.

    One row for each of the first ``MOST`` comparisons, the main one on top. Empty before there is
    one; only the first figure where no cost is known.
    """
    pairs = data.comparison.pairs[:MOST]
    if not pairs:
        return ()
    arms, names = data.results.arms, names_of(data.results)
    metric = data.results.metric
    figures = [picks_figure(pairs, arms, names, metric)]
    if any(pair.cost is not None for pair in pairs):
        figures.append(cost_figure(pairs, arms, names))
    return (
        Panels(
            name="why",
            title="Why: the picks, and what they cost",
            caption=_caption(data, len(figures) > 1),
            figures=tuple(figures),
            finding=why_finding(pairs[0], names, metric),
        ),
    )


def _caption(data: ReportData, with_cost: bool) -> str:
    pairs = data.comparison.pairs
    shown = pairs[:MOST]
    first, metric = shown[0], data.results.metric
    unit = "points of " if metric.percent else ""
    sentences = [
        "Each dot is one repeat: by how much the pick, which is the configuration that an arm"
        f" recommends, is better than the other arm's, in {unit}{_measure(first, metric)}."
    ]
    if any(pair.low is not None for pair in shown):
        level = level_name(first.confidence)
        sentences.append(
            f"Diamond and line: the mean with the {level} interval that decides; an arrow goes on"
            " beyond the picture."
        )
    if first.margin is not None:
        sentences.append(
            f"Within the grey band, {metric.amount(first.margin)} wide on each side of zero, the"
            " arms count as equally good."
        )
    if with_cost:
        sentences.append(
            metric.in_words(
                "Epochs: how many the arm needed until its best validation error was as low as the"
                " other arm's in the end, with a 95% interval."
            )
        )
    if len(pairs) > len(shown):
        sentences.append(
            f"Shown: {len(shown)} of {len(pairs)} comparisons; the others are in the table."
        )
    return " ".join(sentences)


def why_finding(pair: PairwiseComparison, names: Mapping[str, ArmName], metric: Metric) -> str:
    """What the two figures show of one comparison, in one or two sentences."""
    ours, theirs = names[pair.reference], names[pair.baseline]
    parts = [_picks(pair, ours, theirs, metric)]
    if pair.cost is not None:
        parts.append(_cost(pair.cost, ours, theirs, so_far=pair.early))
    return " ".join(parts)


def _picks(pair: PairwiseComparison, ours: ArmName, theirs: ArmName, metric: Metric) -> str:
    count, measure = len(pair.repeats), _measure(pair, metric)
    if pair.same == count:
        return f"Both arms pick the same settings in {all_of(count, 'repeat')}."
    if count == 1:
        so_far = " so far" if pair.planned > 1 else ""
        if not pair.wins and not pair.losses:
            compared = f"both picks have the same {measure}"
        else:
            word = metric.lower if pair.wins else metric.higher
            compared = (
                f"the pick of {ours.short} has a {measure} {metric.amount(pair.mean)} {word}"
                f" than that of {theirs.short}"
            )
        return f"In the only repeat{so_far}, {compared}; that may be luck."
    so_far = " so far" if pair.early else ""
    if count in (pair.wins, pair.losses):
        winner = ours if pair.wins else theirs
        seen = f"In all {count} repeats{so_far} {winner.short} has the {metric.lower} {measure}"
        return f"{seen}; {_interval(pair, ours, theirs, metric)}."
    counts = [
        f"In {pair.wins} of {count} repeats{so_far} {ours.short} has the {metric.lower} {measure}",
        f"in {pair.losses} {theirs.short} has it",
        *([f"{pair.ties} {'is' if pair.ties == 1 else 'are'} equal"] if pair.ties else ()),
    ]
    seen = f"{', '.join(counts[:-1])} and {counts[-1]}"
    return f"{seen}; {_interval(pair, ours, theirs, metric)}."


def _interval(pair: PairwiseComparison, ours: ArmName, theirs: ArmName, metric: Metric) -> str:
    if pair.low is None or pair.high is None or metric.says_nothing(pair.low, pair.high):
        return "there is no useful interval yet, so that this may be luck"
    around = (
        f"the interval of the mean difference ({metric.span(pair.low, pair.high)}{metric.points})"
    )
    if pair.quality == "equivalent":
        return f"{around} lies within the band that counts as equally good"
    if pair.quality != "undecided":
        winner = ours if pair.quality == "better" else theirs
        return f"{around} lies wholly on the side of {winner.short}"
    so_far = " so far" if pair.early or len(pair.repeats) < pair.last else ""
    return f"{around} allows either to be better{so_far}"


def _cost(cost: Cost, ours: ArmName, theirs: ArmName, *, so_far: bool) -> str:
    if cost.never:
        yet = "has not been" if so_far else "was never"
        return (
            f"Within the {cost.currency} that it spent, {ours.short} {yet} as good on validation as"
            f" {theirs.short}{' so far' if so_far else ' in the end'}."
        )
    interval = ""
    if cost.low is not None and cost.high is not None:
        around = share_span(cost.low, cost.high)
        interval = f" ({around})" if around != share(cost.share) else ""
    end = "is so far" if so_far else "was in the end"
    if cost.baseline_seconds is None:
        whole = counted(round(cost.baseline_epochs), "epoch")
    else:
        whole = f"{duration(cost.baseline_seconds)} of training"
    return (
        f"To be as good on validation as {theirs.short} {end}, {ours.short} needed"
        f" {share(cost.share)}{interval} of the {whole}"
        f" that {theirs.short} spent."
    )


def _measure(pair: PairwiseComparison, metric: Metric) -> str:
    return metric.on("test" if pair.measure == TEST else "validation")
