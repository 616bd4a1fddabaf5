"""A study of many trials, written into a database in one go: nothing of it was trained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from optuna.distributions import FloatDistribution, distribution_to_json

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attributes import DIVERGED, FAILURE, UNTIL
from tuneoff.search.store.database import open_database
from tuneoff.search.store.tables import attempts_table
from tuneoff.search.study.opening import create_study
from tuneoff.trainer.contract import Task

EPOCHS = 9
RUNGS = (1, 3)
"""Epochs at which runs are stopped."""
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.5, 0.99),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
}
TASK = Task(("a", "b"), {"train": 2, "validation": 2, "test": 2}, "0" * 64)
NAME = "scale"
BEGUN = 1_790_000_000.0
"""When the study began, in seconds since 1970."""


def fill(url: str, trials: int, repeats: int, work: Path) -> None:
    """Create the study ``NAME``, with trials and attempts of every kind.

    Half of the trials are of the arm "random", where a pruner stops runs; half of "bayes", where
    they are paused. A quarter reach the last epoch; one of 20 diverges, one of 100 fails.

    Args:
        trials: of all searches together.
    """
    values: dict[str, Any] = {
        "name": NAME,
        "repeats": repeats,
        "data": {"name": "digits"},
        "trial": {"model": "proxy", "epochs": EPOCHS},
        "space": {
            "lr": {"low": 1e-4, "high": 1.0, "log": True},
            "momentum": {"low": 0.5, "high": 0.99},
            "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        },
        "budget": {"epochs": 10**9},
        "arms": {"random": {"sampler": "random", "pruner": "median"}, "bayes": {}},
    }
    database = open_database(url, create=True)
    study = create_study(database, StudySpec.parse(values, "benchmark"), TASK, work)
    tables = sa.MetaData()
    tables.reflect(database.engine)
    rng = np.random.default_rng(0)
    size = trials // len(study.arms)
    with database.engine.begin() as connection:
        for search in study.arms:
            studies, stored = tables.tables["studies"].c, tables.tables["trials"].c
            study_id = connection.scalar(
                sa.select(studies.study_id).where(studies.study_name == search.name)
            )
            first = connection.scalar(sa.select(sa.func.max(stored.trial_id))) or 0
            found: dict[str, list[dict[str, Any]]] = {}
            for i in range(size):
                for table, row in _trial(rng, search.name, search.arm == "bayes", i, first + 1 + i):
                    found.setdefault(table, []).append(row)
            for row in found["trials"]:
                row["study_id"] = study_id
            for table, rows in found.items():
                connection.execute(tables.tables[table].insert(), rows)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not url.startswith("sqlite"):
            _go_on_counting(connection)
        connection.exec_driver_sql("ANALYZE")
    database.close()


def _go_on_counting(connection: sa.Connection) -> None:
    """Have Postgres give the next trial a number that is not taken."""
    sequence = sa.func.pg_get_serial_sequence("trials", "trial_id")
    largest: sa.Select[Any] = sa.select(sa.func.max(sa.column("trial_id"))).select_from(
        sa.table("trials")
    )
    connection.execute(sa.select(sa.func.setval(sequence, largest.scalar_subquery())))


def _trial(
    rng: np.random.Generator, search: str, pauses: bool, number: int, trial_id: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of one trial and its attempt: (table, row)."""
    lr = 10 ** rng.uniform(-4, 0)
    params = {
        "lr": lr,
        "momentum": rng.uniform(0.5, 0.99),
        "weight_decay": 10 ** rng.uniform(-6, -2),
    }
    kind = rng.choice(["full", "short", "diverged", "failed"], p=[0.25, 0.69, 0.05, 0.01])
    epochs = EPOCHS if kind == "full" else int(rng.choice(RUNGS))
    final = 0.05 + 0.1 * abs(math.log10(lr) + 1.5) + 0.02 * rng.random()
    errors = {
        e: float(final + 0.4 * math.exp(-e / 2) + 0.01 * rng.random()) for e in range(1, epochs + 1)
    }
    state, end, note = "COMPLETE", "finished", None
    value: float | None = errors[epochs]
    if kind == "short":
        state, end = ("RUNNING", "paused") if pauses else ("PRUNED", "pruned")
        value = None if pauses else value
    elif kind == "diverged":
        value = errors[epochs] = TASK.chance_error
        note = DIVERGED.item(epochs)
    elif kind == "failed":
        state, end, value = "FAIL", "failed", None
        note = FAILURE.item("RuntimeError: CUDA error: an illegal memory access was encountered")
    begun = BEGUN + 60 * number
    start = datetime.fromtimestamp(begun, UTC).replace(tzinfo=None)
    ended = datetime.fromtimestamp(begun + 50, UTC).replace(tzinfo=None)
    yield (
        "trials",
        {"trial_id": trial_id, "number": number, "state": state, "datetime_start": start}
        | {"datetime_complete": None if state == "RUNNING" else ended},
    )
    for name, stored in params.items():
        yield (
            "trial_params",
            {"trial_id": trial_id, "param_name": name, "param_value": stored}
            | {"distribution_json": distribution_to_json(SPACE[name])},
        )
    for epoch, error in errors.items():
        yield (
            "trial_intermediate_values",
            {"trial_id": trial_id, "step": epoch, "intermediate_value": error}
            | {"intermediate_value_type": "FINITE"},
        )
    if value is not None:
        yield (
            "trial_values",
            {"trial_id": trial_id, "objective": 0, "value": value, "value_type": "FINITE"},
        )
    if note is not None:
        yield (
            "trial_user_attributes",
            {"trial_id": trial_id, "key": note[0], "value_json": json.dumps(note[1])},
        )
    name, until = UNTIL.item(epochs)
    yield (
        "trial_system_attributes",
        {"trial_id": trial_id, "key": name, "value_json": json.dumps(until)},
    )
    yield (
        attempts_table.name,
        {"search": search, "trial": number, "number": 0, "token": f"{trial_id:032d}"}
        | {"worker": "host/1", "process": "", "device": "cpu", "started": begun}
        | {"progressed": begun + 50, "ended": begun + 50, "end": end, "reason": None}
        | {"from_epoch": 0, "until_epoch": epochs, "epochs": epochs, "seconds": 50.0},
    )
