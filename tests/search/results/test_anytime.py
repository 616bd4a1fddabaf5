"""Anytime curves of many steps: what is not shown is not computed."""

from __future__ import annotations

import numpy as np
import pytest

from tuneoff.search.results import anytime as module
from tuneoff.search.results.anytime import anytime, spending_grid
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, Recommendation, Step, StudyResults

ARMS = ("bayes", "random")


def study(steps: int) -> StudyResults:
    """Two arms in three repeats, each with so many full runs of three epochs."""
    rng = np.random.default_rng(0)
    runs = []
    for arm in ARMS:
        for repeat in range(3):
            errors = rng.random(steps).tolist()
            best = min(range(steps), key=errors.__getitem__)
            runs.append(
                ArmRun(
                    arm,
                    repeat,
                    3 * steps,
                    3 * steps,
                    1.0,
                    {"complete": steps},
                    tuple(Step(3 * i + 3, i, 3, error, True) for i, error in enumerate(errors)),
                    Recommendation(best, {"lr": 0.1}, errors[best]),
                )
            )
    return StudyResults("many", ARMS, 3, 3, 0.9, tuple(runs))


def test_a_comparison_needs_no_interval_of_any_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20,000 steps, 2,000 resamplings took seconds and hundreds of megabytes."""
    wanted = compare(study(50)).to_dict()

    def never(table: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "interval_of_means", never)
    assert compare(study(50)).to_dict() == wanted


def test_without_intervals_the_mean_is_the_same() -> None:
    results = study(20)
    grid = spending_grid(results)
    plain, full = (anytime(results, "bayes", grid, intervals=yes) for yes in (False, True))
    assert (plain.spent, plain.mean, plain.low, plain.high) == (full.spent, full.mean, (), ())
    assert len(full.low) == len(full.mean)
