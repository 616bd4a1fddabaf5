"""The report's tables of the comparison, as cells of text."""

from __future__ import annotations

from tuneoff.metric import capitalised
from tuneoff.search.report.tables import Table
from tuneoff.search.results.comparison import ArmSummary, Comparison, Cost, PairwiseComparison
from tuneoff.search.results.numbers import NONE, duration, mean_and_sd, p_value, share, share_span


def verdict_tables(comparison: Comparison) -> list[Table]:
    """The tables that carry the verdict; empty ones are left out."""
    tables = (
        _quality_table(comparison),
        _cost_table(comparison),
        arms_table(comparison),
        _checks_table(comparison),
        _lost_table(comparison),
    )
    return [table for table in tables if table.rows]


def arms_table(comparison: Comparison) -> Table:
    """What each arm spent and came to."""

    metric = comparison.metric

    def row(arm: ArmSummary) -> tuple[str, ...]:
        states = ", ".join(f"{count:,} {state}" for state, count in arm.states.items() if count)
        return (
            arm.arm,
            str(arm.repeats),
            states or NONE,
            f"{arm.spent:,}"
            if arm.budget_seconds is not None or not arm.budget
            else f"{arm.spent:,} / {arm.budget:,}",
            _time(arm),
            metric.cell(arm.best_validation),
            mean_and_sd(arm.mean_validation, arm.sd_validation, metric),
            mean_and_sd(arm.mean_test, arm.sd_test, metric),
            metric.cell(arm.middle_test),
        )

    return Table(
        heading="Arms",
        header=(
            "Arm",
            "Repeats",
            "Trials",
            "Epochs spent / budget",
            "Device time",
            f"Best {metric.on('validation')}{metric.in_unit}",
            f"Recommendations' {metric.on('validation')}{metric.in_unit} (mean ± sd)",
            f"Recommendations' {metric.on('test')}{metric.in_unit} (mean ± sd)",
            f"Without the best and worst quarter{metric.in_unit}",
        ),
        rows=tuple(map(row, comparison.arms)),
        text_columns=(2,),
    )


def _time(arm: ArmSummary) -> str:
    spent = duration(arm.seconds)
    return spent if arm.budget_seconds is None else f"{spent} / {duration(arm.budget_seconds)}"


def _quality_table(comparison: Comparison) -> Table:
    metric = comparison.metric

    def row(pair: PairwiseComparison) -> tuple[str, ...]:
        return (
            pair.baseline,
            "as good" if pair.quality == "equivalent" else pair.quality,
            metric.in_words(pair.measure),
            f"{len(pair.repeats)} of {pair.planned}" if pair.early else str(len(pair.repeats)),
            metric.difference(pair.mean),
            NONE if pair.low is None or pair.high is None else metric.span(pair.low, pair.high),
            NONE if pair.margin is None else f"{metric.size(pair.margin)} ({pair.margin_from})",
            NONE if pair.repeats_sd is None else metric.size(pair.repeats_sd),
            NONE if pair.seeds_sd is None else metric.size(pair.seeds_sd),
            f"{pair.wins} / {pair.ties} / {pair.losses}",
        )

    reference = comparison.reference
    minus = f"{capitalised(metric.bare)} minus {reference}'s{metric.in_points}"
    if metric.maximised:
        minus = f"{reference}'s {metric.bare} minus its own{metric.in_points}"
    return Table(
        heading=f"{reference} against the others: quality",
        header=(
            "Baseline",
            f"{reference} is",
            "Measured on",
            "Repeats",
            minus,
            "Its interval",
            "Smallest difference of interest",
            "Sd between repeats",
            "Sd between seeds",
            f"{reference} won / tied / lost",
        ),
        rows=tuple(map(row, comparison.pairs)),
        text_columns=(1, 2),
    )


def _cost_table(comparison: Comparison) -> Table:
    metric = comparison.metric

    def row(pair: PairwiseComparison, cost: Cost) -> tuple[str, ...]:
        interval = NONE
        if cost.low is not None and cost.high is not None:
            interval = share_span(cost.low, cost.high)
        return (
            pair.baseline,
            metric.cell(cost.target),
            f"{cost.baseline_epochs:,.0f}",
            "never" if cost.never else f"{cost.epochs:,.0f}",
            share(cost.share),
            interval,
            cost.price,
        )

    reference = comparison.reference
    return Table(
        heading=f"{reference} against the others: cost",
        header=(
            "Baseline",
            f"Its final {metric.on('validation')}{metric.in_unit}",
            "Epochs that it spent in a repeat",
            f"Epochs of {reference} to the same {metric.bare}",
            "Share",
            "95% interval",
            f"{reference} is",
        ),
        rows=tuple(row(pair, pair.cost) for pair in comparison.pairs if pair.cost is not None),
        text_columns=(6,),
    )


def _checks_table(comparison: Comparison) -> Table:
    def row(pair: PairwiseComparison) -> tuple[str, ...]:
        checks, found = pair.checks, pair.improvement
        return (
            pair.baseline,
            p_value(checks.sign_flip),
            p_value(checks.sign_flip_holm),
            p_value(checks.wilcoxon),
            p_value(checks.wilcoxon_holm),
            NONE if checks.equivalence is None else p_value(checks.equivalence),
            NONE
            if found is None
            else f"{found.probability:.0%} ({f'{found.low:.0%}'[:-1]} to {found.high:.0%})",
        )

    reference = comparison.reference
    return Table(
        heading="Checks beside the decision",
        header=(
            "Baseline",
            "p, signs flipped",
            "p (Holm)",
            "p, Wilcoxon",
            "p (Holm)",
            "p, not equivalent",
            f"Probability that {reference} is better in a repeat (95%)",
        ),
        rows=tuple(map(row, comparison.pairs)),
    )


def _lost_table(comparison: Comparison) -> Table:
    """What choosing by noisy errors cost each arm."""
    metric = comparison.metric

    def row(arm: ArmSummary) -> tuple[str, ...]:
        gap, shown = arm.gap, NONE
        if gap is not None:
            shown = metric.difference(gap.mean)
            if gap.low is not None and gap.high is not None:
                shown += f" ({metric.span(gap.low, gap.high)})"
        lost = NONE if arm.overtuning is None else metric.difference(arm.overtuning)
        return arm.arm, shown, lost

    chosen, best = "minus that it was chosen by", "minus the best of all"
    if metric.maximised:  # what was lost is positive, whatever is good
        chosen, best = "from that it was chosen by", "from the best of all"
    known = [arm for arm in comparison.arms if arm.gap is not None or arm.overtuning is not None]
    return Table(
        heading=f"What the recommendations lost on the way{metric.in_points}",
        header=(
            "Arm",
            f"{capitalised(metric.on('validation'))} when trained anew, {chosen} (95%)",
            f"{capitalised(metric.on('test'))} of the last, {best} that it recommended in turn",
        ),
        rows=tuple(map(row, known)),
    )
