"""A table of learning curves as a world: exact at its rows, noisy as its seeds are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tuneoff.search.errors import UserError
from tuneoff.search.replay.curve_forest import CurveForest, foretold, seed_noise
from tuneoff.search.replay.replays import replays
from tuneoff.search.replay.settings import on_table
from tuneoff.search.replay.table_rows import TableSurrogate, rows_of
from tuneoff.search.results.curve_table import CurveRun, CurveTable
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.sections import ParamSpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.contract import RunSeed

EPOCHS, NOISE, CONFIGS = 4, 0.01, 60
CHANCE = 0.9


def true_error(lr: float, epoch: int) -> float:
    return float(0.1 + 0.3 * abs(np.log10(lr) + 1.5) / 1.5 + 0.2 * np.exp(-epoch))


def make_table(diverging: float = 2.0, seeds: int = 2, **changes: Any) -> CurveTable:
    """Errors of a bowl in the rate, whose seeds differ by ``NOISE``; test errors 0.05 higher."""
    random = np.random.default_rng(0)
    configs = [{"lr": float(10 ** random.uniform(-3, 0))} for _ in range(CONFIGS)]
    runs = []
    for i, config in enumerate(configs):
        for seed in range(seeds):
            off = float(NOISE * random.standard_normal())
            errors = tuple(true_error(config["lr"], e) + off for e in range(1, EPOCHS + 1))
            fine = config["lr"] <= diverging
            runs.append(
                CurveRun(
                    config=i,
                    seed=(0, i, seed),
                    errors=errors if fine else errors[:1],
                    losses=(1.0,) * (EPOCHS if fine else 1),
                    seconds=(2.0,) * (EPOCHS if fine else 1),
                    test_error=errors[-1] + 0.05 if fine else None,
                    diverged=None if fine else 2,
                )
            )
    values: dict[str, Any] = {
        "study": "bowl", "mark": "m", "licence": "", "space": {
            "lr": ParamSpec(low=1e-3, high=1.0, log=True)
        }, "configs": tuple(configs), "hand": {}, "epochs": EPOCHS, "classes": 10,
        "sizes": {"train": 9000, "validation": 0, "test": 0}, "data": "d", "weights": None,
        "recipe": {}, "fixed": {}, "environments": (), "missing": 0, "runs": tuple(runs),
    }  # fmt: skip
    return CurveTable(**(values | changes))


@pytest.fixture
def spec(spec_values: Callable[..., dict[str, Any]]) -> StudySpec:
    values = spec_values(
        arms={"good": {"configs": [{"lr": 0.03}]}, "bad": {"configs": [{"lr": 0.9}]}},
        budget={"epochs": EPOCHS},
        trial={"epochs": EPOCHS},
        repeats=3,
    )
    values["space"] = {"lr": {"low": 1e-3, "high": 1.0, "log": True}}
    return StudySpec.parse(values, "test")


@pytest.fixture
def forest(spec: StudySpec) -> CurveForest:
    return CurveForest.of(rows_of(make_table(), SearchSpace.of(spec)))


def test_the_forest_is_exact_at_the_rows(forest: CurveForest) -> None:
    table = make_table()
    for i in (0, 7, 33):
        means = np.mean([run.errors for run in table.runs if run.config == i], axis=0)
        found = forest.expected(table.configs[i])
        assert found[:EPOCHS] == pytest.approx(means, abs=1e-3)
        assert found[EPOCHS] == pytest.approx(means[-1] + 0.05, abs=1e-3)


@pytest.mark.slow
def test_it_foretells_what_it_was_not_fitted_on(forest: CurveForest) -> None:
    found = foretold(forest.rows)
    assert found.explained > 0.9
    assert (found.rank() or 0) > 0.9
    assert found.error < 0.02
    assert (seed_noise(forest.rows) or 0) == pytest.approx(NOISE, rel=0.3)


def test_seeds_differ_as_those_of_the_table_do_and_alike_on_test(forest: CurveForest) -> None:
    params, seeds = {"lr": 0.02}, [RunSeed(0, i) for i in range(400)]
    found = np.array([forest.measured(params, seed) for seed in seeds])
    assert found[:, -2].std() == pytest.approx(NOISE, rel=0.35)
    assert np.corrcoef(found[:, -2], found[:, -1])[0, 1] > 0.95
    assert forest.measured(params, seeds[3]).tolist() == found[3].tolist()
    assert forest.drawn(1).measured(params, seeds[3]).tolist() != found[3].tolist()


def test_divergence_comes_where_the_table_has_it(spec: StudySpec) -> None:
    forest = CurveForest.of(rows_of(make_table(diverging=0.3), SearchSpace.of(spec)))
    assert forest.diverges_in({"lr": 0.9}, RunSeed()) == 2
    assert forest.full_error({"lr": 0.9}, RunSeed()) == CHANCE
    assert forest.expected({"lr": 0.9})[-1] == pytest.approx(CHANCE)
    assert forest.diverges_in({"lr": 0.002}, RunSeed()) is None


@pytest.mark.slow
def test_a_comparison_on_a_table_finds_the_better_arm(spec: StudySpec) -> None:
    table = make_table(sizes={"train": 9000, "validation": 1000, "test": 1000})
    changed = on_table(spec, table, ["repeats=2"])
    (found,) = replays(changed, TableSurrogate.of(table, changed), 1, 0)
    (pair,) = found.pairs
    assert (pair.reference, pair.baseline, pair.outcome) == ("good", "bad", "better")
    assert pair.difference == pytest.approx(true_error(0.9, 4) - true_error(0.03, 4), abs=0.04)


def test_what_does_not_go_with_a_table_is_said(spec: StudySpec) -> None:
    def refused(table: CurveTable, *changes: str) -> str:
        with pytest.raises(UserError) as raised:
            TableSurrogate.of(table, on_table(spec, table, changes))
        return str(raised.value)

    other = make_table(space={"lr": ParamSpec(low=1e-3, high=2.0, log=True)})
    assert "different spaces (look at lr)" in refused(other)
    assert "trial.epochs = 8" in refused(make_table(), "trial.epochs=8", "budget.epochs=8")
    few = make_table()
    assert "11 configurations, and 12" in refused(few.model_copy(update={"runs": few.runs[:22]}))
    assert "lr = 7.0 lies outside" in refused(make_table(), "arms.bad.configs=[{ lr = 7.0 }]")
    assert "may change" in refused(make_table(), "data.name=other")


def test_one_training_of_each_leaves_no_noise(spec: StudySpec) -> None:
    rows = rows_of(make_table(seeds=1), SearchSpace.of(spec))
    assert seed_noise(rows) is None
    forest = CurveForest.of(rows)
    params = {"lr": 0.02}
    assert (
        forest.measured(params, RunSeed(1)).tolist() == forest.measured(params, RunSeed(2)).tolist()
    )
