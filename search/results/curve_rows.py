"""A table of learning curves out of the study that trained it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.errors import StudyError
from tuneoff.search.results.curve_table import CurveRun, CurveTable
from tuneoff.search.spec.arm_section import without_note
from tuneoff.search.store.attributes import CURVE, DIVERGED, ENVIRONMENT, FIXED_INDEX, TEST_ERROR
from tuneoff.search.study.design import ARM
from tuneoff.search.study.snapshot import Snapshot


def mark_of(now: Snapshot) -> str:
    """What tells a study's table from that of another study."""
    return now.study.spec.digest()


def curve_table(now: Snapshot, weights: str | None, licence: str) -> CurveTable:
    """The table of a study that is one, with the trainings that have ended.

    Args:
        weights: SHA-256 of the weights that training starts from.
        licence: of the table, in words.

    Raises:
        StudyError: the study is no table, or nothing of it has ended.
    """
    study, spec = now.study, now.study.spec
    if spec.table is None:
        raise StudyError(f"study {study.name} is no table; `tuneoff table` makes one")
    runs: list[CurveRun] = []
    environments: dict[tuple[tuple[str, str], ...], None] = {}
    missing = 0
    for search in study.arms:
        for trial in now.trials(search):
            if trial.state != TrialState.COMPLETE:
                missing += trial.state == TrialState.FAIL
                continue
            runs.append(_run(trial, (spec.seed, trial.number, search.repeat)))
            environments[tuple(sorted((ENVIRONMENT.get(trial) or {}).items()))] = None
    if not runs:
        raise StudyError(f"study {study.name}: no training has ended yet; run the command again")
    configs = spec.arms[ARM].configs or ()
    return CurveTable(
        study=spec.table.study,
        mark=mark_of(now),
        licence=licence,
        space=spec.space,
        configs=tuple(without_note(config) for config in configs),
        hand=spec.table.hand,
        epochs=spec.trial.epochs,
        classes=len(study.task.classes),
        sizes={str(split): size for split, size in study.task.sizes.items()},
        data=study.task.digest,
        weights=weights,
        recipe=_portable(spec.our_recipe().to_dict()),
        fixed=asdict(spec.trial.hyperparams()),
        environments=tuple(map(dict, environments)),
        missing=missing,
        runs=tuple(sorted(runs, key=lambda run: (run.config, run.seed))),
    )


def _portable(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe without the folders of the machine on which it was trained."""
    data = dict(recipe["data"])
    data["path"] = data["path"] and PurePath(data["path"]).name
    return recipe | {"data": data, "weights": PurePath(recipe["weights"]).name}


def _run(trial: FrozenTrial, seed: tuple[int, int, int]) -> CurveRun:
    diverged, curve = DIVERGED.get(trial), CURVE.of(trial)
    last = len(trial.intermediate_values) if diverged is None else diverged - 1
    return CurveRun(
        config=FIXED_INDEX.of(trial),
        seed=seed,
        errors=tuple(trial.intermediate_values[epoch] for epoch in range(1, last + 1)),
        losses=curve.losses,
        seconds=curve.seconds,
        test_error=TEST_ERROR.get(trial),
        diverged=diverged,
    )
