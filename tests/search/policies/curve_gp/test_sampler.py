"""CurveGPSampler in real studies: what it suggests, learns from, refuses and survives."""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna import Study, Trial, TrialPruned
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.policies.curve_gp import CurveGPSampler, feasibility, study_space
from tuneoff.search.policies.curve_gp import model_state as state
from tuneoff.search.policies.curve_gp import sampler as module
from tuneoff.search.policies.curve_gp.model import NotPositiveDefinite
from tuneoff.search.spec.space import value_at

STEPS = 9
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "y": FloatDistribution(0.0, 1.0),
}
KINDS: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-3.0, 5.0),
    "log": FloatDistribution(1e-4, 1.0, log=True),
    "stepped": FloatDistribution(0.1, 0.9, step=0.1),
    "int": IntDistribution(-2, 4),
    "log int": IntDistribution(1, 1000, log=True),
    "stepped int": IntDistribution(16, 128, step=16),
    "choice": CategoricalDistribution((None, True, 3, 0.5, "sgd")),
}
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


@pytest.fixture(autouse=True)
def quiet(quiet: None) -> None:
    """Not even Optuna's warnings; the outer fixture puts things back."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    if request.param == "memory":
        yield InMemoryStorage()
    elif request.param == "journal":
        yield JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    else:
        database = RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
        yield database
        database.remove_session()
        database.engine.dispose()


def error_at(params: dict[str, float]) -> float:
    """After a full run: least, 0.1, at (0.3, 0.6)."""
    return 0.1 + (params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2


def curve(params: dict[str, float], steps: int = STEPS) -> list[float]:
    """Errors after steps 1, 2, ..., which tell good from bad from the first one on."""
    final = error_at(params)
    return [final + 0.5 * (STEPS - step) / (STEPS * step) for step in range(1, steps + 1)]


def objective(trial: Trial) -> float:
    params = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE}
    for step, error in enumerate(curve(params), 1):
        trial.report(error, step)
        if trial.should_prune():
            raise TrialPruned
    return error_at(params)


def trials(
    count: int, state: TrialState, seed: int = 0, steps: int = STEPS, sign: float = 1.0
) -> list[FrozenTrial]:
    """At random points, with a curve of so many steps."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        params = {name: float(rng.random()) for name in SPACE}
        errors = [sign * error for error in curve(params, steps)]
        made.append(
            create_trial(
                state=state,
                params=params,
                distributions=SPACE,
                value=sign * error_at(params) if state == TrialState.COMPLETE else None,
                intermediate_values=dict(enumerate(errors, 1)),
            )
        )
    return made


def study_with(sampler: optuna.samplers.BaseSampler, *groups: list[FrozenTrial]) -> Study:
    study = optuna.create_study(sampler=sampler)
    for group in groups:
        study.add_trials(group)
    return study


def suggestion(
    *groups: list[FrozenTrial], seed: int = 0, max_epoch: int | None = None
) -> dict[str, Any]:
    return study_with(CurveGPSampler(seed=seed, max_epoch=max_epoch), *groups).ask(SPACE).params


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    return math.hypot(a["x"] - b["x"], a["y"] - b["y"])


def from_optimum(params: dict[str, Any]) -> float:
    return distance(params, {"x": 0.3, "y": 0.6})


class TestSuggestions:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", KINDS)
    def test_one_parameter_of_each_kind(self, name: str) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=1))
        drawn = []
        for i in range(9):
            trial = study.ask({"p": KINDS[name]})
            drawn.append(trial.params["p"])
            study.tell(trial, float(i % 4))
        check_values(KINDS[name], drawn)
        assert len(set(map(repr, drawn))) > 2

    def test_all_kinds_together(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=1))
        for i in range(15):
            trial = study.ask(KINDS)
            for name, value in trial.params.items():
                check_values(KINDS[name], [value])
            trial.report(trial.params["float"] ** 2 + i % 2, 1)
            study.tell(trial, trial.params["float"] ** 2 + len(repr(trial.params["choice"])))

    def test_choices_are_learnt(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        space: dict[str, BaseDistribution] = {"c": CategoricalDistribution("abcd"), **SPACE}
        for _ in range(16):
            trial = study.ask(space)
            study.tell(trial, error_at(trial.params) + 0.3 * (trial.params["c"] != "c"))
        assert [t.params["c"] for t in study.trials[6:]].count("c") >= 7

    def test_a_range_of_one_value_may_come_and_go(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        for i in range(12):
            constant: dict[str, BaseDistribution] = {"epochs": IntDistribution(i, i)}
            trial = study.ask({**SPACE, **(constant if i % 2 else {})})
            study.tell(trial, error_at(trial.params))
        last = study.trials[-1]
        assert last.params["epochs"] == 11
        searched = study.sampler.infer_relative_search_space(study, last)
        assert searched == SPACE

    def test_a_space_that_is_used_up_is_searched_on(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        study.optimize(lambda trial: float(trial.suggest_int("n", 0, 2)), n_trials=12)
        assert len(study.trials) == 12


def check_values(distribution: BaseDistribution, values: list[Any]) -> None:
    for value in values:
        if isinstance(distribution, CategoricalDistribution):
            assert any(value is choice or value == choice for choice in distribution.choices)
            continue
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        assert type(value) is (int if isinstance(distribution, IntDistribution) else float)
        assert distribution.low <= value <= distribution.high
        if distribution.step is not None:
            steps = (value - distribution.low) / distribution.step
            assert steps == pytest.approx(round(steps))


class TestStartUp:
    def test_comes_from_one_sobol_sequence(self) -> None:
        """Of each four points from a multiple of four on, one lies in each quarter of the cube."""
        study = optuna.create_study(sampler=CurveGPSampler(seed=3, n_startup_trials=16))
        points = []
        for _ in range(16):
            trial = study.ask(SPACE)
            points.append((int(trial.params["x"] * 2), int(trial.params["y"] * 2)))
            study.tell(trial, error_at(trial.params))
        for i in range(0, 16, 4):
            assert sorted(points[i : i + 4]) == [(0, 0), (0, 1), (1, 0), (1, 1)]

    @pytest.mark.parametrize("n", [1, 7])
    def test_is_as_long_as_told(self, n: int) -> None:
        def points(startup: int) -> list[dict[str, Any]]:
            sampler = CurveGPSampler(seed=0, n_startup_trials=startup)
            study = optuna.create_study(sampler=sampler)
            study.optimize(objective, n_trials=n + 1)
            return [trial.params for trial in study.trials]

        some, many = points(n), points(100)
        assert some[:-1] == many[:-1]
        assert some[-1] != many[-1]

    @pytest.mark.slow
    def test_workers_with_one_seed_draw_different_points(self, storage: BaseStorage) -> None:
        made = optuna.create_study(storage=storage)
        workers = [
            optuna.load_study(
                study_name=made.study_name, storage=storage, sampler=CurveGPSampler(seed=7)
            )
            for _ in range(2)
        ]
        asked = [worker.ask() for worker in workers * 3]  # all before any has its parameters
        points = [tuple(trial.suggest_float(n, 0.0, 1.0) for n in SPACE) for trial in asked]
        assert len(set(points)) == 6

    def test_values_of_pruned_and_failed_trials_end_it(self) -> None:
        pruned, failed = trials(4, TrialState.PRUNED), trials(1, TrialState.FAIL)
        sobol = suggestion(pruned, [create_trial(state=TrialState.FAIL)])
        assert suggestion(pruned, failed) != sobol

    def test_lasts_while_nobody_knows_the_parameters(self) -> None:
        study = study_with(CurveGPSampler(), trials(9, TrialState.FAIL))
        trial = study.ask(SPACE)
        assert study.sampler.infer_relative_search_space(study, study.trials[-1]) == {}
        assert set(trial.params) == set(SPACE)


class TestLearning:
    @pytest.mark.slow
    def test_from_pruned_trials(self) -> None:
        """Optuna's GPSampler has no model here: see tests/contract/test_optuna_samplers.py."""
        pruned, few = trials(40, TrialState.PRUNED, steps=3), trials(3, TrialState.COMPLETE, 1)
        ours = [from_optimum(suggestion(pruned, few, seed=seed)) for seed in range(10)]
        blind = [
            from_optimum(study_with(RandomSampler(seed=seed)).ask(SPACE).params)
            for seed in range(10)
        ]
        assert max(ours) < 0.15
        assert np.median(ours) < 0.5 * np.median(blind)

    @pytest.mark.parametrize("state", [s for s in STATES if s != TrialState.FAIL])
    def test_from_the_values_of_trials_in_any_state(self, state: TrialState) -> None:
        few, many = trials(3, TrialState.COMPLETE, 1), trials(20, state, steps=3)
        assert from_optimum(suggestion(few, many, max_epoch=STEPS)) < 0.15

    @pytest.mark.slow
    def test_from_full_runs_alone(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        study.optimize(
            lambda trial: error_at({n: trial.suggest_float(n, 0.0, 1.0) for n in SPACE}),
            n_trials=20,
        )
        assert study.best_value < 0.102

    def test_the_value_counts_and_not_the_last_report(self) -> None:
        """As where the best epoch's value is returned, or one of another split."""
        other = []
        for trial in trials(12, TrialState.COMPLETE):
            trial.value = (trial.params["x"] - 0.9) ** 2 + (trial.params["y"] - 0.1) ** 2
            other.append(trial)
        assert distance(suggestion(other), {"x": 0.9, "y": 0.1}) < 0.2

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("pruner", "pruned"),
        [
            (MedianPruner(n_startup_trials=2), 5),
            (SuccessiveHalvingPruner(), 5),
            (HyperbandPruner(min_resource=1, max_resource=STEPS), 5),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_with_a_pruner(self, pruner: BasePruner, pruned: int) -> None:
        best = []
        for seed in range(3):
            study = optuna.create_study(sampler=CurveGPSampler(seed=seed), pruner=pruner)
            study.optimize(objective, n_trials=25)
            states = [trial.state for trial in study.trials]
            assert states.count(TrialState.PRUNED) >= pruned
            best.append(study.best_value)
        assert np.median(best) < 0.102

    def test_all_of_hyperbands_brackets_count(self) -> None:
        history = (
            trials(6, TrialState.COMPLETE),
            trials(10, TrialState.PRUNED, seed=1, steps=1),
            trials(1, TrialState.RUNNING, seed=2, steps=1),
        )
        study = optuna.create_study(
            sampler=CurveGPSampler(seed=0),
            pruner=HyperbandPruner(min_resource=1, max_resource=STEPS),
        )
        for group in history:
            study.add_trials(group)
        study.pruner.prune(study, study.trials[-1])  # only now does it make its brackets
        assert study.ask(SPACE).params == suggestion(*history)

    def test_running_trials_repel(self) -> None:
        history = trials(12, TrialState.COMPLETE)
        study = study_with(CurveGPSampler(seed=0), history)
        points = [study.ask(SPACE).params for _ in range(4)]  # none of them is told
        apart = [distance(points[i], points[j]) for i in range(4) for j in range(i)]
        assert min(apart) > 0.02

    @pytest.mark.slow
    def test_trials_asked_for_at_once_repel(self, storage: BaseStorage) -> None:
        """Before the first one has its parameters in the storage."""
        made = optuna.create_study(storage=storage)
        made.add_trials(trials(12, TrialState.COMPLETE))
        workers = [
            optuna.load_study(
                study_name=made.study_name, storage=storage, sampler=CurveGPSampler(seed=7)
            )
            for _ in range(3)
        ]
        drawn = []
        for trial in [worker.ask() for worker in workers]:
            sampler = trial.study.sampler
            frozen = trial.study.trials[trial.number]
            space = sampler.infer_relative_search_space(trial.study, frozen)
            drawn.append(sampler.sample_relative(trial.study, frozen, space))
        apart = [distance(drawn[i], drawn[j]) for i in range(3) for j in range(i)]
        assert min(apart) > 0.02

    def test_the_trial_that_is_asked_for_does_not_count(self) -> None:
        """Even where it has parameters and values, as nothing forbids."""
        study = study_with(CurveGPSampler(seed=0), trials(12, TrialState.COMPLETE))
        blank = create_trial(state=TrialState.RUNNING)
        known = trials(1, TrialState.RUNNING, seed=5)[0]
        drawn = []
        for trial in (blank, known):
            copy = study_with(study.sampler, study.trials, [trial])
            space = study.sampler.infer_relative_search_space(copy, copy.trials[-1])
            drawn.append(study.sampler.sample_relative(copy, copy.trials[-1], space))
        assert drawn[0] == drawn[1]

    def test_waiting_and_incomplete_later_trials_do_not_count(self) -> None:
        history = trials(12, TrialState.COMPLETE)
        study = study_with(CurveGPSampler(seed=0), history)
        first = study.ask()
        study.ask().suggest_float("y", 0.0, 1.0)  # x is not there yet
        study.enqueue_trial({"x": 0.31, "y": 0.61})
        params = {name: first.suggest_float(name, 0.0, 1.0) for name in SPACE}
        assert params == suggestion(history)

    def test_no_number_and_infinity_harm_nobody(self) -> None:
        history = trials(12, TrialState.COMPLETE)
        broken = trials(3, TrialState.PRUNED, seed=1)
        for trial, value in zip(broken, (math.nan, math.inf, -math.inf), strict=True):
            trial.intermediate_values = {1: value}
        diverged = trials(1, TrialState.COMPLETE, seed=2)[0]
        diverged.value = math.inf
        assert from_optimum(suggestion(history, broken[:2], [diverged])) < 0.2
        assert set(suggestion(history, broken)) == set(SPACE)

    @pytest.mark.parametrize("value", [0.0, math.inf])
    def test_equal_values_are_no_obstacle(self, value: float) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        for _ in range(8):
            study.tell(study.ask(SPACE), value)
        assert len(study.trials) == 8


class TestSteps:
    def renumbered(self, history: list[FrozenTrial], number: Callable[[int], int]) -> Any:
        for trial in history:
            values = trial.intermediate_values
            trial.intermediate_values = {number(step): v for step, v in values.items()}
        return history

    def history(self) -> list[FrozenTrial]:
        return [
            *trials(5, TrialState.COMPLETE),
            *trials(9, TrialState.PRUNED, seed=1, steps=3),
        ]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("number", "max_epoch"),
        [(lambda step: step - 1, STEPS), (lambda step: 100 * step, 100 * STEPS)],
        ids=["from 0", "by hundreds"],
    )
    def test_wherever_they_begin_and_however_far_apart(
        self, number: Callable[[int], int], max_epoch: int
    ) -> None:
        plain = suggestion(self.history())
        assert suggestion(self.history(), max_epoch=STEPS) == plain
        assert suggestion(self.renumbered(self.history(), number)) == plain
        moved = self.renumbered(self.history(), number)
        assert suggestion(moved, max_epoch=max_epoch) == plain

    def test_from_0_by_hundreds(self) -> None:
        moved = self.renumbered(self.history(), lambda step: 100 * (step - 1))
        assert suggestion(moved) == suggestion(self.history())

    def test_what_a_full_run_is_makes_a_difference(self) -> None:
        cut = trials(12, TrialState.PRUNED, steps=3)
        assert suggestion(cut, max_epoch=STEPS) != suggestion(cut)
        assert suggestion(cut, max_epoch=3) == suggestion(cut)

    def test_later_ones_are_left_out(self) -> None:
        long, short = (trials(12, TrialState.PRUNED, steps=steps) for steps in (STEPS, 4))
        assert suggestion(long, max_epoch=4) == suggestion(short, max_epoch=4)


class TestDeterminism:
    @pytest.fixture
    def history(self) -> list[list[FrozenTrial]]:
        return [trials(6, state, seed) for seed, state in enumerate(STATES)]

    def test_same_seed_and_history(self, history: list[list[FrozenTrial]]) -> None:
        assert suggestion(*history, seed=7) == suggestion(*history, seed=7)
        assert suggestion(seed=7) == suggestion(seed=7)
        # Of a history, two seeds may propose the same: the model can be sure of a corner.
        assert suggestion(seed=7) != suggestion(seed=8)

    def test_whole_study(self) -> None:
        studies = [optuna.create_study(sampler=CurveGPSampler(seed=4)) for _ in range(2)]
        for study in studies:
            study.optimize(objective, n_trials=10)
        assert [t.params for t in studies[0].trials] == [t.params for t in studies[1].trials]

    def test_neither_use_nor_reseeding_nor_pickling_matters(
        self, history: list[list[FrozenTrial]]
    ) -> None:
        sampler = CurveGPSampler(seed=7)
        study_with(sampler).optimize(objective, n_trials=7)
        sampler.reseed_rng()
        copy = pickle.loads(pickle.dumps(sampler))
        assert study_with(copy, *history).ask(SPACE).params == suggestion(*history, seed=7)

    def test_no_seed_is_a_new_one_each_time(self) -> None:
        drawn = [study_with(CurveGPSampler()).ask(SPACE).params["x"] for _ in range(3)]
        assert len(set(drawn)) == 3

    def test_maximising_mirrors_minimising(self) -> None:
        down, up = (
            [
                *trials(8, TrialState.COMPLETE, sign=sign),
                *trials(8, TrialState.PRUNED, seed=1, steps=2, sign=sign),
            ]
            for sign in (1.0, -1.0)
        )
        study = optuna.create_study(direction="maximize", sampler=CurveGPSampler(seed=0))
        study.add_trials(up)
        assert study.ask(SPACE).params == suggestion(down)


class TestStudies:
    @pytest.mark.slow
    def test_in_any_storage(self, storage: BaseStorage) -> None:
        study = optuna.create_study(
            storage=storage, sampler=CurveGPSampler(seed=0), pruner=MedianPruner(n_startup_trials=2)
        )
        study.optimize(objective, n_trials=12)
        memory = optuna.create_study(
            sampler=CurveGPSampler(seed=0), pruner=MedianPruner(n_startup_trials=2)
        )
        memory.optimize(objective, n_trials=12)
        assert [t.params for t in study.trials] == [t.params for t in memory.trials]

    @pytest.mark.slow
    @pytest.mark.parametrize("jobs", [2, 4])
    def test_with_several_jobs(self, jobs: int) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        # Four jobs know the fewer results the slower the machine is: so many trials are enough.
        study.optimize(objective, n_trials=30, n_jobs=jobs)
        points = [(t.params["x"], t.params["y"]) for t in study.trials]
        assert len(set(points)) == 30
        assert study.best_value < 0.15

    def test_enqueued_trials(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        study.enqueue_trial({"x": 0.25, "y": 0.5})
        study.enqueue_trial({"y": 0.75})
        study.optimize(objective, n_trials=8)
        study.enqueue_trial({"x": 0.125})
        study.optimize(objective, n_trials=2)
        assert study.trials[0].params == {"x": 0.25, "y": 0.5}
        assert study.trials[1].params["y"] == 0.75
        assert study.trials[8].params["x"] == 0.125
        assert {len(t.params) for t in study.trials} == {2}

    def test_an_enqueued_value_outside_its_range(self) -> None:
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        study.enqueue_trial({"lr": 1e-9})
        log: dict[str, BaseDistribution] = {"lr": FloatDistribution(1e-4, 1.0, log=True)}
        with pytest.warns(UserWarning, match="out of range"):
            study.tell(study.ask(log), 0.5)
        for _ in range(8):
            trial = study.ask(log)
            study.tell(trial, abs(math.log10(trial.params["lr"]) + 2))
        assert abs(math.log10(study.best_params["lr"]) + 2) < 0.2

    def test_after_another_sampler(self) -> None:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(objective, n_trials=15)
        study.sampler = CurveGPSampler(seed=0)
        study.optimize(objective, n_trials=5)
        assert study.best_trial.number >= 15

    def test_with_a_parameter_that_is_fixed(self) -> None:
        with pytest.warns(ExperimentalWarning):
            sampler = PartialFixedSampler({"y": 0.25}, CurveGPSampler(seed=0))
        study = study_with(sampler, trials(12, TrialState.COMPLETE))
        study.optimize(objective, n_trials=3)
        assert [t.params["y"] for t in study.trials[12:]] == [0.25] * 3

    def test_a_failed_trial_without_its_parameters(self) -> None:
        study = study_with(CurveGPSampler(seed=0), trials(8, TrialState.COMPLETE))
        study.ask().suggest_float("x", 0.0, 1.0)
        study.tell(8, state=TrialState.FAIL)
        study.ask().suggest_float("x", 0.0, 1.0)
        study.tell(9, state=TrialState.PRUNED)
        assert set(study.ask(SPACE).params) == set(SPACE)


class TestRefusals:
    @pytest.fixture(params=[3, 8], ids=["start-up", "model"])
    def study(self, request: pytest.FixtureRequest) -> Study:
        return study_with(CurveGPSampler(seed=0), trials(request.param, TrialState.COMPLETE))

    def test_several_objectives(self) -> None:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=CurveGPSampler())
        with pytest.raises(ValueError, match=r"multi-objective.*CurveGPSampler cannot be used"):
            study.ask(SPACE)
        asked: list[Callable[[], Any]] = [
            lambda: study.sampler.sample_relative(study, study.trials[0], SPACE),
            lambda: study.sampler.sample_independent(study, study.trials[0], "x", SPACE["x"]),
        ]
        for ask in asked:
            with pytest.raises(ValueError, match="multi-objective"):
                ask()

    def test_a_parameter_of_one_trial(self, study: Study) -> None:
        with pytest.raises(ValueError, match=r"'z' and earlier trials did not; .* use .*TPE"):
            study.ask({**SPACE, "z": FloatDistribution(0.0, 1.0)})

    def test_in_optimize_the_error_ends_the_study(self, study: Study) -> None:
        def conditional(trial: Trial) -> float:
            return objective(trial) + trial.suggest_float("momentum", 0.0, 1.0)

        with pytest.raises(ValueError, match="'momentum'"):
            study.optimize(conditional, n_trials=3)
        assert study.trials[-1].state == TrialState.FAIL
        study.optimize(objective, n_trials=1)

    @pytest.mark.parametrize(
        "arguments", [{"n_startup_trials": 0}, {"max_epoch": 0}, {"seed": -1}], ids=str
    )
    def test_arguments_out_of_range(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            CurveGPSampler(**arguments)


@dataclass(frozen=True)
class Failing:
    """What a run reports where training fails, and how its trial ends."""

    reports: tuple[float, ...]
    end: str


FAILING = {
    "NaN": Failing((math.nan,) * STEPS, "return"),
    "infinity": Failing((math.inf,) * STEPS, "return"),
    "one finite error and then NaN": Failing((0.9, *(math.nan,) * (STEPS - 1)), "return"),
    "pruned by hand with a huge error": Failing((1e6,), "prune"),
    "pruned by hand with the error of guessing": Failing((0.9,), "prune"),
    "pruned before any error": Failing((), "prune"),
    "an exception": Failing((), "raise"),
    "an exception after an error": Failing((0.9,), "raise"),
    "a huge value": Failing((1e18,), "return"),
}


class Broken(Exception):
    """What training raises where it fails."""


def fails(how: Failing) -> Callable[[Trial], float]:
    """In the half of the space that is next to the optimum."""

    def objective(trial: Trial) -> float:
        params = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE}
        failed = params["x"] > 0.5
        trial.set_user_attr("failed", failed)
        error = math.nan
        for step, error in enumerate(how.reports if failed else near_failure(params), 1):
            trial.report(error, step)
            if trial.should_prune():
                raise TrialPruned
        if failed and how.end == "prune":
            raise TrialPruned
        if failed and how.end == "raise":
            raise Broken
        return error

    return objective


def near_failure(params: dict[str, float]) -> list[float]:
    final = (params["x"] - 0.45) ** 2 + (params["y"] - 0.6) ** 2
    return [final + 0.3 * (STEPS - step) / (STEPS * step) for step in range(1, STEPS + 1)]


class TestFailures:
    # Of Optuna's MedianPruner, which takes medians of what is no number.
    @pytest.mark.filterwarnings("ignore::RuntimeWarning:optuna")
    @pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")
    @pytest.mark.slow
    @pytest.mark.parametrize("way", FAILING)
    def test_fewer_and_fewer_trials_fail(self, way: str) -> None:
        """Random search has about 10 of the last 20 fail, a model without failures 9 to 20."""
        late, best = [], []
        for seed in range(4):
            study = optuna.create_study(
                sampler=CurveGPSampler(seed=seed, max_epoch=STEPS), pruner=MedianPruner()
            )
            study.optimize(fails(FAILING[way]), n_trials=40, catch=(Broken,))
            late.append(sum(trial.user_attrs["failed"] for trial in study.trials[-20:]))
            best.append(study.best_value)
        assert np.mean(late) <= 5
        assert np.median(best) < 0.005

    @pytest.mark.slow
    def test_a_few_huge_values_cost_no_resolution(self) -> None:
        def objective(trial: Trial) -> float:
            params = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE}
            return 1e18 if trial.number % 10 == 3 else error_at(params) - 0.1

        best = []
        for seed in range(3):
            study = optuna.create_study(sampler=CurveGPSampler(seed=seed))
            study.optimize(objective, n_trials=30)
            best.append(study.best_value)
        assert np.median(best) < 3e-3

    def test_failures_anywhere_keep_it_from_nowhere(self) -> None:
        """As of machines, which have nothing to do with the configuration."""
        good, bad = trials(14, TrialState.COMPLETE), trials(10, TrialState.FAIL, 1, steps=0)
        assert from_optimum(suggestion(good, bad)) < 0.25

    @pytest.mark.parametrize("end", ["prune", "raise", "return"])
    def test_where_everything_fails_it_searches_on(self, end: str) -> None:
        def everywhere(trial: Trial) -> float:
            for name in SPACE:
                trial.suggest_float(name, 0.0, 1.0)
            if end == "raise":
                raise Broken
            trial.report(1e6 if end == "prune" else math.nan, 1)
            if end == "prune":
                raise TrialPruned
            return math.nan

        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        study.optimize(everywhere, n_trials=14, catch=(Broken,))
        points = [tuple(trial.params.values()) for trial in study.trials]
        assert len(set(points)) == 14

    def test_nothing_changes_while_nothing_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The model of failures is not even asked."""
        expected = suggestion(trials(12, TrialState.COMPLETE))
        monkeypatch.setattr(feasibility, "fit", None)
        assert suggestion(trials(12, TrialState.COMPLETE)) == expected


def one(params: dict[str, Any], distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    return create_trial(params=params, distributions=distributions, value=0.05)


class TestOddTrials:
    """One trial that does not fit costs one trial, not the study."""

    WIDE: ClassVar[dict[str, BaseDistribution]] = {**SPACE, "x": FloatDistribution(0.0, 3.0)}
    ADDED: ClassVar[dict[str, FrozenTrial]] = {
        "another range": one({"x": 2.5, "y": 0.5}, WIDE),
        "a logarithmic range": one(
            {"x": 2.5, "y": 0.5}, {**SPACE, "x": FloatDistribution(1e-3, 3.0, log=True)}
        ),
        "no y": one({"x": 0.5}, {"x": SPACE["x"]}),
        "a z": one({"x": 0.5, "y": 0.5, "z": 0.5}, {**SPACE, "z": FloatDistribution(0.0, 1.0)}),
        "other parameters": one({"a": 0.5}, {"a": FloatDistribution(0.0, 1.0)}),
        "whole numbers": one({"x": 5, "y": 0.5}, {**SPACE, "x": IntDistribution(0, 9)}),
        "choices": one({"x": "sgd", "y": 0.5}, {**SPACE, "x": CategoricalDistribution(["sgd"])}),
        "other choices": one(
            {"x": "b", "y": 0.5}, {**SPACE, "x": CategoricalDistribution(["a", "b"])}
        ),
    }

    @pytest.mark.slow
    @pytest.mark.parametrize("count", [1, 3, 8])
    @pytest.mark.parametrize("odd", ADDED)
    def test_one_that_was_added_is_left_out_with_a_warning(
        self, odd: str, count: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        study = study_with(CurveGPSampler(seed=0), trials(count, TrialState.COMPLETE))
        study.add_trial(self.ADDED[odd])
        with caplog.at_level(logging.WARNING, logger=module.__name__):
            for _ in range(3):
                ours = study.ask()
                # Not ``suggest_float``: Optuna itself refuses another kind of range in one study.
                space = study.sampler.infer_relative_search_space(study, study.trials[-1])
                drawn = study.sampler.sample_relative(study, study.trials[-1], space)
                study.tell(ours, state=TrialState.FAIL)
                if count > 1:
                    assert space == SPACE
                assert all(0.0 <= value <= 1.0 for value in drawn.values() if count > 1)
        if count > 1:
            (message,) = caplog.messages  # once
            assert f"trial {count} is left out: " in message

    def test_one_with_another_range_is_learnt_from_if_it_lies_inside(self) -> None:
        history = trials(9, TrialState.COMPLETE)
        inside = {"x": 0.5, "y": 0.5}
        assert suggestion(history, [one(inside, self.WIDE)]) == suggestion(
            history, [one(inside, SPACE)]
        )

    @pytest.mark.parametrize("count", [3, 8], ids=["start-up", "model"])
    def test_a_wider_range_then_the_old_one(self, count: int) -> None:
        study = study_with(CurveGPSampler(seed=0), trials(count, TrialState.COMPLETE))
        for space in (self.WIDE, SPACE, SPACE, self.WIDE, SPACE):
            trial = study.ask(space)
            for name, value in trial.params.items():
                check_values(space[name], [value])
            study.tell(trial, 1.0)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "x", [FloatDistribution(0.0, 3.0), FloatDistribution(0.2, 0.4), FloatDistribution(2.0, 3.0)]
    )
    def test_a_range_that_is_changed_for_good_is_followed(
        self, x: FloatDistribution, caplog: pytest.LogCaptureFixture
    ) -> None:
        study = study_with(CurveGPSampler(seed=0), trials(8, TrialState.COMPLETE))
        space: dict[str, BaseDistribution] = {**SPACE, "x": x}
        with caplog.at_level(logging.WARNING, logger=module.__name__):
            for _ in range(16):
                trial = study.ask(space)
                check_values(x, [trial.params["x"]])
                study.tell(trial, abs(trial.params["x"] - x.high))
        assert study.sampler.infer_relative_search_space(study, study.trials[-1]) == space
        assert x.high - study.best_params["x"] < 0.05 * (x.high - x.low)
        outside = any(not x.low <= trial.params["x"] <= x.high for trial in study.trials)
        assert bool(caplog.messages) == outside

    def test_a_parameter_that_is_deleted_for_good(self, caplog: pytest.LogCaptureFixture) -> None:
        study = study_with(CurveGPSampler(seed=0), trials(8, TrialState.COMPLETE))
        with caplog.at_level(logging.WARNING, logger=module.__name__):
            for _ in range(14):
                trial = study.ask({"x": SPACE["x"]})
                study.tell(trial, (trial.params["x"] - 0.3) ** 2)
        assert abs(study.best_params["x"] - 0.3) < 0.05
        assert "'y' was not searched there" in caplog.text
        assert "TPESampler" in caplog.text

    def test_a_conditional_space_is_refused_once_it_shows(self) -> None:
        def conditional(trial: Trial) -> float:
            if trial.number % 4 == 3:
                trial.suggest_float("momentum", 0.0, 1.0)
            return objective(trial)

        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        with pytest.raises(ValueError, match=r"'momentum'.*conditional space use .*group=True"):
            study.optimize(conditional, n_trials=9)
        study.optimize(objective, n_trials=3)

    def test_a_choice_that_does_not_exist_is_refused_by_optuna_before_it_is_stored(self) -> None:
        space: dict[str, BaseDistribution] = {**SPACE, "c": CategoricalDistribution("ab")}
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        for number in range(8):
            if number in (2, 6):
                study.enqueue_trial({"c": "nothing"})
                with pytest.raises(ValueError, match="nothing"):
                    study.ask(space)
                study.tell(number, state=TrialState.FAIL)
            else:
                study.tell(study.ask(space), float(number))
        assert set(study.ask(space).params) == {"x", "y", "c"}

    @pytest.mark.parametrize("value", [-1.0, 0.0, 5.0])
    def test_an_enqueued_value_that_has_no_logarithm(self, value: float) -> None:
        log: dict[str, BaseDistribution] = {"lr": FloatDistribution(1e-4, 1.0, log=True)}
        study = optuna.create_study(sampler=CurveGPSampler(seed=0))
        study.enqueue_trial({"lr": value})
        if value > 0:
            with pytest.warns(UserWarning, match="out of range"):
                study.tell(study.ask(log), 0.5)
        else:  # refused by Optuna before it is stored
            with pytest.raises(ValueError, match="invalid value"):
                study.ask(log)
        for _ in range(8):
            trial = study.ask(log)
            check_values(log["lr"], [trial.params["lr"]])
            study.tell(trial, 0.1)

    @pytest.mark.slow
    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_a_suggestion_lies_in_the_space_whatever_the_history_holds(
        self, data: st.DataObject
    ) -> None:
        study = optuna.create_study(
            direction=data.draw(st.sampled_from(["minimize", "maximize"])),
            sampler=CurveGPSampler(
                seed=data.draw(st.integers(0, 9)),
                n_startup_trials=data.draw(st.integers(1, 4)),
                max_epoch=data.draw(st.none() | st.integers(1, 5)),
            ),
        )
        values = st.floats(width=64) | st.sampled_from([0.5, 0.9, 1e18, math.inf, math.nan])
        spaces = [dict(list(KINDS.items())[:4]), dict(list(KINDS.items())[2:])]
        for _ in range(data.draw(st.integers(0, 12), "trials")):
            space = spaces[data.draw(st.sampled_from([0, 0, 0, 0, 1]))]
            wide = data.draw(st.sampled_from([False, False, False, True]))
            made: dict[str, BaseDistribution] = {}
            params = {}
            for name, distribution in space.items():
                at = data.draw(st.floats(0, 1))
                made[name] = distribution
                if wide and name == "float":
                    made[name] = FloatDistribution(-9.0, 9.0)
                params[name] = value_at(made[name], at)
            state = data.draw(st.sampled_from(STATES))
            value = data.draw(values.filter(lambda v: not math.isnan(v)))
            errors = data.draw(st.dictionaries(st.integers(0, 6), values, max_size=4))
            study.add_trial(
                create_trial(
                    state=state,
                    params=params,
                    distributions=made,
                    value=value if state == TrialState.COMPLETE else None,
                    intermediate_values=errors,
                )
            )
        for _ in range(2):
            space, _ = study_space.space_of(study.trials)
            asked = space if space else spaces[0]
            for name, drawn in study.ask(asked).params.items():
                check_values(asked[name], [drawn])


def test_without_a_model_it_goes_on_with_the_start_up_sequence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any) -> None:
        raise NotPositiveDefinite("a kernel matrix of 9 observations cannot be factored")

    monkeypatch.setattr(state, "fit", fails)
    startup = optuna.create_study(sampler=CurveGPSampler(seed=0, n_startup_trials=100))
    startup.optimize(objective, n_trials=7)
    study = optuna.create_study(study_name="mine", sampler=CurveGPSampler(seed=0))
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        study.optimize(objective, n_trials=7)
    assert [t.params for t in study.trials] == [t.params for t in startup.trials]
    assert len(caplog.messages) == 2
    assert "mine: a kernel matrix of 9 observations cannot be factored" in caplog.text
    assert "trial 6 gets a quasi-random configuration" in caplog.text
