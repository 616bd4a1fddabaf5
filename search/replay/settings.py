"""The study file of a simulation: the study's own, with what may differ from it."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.search.errors import UserError
from tuneoff.search.results.curve_table import CurveTable
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.metric_section import check_share
from tuneoff.search.spec.sections import PromoteSpec
from tuneoff.search.spec.space import SearchSpace

FREE = (
    "arms",
    "budget",
    "repeats",
    "seed",
    "compare.smallest_effect",
    "compare.until",
    "compare.max_repeats",
    "compare.epochs",
    "promote.top",
    "promote.seeds",
)
"""Sections and keys that a simulation may change: the surrogate knows the study's space, recipe and
data alone."""


ON_TABLE = (*FREE, "trial.epochs")
"""The same of a simulation on a table, whose runs may also be stopped earlier."""


def on_table(spec: StudySpec, table: CurveTable, changes: Sequence[str] = ()) -> StudySpec:
    """A study file's settings for its simulation on a table, as ``simulated``.

    Full training is one of all the table's epochs, whatever the file says of it.
    """
    promote = (spec.promote or PromoteSpec(epochs=1)).model_dump(include={"top", "seeds"})
    check_share(spec.metric.metric(), spec.name)
    full = PromoteSpec(epochs=table.epochs, **promote)
    return simulated(spec.model_copy(update={"promote": full, "ensemble": None}), changes, ON_TABLE)


def simulated(
    spec: StudySpec, changes: Sequence[str] = (), free: Sequence[str] = FREE
) -> StudySpec:
    """A study's settings for its simulation.

    Without an ensemble and longer horizons, of which the study's runs say nothing, without an
    artifact store, and without a limit of hours, which simulated training does not take.

    Args:
        changes: "dotted.key=VALUE" as from ``--set``.
        free: sections and keys that may change.

    Raises:
        UserError: a change is no valid one, or of what the surrogate does not know.
    """
    for change in changes:
        key = change.partition("=")[0].strip()
        if "=" in change and not any(f"{key}.".startswith(f"{one}.") for one in free):
            raise UserError(
                f"--set {key}: a simulation knows the study's own space, recipe and data alone; "
                f"it may change {', '.join(free[:-1])} and {free[-1]}"
            )
    changed = spec.changed(changes)
    try:
        searched = SearchSpace.of(changed).distributions
    except ValueError as error:
        raise UserError(f"study {spec.name}: {error}") from None
    if changed.budget.epochs is None:
        raise UserError(
            f"study {spec.name} cannot be simulated on its budget of time, as simulated epochs take"
            " none; give one with --set budget.epochs=N"
        )
    both = sorted(searched.keys() & changed.full_changes().keys())
    if both:
        raise UserError(
            f"study {spec.name} cannot be simulated: full training changes {both[0]}, which is "
            "searched, too"
        )
    return changed.model_copy(
        update={
            "ensemble": None,
            "horizon": None,
            "workers": changed.workers.model_copy(update={"artifacts": None}),
            "compare": changed.compare.model_copy(update={"max_hours": None}),
        }
    )
