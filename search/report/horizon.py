"""What longer runs say, as sentences and tables of the report."""

from __future__ import annotations

from typing import Final

from tuneoff.metric import Metric
from tuneoff.search.report.tables import Table
from tuneoff.search.results.horizon.records import (
    ArmAtHorizon,
    HorizonFindings,
    HorizonPair,
    Interval,
    ParameterDrift,
)
from tuneoff.search.results.numbers import NONE

SURVIVORS: Final = (
    "Only runs that came to their end count, {runs:,} of {all:,}. A run is stopped early for its"
    " error, so that what is shown is of the better ones. An epoch within"
    " a run is not the end of a shorter run, whose learning rate would have come down by then; and"
    " the two errors share the luck of one run."
)
"""Why the curves of the search's own runs may mislead; to be formatted."""


def horizon_outcome(found: HorizonFindings | None) -> list[str]:
    """The first sentence, and whether longer runs favour an arm."""
    return [] if found is None else list(found.sentences[: 1 + len(found.changes)])


def horizon_tables(found: HorizonFindings | None, metric: Metric) -> list[Table]:
    """Ranks, arms and best values by horizon; empty ones are left out."""
    if found is None:
        return []
    tables = (_pairs_table(found, metric), _arms_table(found, metric), _values_table(found))
    return [table for table in tables if table.rows]


def _pairs_table(found: HorizonFindings, metric: Metric) -> Table:
    def row(pair: HorizonPair) -> tuple[str, ...]:
        return (
            f"{pair.short} and {pair.long}",
            str(pair.configurations),
            _correlation(pair.spearman, pair.spearman_interval),
            _correlation(pair.kendall, pair.kendall_interval),
            f"{pair.shared} of {pair.top} (by chance {pair.top**2 / pair.configurations:.1f})",
            f"{metric.difference(pair.regret)} {_around(pair.regret_interval, metric)}",
            metric.in_words(pair.measure),
        )

    return Table(
        heading="How far a short horizon says what a long one does",
        header=(
            "Epochs",
            "Configurations",
            "Spearman's rank correlation (95% interval)",
            "Kendall's",
            "Best quarter in common",
            f"Cost of choosing by the short one{metric.in_points}",
            "Measured on",
        ),
        rows=tuple(map(row, found.pairs)),
        text_columns=(6,),
    )


def _arms_table(found: HorizonFindings, metric: Metric) -> Table:
    def row(one: ArmAtHorizon) -> tuple[str, ...]:
        return (
            one.arm,
            str(one.epochs),
            str(one.repeats),
            metric.cell(one.error),
            NONE if one.difference is None else metric.difference(one.difference),
            _around(one.interval, metric),
        )

    baseline = None if found.runs is None else found.runs.baseline
    against = "" if baseline is None else f" than {baseline}'s"
    return Table(
        heading="What each arm recommends, trained for longer",
        header=(
            "Arm",
            "Epochs",
            "Recommendations",
            f"Their {metric.in_words(found.measure)}{metric.in_unit}",
            f"Better{against} by{metric.in_points}",
            "95% interval",
        ),
        rows=tuple(map(row, found.arms)),
    )


def _values_table(found: HorizonFindings) -> Table:
    def rows(drift: ParameterDrift) -> list[tuple[str, ...]]:
        return [
            (
                drift.parameter,
                str(value.epochs),
                f"{value.best:.3g}",
                f"{value.mean:.3g}",
                f"{value.mean_interval.low:.3g} to {value.mean_interval.high:.3g}",
            )
            for value in drift.values
        ]

    return Table(
        heading="Where the best configurations lie at each horizon",
        header=(
            "Parameter",
            "Epochs",
            "Of the best configuration",
            "Geometric mean of the best quarter",
            "95% interval",
        ),
        rows=tuple(row for drift in found.drifts for row in rows(drift)),
    )


def _correlation(value: float | None, around: Interval | None) -> str:
    if value is None:
        return NONE
    if around is None:
        return _two(value)
    return f"{_two(value)} ({_two(around.low)} to {_two(around.high)})"


def _two(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # -0.0 + 0.0 is 0.0


def _around(interval: Interval | None, metric: Metric) -> str:
    return NONE if interval is None else f"({metric.span(interval.low, interval.high)})"
