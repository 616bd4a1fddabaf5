"""The report's tables, as cells of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tuneoff.messages import counted
from tuneoff.metric import Metric, capitalised
from tuneoff.search.results.numbers import NONE, mean_and_range, mean_and_sd, parameters
from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.records import Confirmed, Ensemble, StudyResults, runs_of
from tuneoff.search.results.statistics.selection import expected_validation

_TRIALS: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text cells.

    Attributes:
        text_columns: hold running text instead of numbers.
        kind: "browse" is for many rows: the page shows a hundred at a time, and filters them.
        filters: columns of such a table whose values can be chosen from a list.
    """

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: tuple[int, ...] = ()
    kind: Literal["plain", "browse"] = "plain"
    filters: tuple[int, ...] = ()


def finding_tables(results: StudyResults) -> list[Table]:
    """The tables of what was found; empty ones are left out."""
    tables = [
        _recommendations_table(results),
        expected_table(results),
        _confirmed_table(results.confirmed, results.metric),
    ]
    if results.ensemble:
        tables.append(_ensemble_table(results.ensemble, results.confirmed, results.metric))
    return [table for table in tables if table.rows]


def expected_table(results: StudyResults) -> Table:
    """Expected lowest validation error of so many independent trials."""
    rows = []
    for arm in results.arms:
        facts = results.facts.get(arm)
        errors = [s.error for r in runs_of(results, arm) for s in r.steps if s.full or s.diverged]
        if facts is None or not facts.independent or not errors:
            continue
        found = expected_validation(errors)
        cells = [
            mean_and_sd(*found[k - 1], results.metric) if k <= len(found) else NONE for k in _TRIALS
        ]
        rows.append((arm, str(len(errors)), *cells))
    return Table(
        heading=results.metric.in_words(
            "Lowest validation error to be expected of independent trials, % (mean ± sd)"
        ),
        header=("Arm", "Trials known", *(counted(k, "trial") for k in _TRIALS)),
        rows=tuple(rows),
    )


def _recommendations_table(results: StudyResults) -> Table:
    metric = results.metric
    order = {arm: index for index, arm in enumerate(results.arms)}
    runs = sorted(results.runs, key=lambda run: (order.get(run.arm, len(order)), run.repeat))
    return Table(
        heading="What each arm recommends",
        header=(
            "Arm",
            "Repeat",
            "Trial",
            "Hyperparameters",
            f"{capitalised(metric.on('validation'))} after the search run{metric.in_unit}",
            "Full trainings",
            f"Their {metric.on('validation')}{metric.in_unit}",
            f"Their {metric.on('test')}{metric.in_unit}",
        ),
        rows=tuple(
            (
                run.arm,
                str(run.repeat),
                str(found.trial),
                parameters(found.params),
                metric.cell(found.validation_error),
                str(len(found.full_validation_errors)),
                mean_and_range(found.full_validation_errors, metric),
                mean_and_range(found.test_errors, metric),
            )
            for run in runs
            if (found := run.recommendation)
        ),
        text_columns=(3,),
    )


def _confirmed_table(confirmed: Sequence[Confirmed], metric: Metric) -> Table:
    def row(one: Confirmed) -> tuple[str, ...]:
        return (
            one.source,
            parameters(one.params),
            _runs(len(one.search_errors), one.search_diverged),
            mean_and_range(one.search_errors, metric),
            metric.cell(one.search_expected_error),
            _runs(len(one.validation_errors) - one.diverged, one.diverged),
            mean_and_range(one.validation_errors, metric),
            metric.cell(one.expected_error),
            mean_and_range(one.test_errors, metric),
        )

    return Table(
        heading="Configurations trained in full, best first",
        header=(
            "Found by",
            "Hyperparameters",
            "Search runs",
            f"Their {metric.bare}{metric.in_unit}",
            f"Expected{metric.in_unit}",
            "Full trainings",
            f"Their {metric.bare}{metric.in_unit}",
            f"Expected{metric.in_unit}",
            f"{capitalised(metric.on('test'))}{metric.in_unit}",
        ),
        rows=tuple(map(row, confirmed)),
        text_columns=(1,),
    )


def _runs(finished: int, diverged: int) -> str:
    return f"{finished + diverged} ({diverged} diverged)" if diverged else str(finished)


def _ensemble_table(ensemble: Ensemble, confirmed: Sequence[Confirmed], metric: Metric) -> Table:
    members = tuple(
        (m.model, f"{m.weight:.3f}", metric.cell(m.validation_error), metric.cell(m.test_error))
        for m in ensemble.members
    )
    combined = (f"combined ({ensemble.how})", "", "", metric.cell(ensemble.test_error))
    splits = ("validation", "test")
    errors = [f"{capitalised(metric.on(split))}{metric.in_unit}" for split in splits]
    heading = "Ensemble"
    if ensemble.params is not None:
        heading += f", trained with {parameters(ensemble.params)}"
        if confirmed and dict(confirmed[0].params) != dict(ensemble.params):
            heading += ", which is no longer the best configuration"
    return Table(
        heading=heading,
        header=("Model", "Weight", *errors),
        rows=(*members, combined),
    )


def coverage_table(prediction: ArmPredictions) -> Table | None:
    """How often one arm's prediction intervals held; None if none can be judged yet."""

    def part(held: int, runs: int) -> str:
        return f"{held} of {runs} ({held / runs:.0%})"

    if not prediction.coverage:
        return None
    return Table(
        heading=f"How often {prediction.arm}'s prediction intervals held",
        header=("Predicted after", "Runs", "50% interval held", "90% interval held"),
        rows=tuple(
            (
                f"epoch {rung.epoch}",
                str(rung.runs),
                part(rung.of(0.5), rung.runs),
                part(rung.of(0.9), rung.runs),
            )
            for rung in prediction.coverage
        ),
    )
