"""The report's tables, as cells of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuneoff.search.report.wording import (
    NONE,
    duration,
    interval,
    mean_and_range,
    mean_and_sd,
    parameters,
    percent,
    points,
)
from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.records import (
    ArmSummary,
    Comparison,
    Confirmed,
    Ensemble,
    PairwiseComparison,
    StudyResults,
)
from tuneoff.search.results.verdict import p_value


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text cells; ``text_columns`` hold running text instead of numbers."""

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: tuple[int, ...] = ()


def verdict_tables(comparison: Comparison) -> list[Table]:
    """The tables that carry the verdict; empty ones are left out."""
    return [table for table in (arms_table(comparison), _pairs_table(comparison)) if table.rows]


def finding_tables(results: StudyResults) -> list[Table]:
    """The tables of what was found; empty ones are left out."""
    tables = [_recommendations_table(results), _confirmed_table(results.confirmed)]
    if results.ensemble:
        tables.append(_ensemble_table(results.ensemble))
    return [table for table in tables if table.rows]


def arms_table(comparison: Comparison) -> Table:
    """What each arm spent and came to."""

    def row(arm: ArmSummary) -> tuple[str, ...]:
        states = ", ".join(f"{count:,} {state}" for state, count in arm.states.items() if count)
        return (
            arm.arm,
            str(arm.repeats),
            states or NONE,
            f"{arm.spent:,} / {arm.budget:,}" if arm.budget else f"{arm.spent:,}",
            duration(arm.seconds),
            percent(arm.best_validation),
            mean_and_sd(arm.mean_validation, arm.sd_validation),
            mean_and_sd(arm.mean_test, arm.sd_test),
        )

    return Table(
        heading="Arms",
        header=(
            "Arm",
            "Repeats",
            "Trials",
            "Epochs spent / budget",
            "Device time",
            "Best validation error, %",
            "Recommendations' validation error, % (mean ± sd)",
            "Recommendations' test error, % (mean ± sd)",
        ),
        rows=tuple(map(row, comparison.arms)),
        text_columns=(2,),
    )


def _pairs_table(comparison: Comparison) -> Table:
    def row(pair: PairwiseComparison) -> tuple[str, ...]:
        speed = pair.speed
        return (
            pair.baseline,
            pair.measure,
            str(len(pair.repeats)),
            points(pair.mean),
            interval(pair),
            p_value(pair.p),
            p_value(pair.p_holm),
            f"{pair.wins} / {pair.ties} / {pair.losses}",
            f"{speed.baseline_epochs:,}" if speed else NONE,
            f"{speed.reference_epochs:,}" if speed and speed.reference_epochs else "never",
            f"{speed.ratio:.2f}×" if speed and speed.ratio else NONE,
        )

    reference = comparison.reference
    return Table(
        heading=f"Against {reference}",
        header=(
            "Baseline",
            "Measured on",
            "Repeats",
            f"Error minus {reference}'s, points",
            "95% interval",
            "p",
            "p (Holm)",
            f"{reference} won / tied / lost",
            "Epochs to the baseline's final error",
            f"Epochs of {reference} to the same error",
            "Speed-up",
        ),
        rows=tuple(map(row, comparison.pairs)),
        text_columns=(1,),
    )


def _recommendations_table(results: StudyResults) -> Table:
    order = {arm: index for index, arm in enumerate(results.arms)}
    runs = sorted(results.runs, key=lambda run: (order.get(run.arm, len(order)), run.repeat))
    return Table(
        heading="What each arm recommends",
        header=(
            "Arm",
            "Repeat",
            "Trial",
            "Hyperparameters",
            "Validation error after the search run, %",
            "Validation error after full training, %",
            "Test error after full training, %",
        ),
        rows=tuple(
            (
                run.arm,
                str(run.repeat),
                str(found.trial),
                parameters(found.params),
                percent(found.validation_error),
                percent(found.full_validation_error),
                percent(found.test_error),
            )
            for run in runs
            if (found := run.recommendation)
        ),
        text_columns=(3,),
    )


def _confirmed_table(confirmed: Sequence[Confirmed]) -> Table:
    return Table(
        heading="Confirmed configurations",
        header=("Found by", "Hyperparameters", "Seeds", "Validation error, %", "Test error, %"),
        rows=tuple(
            (
                one.source,
                parameters(one.params),
                str(len(one.validation_errors)),
                mean_and_range(one.validation_errors),
                mean_and_range(one.test_errors),
            )
            for one in confirmed
        ),
        text_columns=(1,),
    )


def _ensemble_table(ensemble: Ensemble) -> Table:
    members = tuple(
        (m.model, f"{m.weight:.3f}", percent(m.validation_error), percent(m.test_error))
        for m in ensemble.members
    )
    combined = (f"combined ({ensemble.how})", "", "", percent(ensemble.test_error))
    return Table(
        heading="Ensemble",
        header=("Model", "Weight", "Validation error, %", "Test error, %"),
        rows=(*members, combined),
    )


def coverage_table(prediction: ArmPredictions) -> Table | None:
    """How often one arm's prediction intervals held; None if none can be judged yet."""

    def share(held: int, runs: int) -> str:
        return f"{held} of {runs} ({100 * held / runs:.0f}%)"

    if not prediction.coverage:
        return None
    return Table(
        heading=f"How often {prediction.arm}'s prediction intervals held",
        header=("Predicted after", "Runs", "50% interval held", "90% interval held"),
        rows=tuple(
            (
                f"epoch {rung.epoch}",
                str(rung.runs),
                share(rung.of(0.5), rung.runs),
                share(rung.of(0.9), rung.runs),
            )
            for rung in prediction.coverage
        ),
    )
