"""The same study file, run by one and by four worker processes: they try, and find, the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

ARMS = """{
    curves = { sampler = "curve-gp", startup = 2 },
    halving = { sampler = "tpe", startup = 2, pruner = "hyperband" }
}"""


def stored(url: str) -> dict[str, list[Any]]:
    """What was tried in every search of digits, and what came of it.

    Of the study that shows all searches in the dashboard it is the same, in whichever order the
    trials were copied.
    """
    storage = optuna.storages.RDBStorage(url)
    studies = (
        optuna.load_study(study_name=summary.study_name, storage=storage)
        for summary in optuna.get_all_study_summaries(storage)
    )
    found: dict[str, list[Any]] = {}
    for study in studies:
        trials = [
            (t.number, t.params, t.state, t.values, t.intermediate_values) for t in study.trials
        ]
        copied = study.study_name == "digits"
        found[study.study_name] = sorted(repr(t[1:]) for t in trials) if copied else trials
    return found


@pytest.fixture
def searched(
    make_tuneoff: Callable[..., Any], digits: Callable[..., list[str]], tmp_path: Path
) -> Callable[[int], dict[str, list[Any]]]:
    """All that is stored of a small study that so many workers have searched."""

    def run(workers: int) -> dict[str, list[Any]]:
        tuneoff = make_tuneoff(f"sqlite:///{tmp_path / str(workers)}.db")
        tuneoff("create", *digits(arms=ARMS.replace("\n", " "), budget__epochs="12"), limit=900)
        tuneoff("launch", "digits", "--workers", str(workers), limit=900)
        return stored(tuneoff.storage)

    return run


def test_any_number_of_workers_finds_the_same(
    searched: Callable[[int], dict[str, list[Any]]],
) -> None:
    alone = searched(1)
    names = [f"digits/{arm}/{r}" for arm in ("curves", "halving") for r in (0, 1)]
    assert all(len(alone[name]) >= 4 for name in names)
    assert searched(4) == alone
