"""A table's file as the rows of a forest, and what may be simulated on it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from tuneoff.search.errors import UserError
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.replay.curve_forest import (
    CurveForest,
    Foretold,
    Rows,
    foretold,
    seed_noise,
)
from tuneoff.search.replay.scale import angle
from tuneoff.search.results.curve_table import CurveRun, CurveTable
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import Floats, SearchSpace
from tuneoff.trainer.contract import Task

LEAST = 12
"""Configurations below which there is nothing to search on."""


def rows_of(table: CurveTable, space: SearchSpace) -> Rows:
    """The rows of a table, the configurations in its order.

    Those of which no training ended are left out. Where there are no test errors, validation errors
    stand for them.

    Args:
        space: with the table's parameters.

    Raises:
        UserError: there are too few.
    """
    by_config: dict[int, list[CurveRun]] = defaultdict(list)
    for run in table.runs:
        by_config[run.config].append(run)
    if len(by_config) < LEAST:
        raise UserError(
            f"the table has curves of {len(by_config)} configurations, and {LEAST} are needed; "
            "run `tuneoff table` on"
        )
    encoding, indices = Encoding(space.distributions), sorted(by_config)
    curves, deviations, shares, ends = [], [], [], []
    for index in indices:
        runs = by_config[index]
        whole = [run for run in runs if run.diverged is None]
        found = angle(np.array([_errors(run) for run in whole])) if whole else _of_guessing(table)
        mean = found.mean(axis=0)
        curves.append(mean)
        few = len(whole) < 2
        scale = 1.0 if few else np.sqrt(len(whole) / (len(whole) - 1))
        deviations.append(np.empty((0, len(mean))) if few else scale * (found - mean))
        shares.append(1.0 - len(whole) / len(runs))
        ends.append(min(run.diverged or table.epochs + 1 for run in runs))
    return Rows(
        encoding=encoding,
        x=encoding.rows([table.configs[i] for i in indices]),
        curves=np.array(curves),
        diverged=np.array(shares),
        deviations=deviations,
        diverged_in=np.array(ends, float),
        chance=table.chance_error,
        images=(table.sizes.get("validation", 0), table.sizes.get("test", 0)),
    )


def _errors(run: CurveRun) -> list[float]:
    test = run.errors[-1] if run.test_error is None else run.test_error
    return [*run.errors, test]


def _of_guessing(table: CurveTable) -> Floats:
    return angle(np.full((1, table.epochs + 1), table.chance_error))


@dataclass(frozen=True)
class TableSurrogate:
    """A table for ``replays``: worlds of one function, each with noise of its own.

    Attributes:
        quality: of configurations that were left out.
        noise: standard deviation between seeds, 0 to 1; None where it is not known.
        seconds: that an epoch took, mean over the table.
    """

    task: Task
    seconds: float
    forest: CurveForest
    quality: Foretold
    noise: float | None

    @classmethod
    def of(cls, table: CurveTable, spec: StudySpec) -> TableSurrogate:
        """The surrogate for a study file whose space and recipe are the table's.

        Raises:
            UserError: they are not, or the table has too few configurations.
        """
        _check(table, spec)
        rows = rows_of(table, SearchSpace.of(spec))
        every = [second for run in table.runs for second in run.seconds]
        classes = tuple(str(i) for i in range(table.classes))
        sizes = {split: table.sizes.get(split, 0) for split in ("train", "validation", "test")}
        return cls(
            Task(classes, sizes, table.data),  # type: ignore[arg-type]
            float(np.mean(every)) if every else 0.0,
            CurveForest.of(rows),
            foretold(rows),
            seed_noise(rows),
        )

    def draw(self, seed: int) -> CurveForest:
        """A world."""
        return self.forest.drawn(seed)


def _check(table: CurveTable, spec: StudySpec) -> None:
    """UserError if a study is none of the table's space, or of longer runs."""
    where = f"the table of {table.study} and study {spec.name}"
    if dict(spec.space) != dict(table.space):
        ours, theirs = set(spec.space), set(table.space)
        differs = sorted((ours ^ theirs) or {n for n in ours if spec.space[n] != table.space[n]})
        raise UserError(
            f"{where} search different spaces (look at {differs[0]}); use the study file that the "
            "table was made of"
        )
    if spec.trial.epochs > table.epochs:
        raise UserError(
            f"{where}: trial.epochs = {spec.trial.epochs}, and the table's runs have "
            f"{table.epochs}; use --set trial.epochs={table.epochs} or fewer"
        )
