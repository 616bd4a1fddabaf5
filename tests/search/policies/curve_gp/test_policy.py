"""The policy: what it starts, pauses and goes on with, on the benchmarks' virtual clock."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import math
import tracemalloc
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import Decision, History, Job, NewTrial, ResumeTrial
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.kernel import LogNormal, Priors
from tuneoff.search.policies.curve_gp.observations import MODELLED
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.policies.sampled import Sampled, random_sampler
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import (
    CHOSEN_BY,
    DIVERGED,
    FULL_RUNS_ONLY,
    MODEL,
    QUASI_RANDOM,
    START,
)
from tuneoff.trainer.recipe import HyperParams, Recipe

HORIZON = 27
LR = FloatDistribution(1e-4, 1.0, log=True)
MOMENTUM = FloatDistribution(0.5, 0.99)
SPACES: Mapping[str, Mapping[str, BaseDistribution]] = {
    "ranges": {"lr": LR, "momentum": MOMENTUM},
    "three ranges": {
        "lr": LR,
        "momentum": MOMENTUM,
        "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    },
    "mixed": {
        "lr": LR,
        "schedule": CategoricalDistribution(("plateau", "cosine", "step")),
        "batch_size": IntDistribution(16, 512, log=True),
        "warmup_epochs": FloatDistribution(0.0, 2.0, step=0.5),
    },
    "tiny": {
        "schedule": CategoricalDistribution(("plateau", "cosine", "step")),
        "patience": IntDistribution(1, 2),
    },
}
Curve = Callable[[Mapping[str, Any]], list[float]]


def space_of(name: str) -> SearchSpace:
    return SearchSpace(SPACES[name], Recipe(), HyperParams())


RANGES = space_of("ranges")


def final(params: Mapping[str, Any]) -> float:
    """The error after a full run: 0 at the optimum, about 0.3 for a typical configuration."""
    error: float = 0.1 * math.log10(params.get("lr", 0.02) / 0.02) ** 2
    error += 0.05 * math.log10(params.get("weight_decay", 1e-4) / 1e-4) ** 2
    error += 3.0 * (params.get("momentum", 0.8) - 0.8) ** 2
    error += {"plateau": 0.1, "cosine": 0.0, "step": 0.2}[params.get("schedule", "cosine")]
    error += 0.05 * abs(math.log2(params.get("batch_size", 64) / 64))
    error += 0.05 * params.get("warmup_epochs", 0.0) + 0.1 * (params.get("patience", 1) - 1)
    return error


def falling(horizon: int) -> Curve:
    """Errors fall as 1 / sqrt(epoch) does, a bit more here than there."""

    def curve(params: Mapping[str, Any]) -> list[float]:
        height = 0.4 + 0.1 * math.sin(3 * math.log10(params.get("lr", 1.0)))
        fall = [epoch**-0.5 - horizon**-0.5 for epoch in range(1, horizon + 1)]
        return [final(params) + height * left for left in fall]

    return curve


def valid(job: Job | None, history: History, policy: CurveGP) -> None:
    """Asserts that a job can be done, and that there is none only where none can be."""
    trials, horizon, remaining = history.trials, history.horizon, history.remaining
    reached = {n: max(trials[n].intermediate_values, default=0) for n in history.paused}
    if isinstance(job, NewTrial):
        assert remaining >= horizon
        assert policy.space.check(job.params) == job.params
        assert job.until_epoch in policy.rungs(horizon)
        assert json.loads(json.dumps(job.note)) == job.note
        assert job.note[CHOSEN_BY.name] in (START, MODEL, FULL_RUNS_ONLY, QUASI_RANDOM)
    elif isinstance(job, ResumeTrial):
        assert job.number in history.paused
        assert job.until_epoch in policy.rungs(horizon)
        assert reached[job.number] < job.until_epoch <= horizon
        assert horizon - reached[job.number] <= remaining  # it can be paid for to its end
    else:
        errors = [e for trial in trials for e in trial.intermediate_values.values()]
        assert remaining < horizon
        all_failed = not any(e < math.inf for e in errors)  # NaN is not either
        assert all_failed or all(horizon - r > remaining for r in reached.values())


@dataclass
class Watched:
    """A policy of which every answer is checked and kept."""

    policy: CurveGP
    asked: list[tuple[History, Job | None]] = field(default_factory=list)
    decided: list[tuple[int, int, Decision]] = field(default_factory=list)

    def next(self, history: History) -> Job | None:
        job = self.policy.next(history)
        valid(job, history, self.policy)
        self.asked.append((history, job))
        return job

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        decision = self.policy.after(history, trial)
        self.decided.append((trial.number, max(trial.intermediate_values), decision))
        return decision

    @property
    def new(self) -> list[NewTrial]:
        return [job for _, job in self.asked if isinstance(job, NewTrial)]

    @property
    def resumed(self) -> list[ResumeTrial]:
        return [job for _, job in self.asked if isinstance(job, ResumeTrial)]

    def chosen(self, why: str) -> list[NewTrial]:
        return [job for job in self.new if job.note[CHOSEN_BY.name] == why]


@dataclass(frozen=True)
class Run:
    """A simulation, and what the policy was asked and answered in it."""

    simulation: Any
    watched: Watched

    @property
    def epochs(self) -> dict[int, list[int]]:
        """Those of each trial, as they were trained."""
        found = defaultdict(list)
        for step in self.simulation.steps:
            found[step.trial].append(step.epoch)
        return dict(found)

    def recommended(self) -> float:
        return float(self.simulation.recommended(2**31, HORIZON))


@pytest.fixture(scope="session")
def play(virtual: ModuleType) -> Callable[..., Run]:
    """Runs a policy on the virtual clock."""

    def play(
        policy: CurveGP, curve: Curve, budget: int, horizon: int = HORIZON, workers: int = 1
    ) -> Run:
        watched = Watched(policy)
        distributions = policy.space.distributions
        return Run(
            virtual.simulate(watched, distributions, curve, horizon, budget, workers), watched
        )

    return play


@pytest.fixture(scope="session")
def played(play: Any) -> Run:
    """Two workers' run, of which tests ask again; not to be changed."""
    run: Run = play(
        CurveGP(RANGES, (3,), startup=4, full_after=3.0), falling(HORIZON), 12 * HORIZON, workers=2
    )
    assert {job.note[CHOSEN_BY.name] for job in run.watched.new} >= {START, MODEL, FULL_RUNS_ONLY}
    assert run.watched.resumed
    return run


def modelled(run: Run) -> list[tuple[History, Job]]:
    """What was asked of the model, and answered."""
    found = [
        (history, job)
        for history, job in run.watched.asked
        if job is not None and len(history.trials) >= run.watched.policy.startup
    ]
    assert len(found) > 20
    return found


# A pure function


@pytest.mark.slow
def test_the_same_history_and_seed_give_the_same_answer(played: Run) -> None:
    policy = played.watched.policy
    for history, job in modelled(played)[::4]:
        other = CurveGP(RANGES, (3,), startup=4, full_after=3.0)
        copied = replace(history, trials=tuple(copy.deepcopy(t) for t in history.trials))
        assert other.next(copied) == job
        assert policy.next(history) == job


def test_another_seed_starts_elsewhere(played: Run) -> None:
    history = played.watched.asked[0][0]
    jobs = [CurveGP(RANGES, seed).next(history) for seed in ((3, 0), (4, 0), (3, 1), (4, 1))]
    assert len({json.dumps(job.params) for job in jobs if isinstance(job, NewTrial)}) == 4


@pytest.mark.slow
def test_the_same_run_twice_is_the_same(play: Any, played: Run) -> None:
    again = play(played.watched.policy, falling(HORIZON), 12 * HORIZON, workers=2)
    assert again.simulation.steps == played.simulation.steps
    assert again.simulation.states == played.simulation.states


@pytest.mark.slow
def test_the_order_in_which_trials_are_read_changes_no_model(played: Run) -> None:
    policy = played.watched.policy
    for history, _ in modelled(played)[::10]:
        expected = policy.state(history)
        trials = tuple(np.random.default_rng(0).permutation(np.array(history.trials, dtype=object)))
        found = policy.state(replace(history, trials=trials))
        assert expected is not None
        assert found is not None
        assert [curve.number for curve in found.curves] == [c.number for c in expected.curves]
        assert np.array_equal(found.model.inverse, expected.model.inverse)
        assert np.array_equal(found.model.alpha, expected.model.alpha)
        assert (found.running, found.count) == (expected.running, expected.count)


def negated(trial: FrozenTrial) -> FrozenTrial:
    turned = copy.deepcopy(trial)
    turned.intermediate_values = {e: -v for e, v in trial.intermediate_values.items()}
    turned.values = None if trial.values is None else [-value for value in trial.values]
    return turned


@pytest.mark.slow
def test_a_maximised_metric_is_a_minimised_negative_one(played: Run) -> None:
    study = optuna.create_study(direction="maximize")
    for history, job in modelled(played)[::4]:
        trials = tuple(negated(trial) for trial in history.trials)
        assert played.watched.policy.next(replace(history, study=study, trials=trials)) == job


# Workers at the same time


def given_out(history: History, job: Job, stored: Any) -> History:
    """The history once a worker has begun with a job."""
    if isinstance(job, ResumeTrial):
        reached = max(history.trials[job.number].intermediate_values)
        return replace(
            history,
            paused=history.paused - {job.number},
            remaining=history.remaining - (job.until_epoch - reached),
        )
    trial = stored(len(history.trials), SPACES["ranges"], job.params, {}, note=job.note)
    return replace(
        history,
        trials=(*history.trials, trial),
        remaining=history.remaining - job.until_epoch,
    )


@pytest.mark.slow
@pytest.mark.parametrize("full_share", [0.0, 1.0])
def test_workers_that_ask_at_once_get_different_answers(
    played: Run, stored: Any, full_share: float
) -> None:
    """Up to five, before any of them has come to its first epoch."""
    encoding = Encoding(SPACES["ranges"])
    policy = replace(played.watched.policy, full_share=full_share, quasi_random_every=0)
    kinds: Counter[type] = Counter()
    for history, _ in modelled(played)[2::6]:
        now = replace(history, remaining=1000)
        places = [encoding.columns(trial.params) for trial in history.trials]
        resumed: list[int] = []
        for _ in range(5):
            job = policy.next(now)
            assert job is not None
            valid(job, now, policy)
            if isinstance(job, NewTrial):
                x = encoding.columns(job.params)
                assert min(np.linalg.norm(x - other) for other in places) > 0.0199
                places.append(x)
            else:
                resumed.append(job.number)
            kinds[type(job)] += 1
            now = given_out(now, job, stored)
        assert len(resumed) == len(set(resumed))
    assert kinds[NewTrial] > 5
    assert full_share or kinds[ResumeTrial] > 0


def test_workers_that_start_at_once_get_different_answers(played: Run, stored: Any) -> None:
    now, jobs = played.watched.asked[0][0], []
    policy = CurveGP(RANGES, (3,), startup=3)
    for _ in range(6):  # more than the start-up, and no run has come to its first epoch
        job = policy.next(replace(now, remaining=1000))
        assert isinstance(job, NewTrial)
        assert job.note[CHOSEN_BY.name] == START
        jobs.append(json.dumps(job.params))
        now = given_out(now, job, stored)
    assert len(set(jobs)) == 6


# Budgets, rungs, and whatever curves may look like

unlike = (math.nan, math.inf, -math.inf, 0.9)


def curve_of(kind: str, horizon: int) -> Curve:
    smooth = falling(horizon)

    def noise(params: Mapping[str, Any], values: Sequence[float]) -> list[float]:
        rng = np.random.default_rng(zlib.crc32(json.dumps(params).encode()))
        return [float(values[i]) for i in rng.integers(0, len(values), horizon)]

    def half(params: Mapping[str, Any]) -> bool:
        return final(params) > 0.25

    return {
        "smooth": smooth,
        "constant": lambda params: [0.9] * horizon,
        "tied": lambda params: [0.5 if half(params) else 0.3] * horizon,
        "odd": lambda params: noise(params, unlike),
        "chance in half of the space": lambda p: [0.9] * horizon if half(p) else smooth(p),
        "nan in half of the space": lambda p: [math.nan] * horizon if half(p) else smooth(p),
        "infinite in half of the space": lambda p: [math.inf] * horizon if half(p) else smooth(p),
        "nan now and then": lambda p: [
            math.nan if (7 * e) % 3 == 0 else error for e, error in enumerate(smooth(p))
        ],
        "nan throughout": lambda params: [math.nan] * horizon,
    }[kind]


KINDS = (
    "smooth", "constant", "tied", "odd", "chance in half of the space", "nan in half of the space",
    "infinite in half of the space", "nan now and then", "nan throughout",
)  # fmt: skip


def accounted(run: Run, budget: int, horizon: int) -> None:
    """Asserts that epochs are trained in order, once, to rungs, and within the budget."""
    policy, epochs = run.watched.policy, run.epochs
    assert len(run.simulation.steps) <= budget
    assert all(seen == list(range(1, len(seen) + 1)) for seen in epochs.values())
    assert {seen[-1] for seen in epochs.values()} <= set(policy.rungs(horizon))
    complete = sum(seen[-1] == horizon for seen in epochs.values())
    assert run.simulation.states.get("complete", 0) == complete
    assert sum(run.simulation.states.values()) == len(epochs) == len(run.watched.new)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=25)
def test_any_history_has_a_valid_answer(play: Any, data: st.DataObject) -> None:
    horizon = data.draw(st.integers(1, 20), "horizon")
    budget = data.draw(st.integers(horizon, 6 * horizon), "budget")
    space = space_of(data.draw(st.sampled_from(list(SPACES)), "space"))
    some = [space.at([u] * len(space.distributions)) for u in (0.3, 0.6)]
    policy = CurveGP(
        space,
        (data.draw(st.integers(0, 9), "seed"),),
        startup=data.draw(st.integers(1, 5), "startup"),
        first_rung=data.draw(st.none() | st.integers(1, horizon + 1), "first rung"),
        reduction=data.draw(st.sampled_from([1.5, 2, 3, 4]), "reduction"),
        full_share=data.draw(st.sampled_from([0.0, 0.3, 1.0]), "full share"),
        full_after=data.draw(st.sampled_from([0.0, 2.0]), "full after"),
        quasi_random_every=data.draw(st.sampled_from([0, 1, 3]), "quasi-random every"),
        resuming=data.draw(st.booleans(), "resuming"),
        pausing=data.draw(st.booleans(), "pausing"),
        start=some if data.draw(st.booleans(), "start") else (),
        optimum_prior=some if data.draw(st.booleans(), "optimum prior") else (),
    )
    kind = data.draw(st.sampled_from(KINDS), "curves")
    workers = data.draw(st.integers(1, 4), "workers")
    run = play(policy, curve_of(kind, horizon), budget, horizon, workers)
    accounted(run, budget, horizon)
    # Where no error is known, nothing says which paused run is worth going on with.
    if policy.resuming and not all(math.isnan(step.error) for step in run.simulation.steps):
        assert run.simulation.states.get("complete", 0) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_curves_look_like_the_budget_is_spent_validly(play: Any, kind: str) -> None:
    policy = CurveGP(RANGES, (1,), startup=4, full_after=3.0)
    run = play(policy, curve_of(kind, HORIZON), 6 * HORIZON)
    accounted(run, 6 * HORIZON, HORIZON)
    if kind == "nan throughout":  # quasi-random points, as long as each could be paid for
        assert len(run.simulation.steps) > 5 * HORIZON
        assert not run.watched.resumed
        return
    assert len(run.simulation.steps) > 5 * HORIZON
    if kind in ("chance in half of the space", "infinite in half of the space"):
        assert run.recommended() < 0.05  # in the other half


def test_a_run_that_ended_a_job_with_nan_goes_on_from_where_it_is(stored: Any) -> None:
    errors = {1: 0.5, 2: 0.4, 3: math.nan}
    trials = [
        stored(0, SPACES["ranges"], {"lr": 0.02, "momentum": 0.8}, errors),
        stored(1, SPACES["ranges"], {"lr": 0.9, "momentum": 0.5}, {1: 0.8, 2: 0.8, 3: 0.8}),
    ]
    study = optuna.create_study()
    policy = CurveGP(RANGES, (0,), startup=1, first_rung=3, reduction=3.0)
    history = History(study, tuple(trials), frozenset([0]), HORIZON, HORIZON - 3)
    assert policy.next(history) == ResumeTrial(0, 9)
    assert policy.next(replace(history, remaining=HORIZON - 4)) is None


@pytest.mark.slow
@pytest.mark.parametrize("reduction", [1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 17.0])
def test_rungs_ascend_to_the_horizon(reduction: float) -> None:
    for horizon, first in itertools.product(range(1, 201), (None, 1, 2, 5, 150, 1000)):
        rungs = CurveGP(RANGES, (0,), first_rung=first, reduction=reduction).rungs(horizon)
        assert rungs == sorted(set(rungs))
        assert rungs[0] >= 1
        assert rungs[-1] == horizon
        if first is not None and first * 2 <= horizon:
            assert rungs[0] == first
        ratios = [above / below for below, above in itertools.pairwise(rungs)]
        assert all(
            ratio >= min(reduction, 1.5) - 1 / below
            for ratio, below in zip(ratios, rungs, strict=False)
        )


def test_rungs_grow_by_the_reduction() -> None:
    assert CurveGP(RANGES, (0,), first_rung=3, reduction=3.0).rungs(52) == [3, 9, 27, 52]
    assert CurveGP(RANGES, (0,), first_rung=1, reduction=4.0).rungs(16) == [1, 4, 16]
    # One that would spare little is left out.
    assert CurveGP(RANGES, (0,), first_rung=3, reduction=3.0).rungs(30) == [3, 9, 30]
    assert CurveGP(RANGES, (0,), first_rung=3, reduction=3.0, pausing=False).rungs(52) == [52]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_runs_of_a_single_epoch_are_searched_too(play: Any, workers: int) -> None:
    run = play(CurveGP(RANGES, (0,), startup=4), falling(1), 25, 1, workers)
    accounted(run, 25, 1)
    assert run.simulation.states == {"complete": 25}
    assert float(run.simulation.recommended(25, 1)) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 2, 9, 27])
def test_a_budget_of_one_full_run_ends_one(play: Any, horizon: int) -> None:
    for workers in (1, 3):
        run = play(CurveGP(RANGES, (0,)), falling(horizon), horizon, horizon, workers)
        assert run.simulation.states == {"complete": 1}


@pytest.mark.slow
def test_a_run_goes_on_from_rung_to_rung(play: Any) -> None:
    policy = CurveGP(RANGES, (0,), startup=4, first_rung=2, reduction=3.0, full_share=0.0)
    run = play(policy, falling(HORIZON), 6 * HORIZON)
    assert policy.rungs(HORIZON) == [2, 6, HORIZON]
    assert {job.until_epoch for job in run.watched.new} == {2}
    reached: dict[int, int] = {}
    for history, job in run.watched.asked:
        if isinstance(job, ResumeTrial):
            at = max(history.trials[job.number].intermediate_values)
            assert (at, job.until_epoch) in [(2, 6), (6, HORIZON)]
            reached[job.number] = job.until_epoch
    assert {6, HORIZON} == set(reached.values())
    assert {decision for *_, decision in run.watched.decided} == {Decision.CONTINUE}


# Where a configuration comes from


@pytest.mark.slow
def test_the_start_up_is_the_sobol_sequence(play: Any) -> None:
    run = play(CurveGP(RANGES, (5, 1), startup=6), falling(HORIZON), 4 * HORIZON)
    assert [job.note[CHOSEN_BY.name] for job in run.watched.new[:6]] == [START] * 6
    expected = [RANGES.at(sobol_point((5, 1), 2, number)) for number in range(6)]
    assert [job.params for job in run.watched.new[:6]] == expected
    assert START not in {job.note[CHOSEN_BY.name] for job in run.watched.new[6:]}


@pytest.mark.slow
@pytest.mark.parametrize("startup", [2, 5])
def test_the_configurations_to_start_with_come_first_and_are_paid_for(
    play: Any, startup: int
) -> None:
    start = [{"lr": lr, "momentum": 0.6} for lr in (0.5, 0.001, 0.02)]
    policy = CurveGP(RANGES, (0,), startup=startup, start=start, full_share=0.0)
    run = play(policy, falling(HORIZON), 3 * HORIZON)
    assert [job.params for job in run.watched.new[:3]] == start
    reasons = [job.note[CHOSEN_BY.name] for job in run.watched.new]
    assert reasons.count(START) == max(3, startup)
    accounted(run, 3 * HORIZON, HORIZON)
    assert run.watched.asked[3][0].remaining == 3 * HORIZON - 3 * policy.rungs(HORIZON)[0]
    if startup > 3:  # the others keep their places in the sequence
        assert run.watched.new[3].params == RANGES.at(sobol_point((0,), 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("every", [0, 3])
def test_one_new_configuration_in_so_many_is_quasi_random(play: Any, every: int) -> None:
    policy = CurveGP(RANGES, (2,), startup=4, quasi_random_every=every, full_share=0.0)
    run = play(policy, falling(HORIZON), 10 * HORIZON)
    for number, job in enumerate(run.watched.new[4:], start=4):
        due = every > 0 and (number + 1) % every == 0
        assert job.note[CHOSEN_BY.name] == (QUASI_RANDOM if due else MODEL)
        if due:
            assert job.params == RANGES.at(sobol_point((2,), 2, number))
    assert len(run.watched.new) > 8


@pytest.mark.slow
def test_a_share_of_the_epochs_goes_to_full_runs_that_are_not_paused(play: Any) -> None:
    policy = CurveGP(RANGES, (0,), startup=4, full_share=0.5, full_after=2.0)
    run = play(policy, falling(HORIZON), 16 * HORIZON)
    given_to = 0
    for history, job in run.watched.asked:
        spent = sum(max(t.intermediate_values, default=0) for t in history.trials) / HORIZON
        due = 0.5 * (spent - 2.0)
        complete = sum(trial.state == TrialState.COMPLETE for trial in history.trials)
        if isinstance(job, NewTrial) and job.note[CHOSEN_BY.name] == FULL_RUNS_ONLY:
            assert given_to < due
            assert complete >= 2
            assert job.until_epoch == HORIZON
            given_to += 1
        elif history.remaining >= HORIZON:
            assert given_to >= due or complete < 2
    assert given_to >= 5


@pytest.mark.slow
def test_a_prior_draws_new_configurations_near(play: Any) -> None:
    encoding, expected = Encoding(SPACES["ranges"]), {"lr": 0.002, "momentum": 0.65}
    centre = encoding.columns(expected)

    def distances(seed: int, **settings: Any) -> list[float]:
        policy = CurveGP(RANGES, (seed,), startup=4, quasi_random_every=0, **settings)
        chosen = play(policy, falling(HORIZON), 3 * HORIZON).watched.chosen(MODEL)[:5]
        return [float(np.linalg.norm(encoding.columns(job.params) - centre)) for job in chosen]

    with_it = [distances(seed, optimum_prior=[expected]) for seed in range(5)]
    without = [distances(seed) for seed in range(5)]
    assert all(np.mean(near) < np.mean(far) for near, far in zip(with_it, without, strict=True))
    assert np.mean([*itertools.chain(*with_it)]) < 0.6 * np.mean([*itertools.chain(*without)])


@pytest.mark.slow
def test_a_wrong_prior_is_overcome(play: Any) -> None:
    policy = CurveGP(RANGES, (0,), startup=4, optimum_prior=[{"lr": 0.5, "momentum": 0.55}])
    assert play(policy, falling(HORIZON), 15 * HORIZON).recommended() < 0.02


# Without some of it


@pytest.mark.slow
def test_without_resuming_a_run_ends_where_it_is_weak(play: Any) -> None:
    policy = CurveGP(RANGES, (0,), startup=4, first_rung=3, resuming=False)
    run = play(policy, falling(HORIZON), 10 * HORIZON, workers=2)
    accounted(run, 10 * HORIZON, HORIZON)
    assert not run.watched.resumed
    assert {job.until_epoch for job in run.watched.new} == {HORIZON}
    assert set(run.simulation.states) == {"complete", "pruned"}
    pruned = [epoch for _, epoch, decision in run.watched.decided if decision == Decision.PRUNE]
    assert set(pruned) <= {3, 9}
    assert run.simulation.states["pruned"] == len(pruned) > 3
    goes_on = [epoch for _, epoch, decision in run.watched.decided if decision != Decision.PRUNE]
    assert 3 in goes_on
    assert set(range(1, HORIZON)) - {3, 9} <= set(goes_on)


@pytest.mark.slow
def test_without_pausing_every_run_is_a_full_one(play: Any) -> None:
    for partial_runs in (True, False):
        policy = CurveGP(RANGES, (0,), startup=4, pausing=False, partial_runs=partial_runs)
        run = play(policy, falling(HORIZON), 10 * HORIZON, workers=2)
        assert run.simulation.states == {"complete": 10}
        assert not run.watched.resumed
        assert {job.until_epoch for job in run.watched.new} == {HORIZON}
        assert run.recommended() < 0.1


def test_without_partial_runs_the_model_sees_their_ends_alone(played: Run) -> None:
    for history, _ in modelled(played)[::10]:
        state = replace(played.watched.policy, partial_runs=False).state(history)
        complete = sum(trial.state == TrialState.COMPLETE for trial in history.trials)
        seen = [] if state is None else state.model.data.t.tolist()
        assert seen == [1.0] * complete
    assert complete >= 3


# How good it is


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_with_informative_curves_it_is_far_ahead_of_random_search(
    virtual: ModuleType, play: Any, workers: int
) -> None:
    space, curve, budget, regrets = space_of("three ranges"), falling(HORIZON), 10 * HORIZON, []
    for seed in range(5 - workers):
        random = Sampled(random_sampler, space, (seed,), 5, Pruning("none", 1, 3, 5, HORIZON))
        theirs = virtual.simulate(random, space.distributions, curve, HORIZON, budget, workers)
        mine = play(CurveGP(space, (seed,), startup=5), curve, budget, workers=workers)
        regrets.append((mine.recommended(), theirs.recommended(budget, HORIZON)))
    assert all(mine < 0.5 * theirs for mine, theirs in regrets)
    mine, theirs = np.mean(regrets, axis=0)
    assert mine < 0.2 * theirs


@pytest.mark.slow
def test_the_best_is_found_where_it_starts_worst(play: Any) -> None:
    """Every pair of curves crosses: the better the end, the worse the beginning."""

    def crossing(params: Mapping[str, Any]) -> list[float]:
        end = final(params)
        start = 2.0 - end
        t = [math.log(epoch) / math.log(HORIZON) for epoch in range(1, HORIZON + 1)]
        return [end * at + start * (1 - at) for at in t]

    for seed in range(3):
        policy = CurveGP(RANGES, (seed,), startup=6)
        assert play(policy, crossing, 16 * HORIZON).recommended() < 0.02


@pytest.mark.slow
def test_weak_runs_are_left_at_the_first_rungs(play: Any) -> None:
    run = play(CurveGP(RANGES, (0,), startup=5, full_share=0.0), falling(HORIZON), 8 * HORIZON)
    by_end = defaultdict(list)
    for job, epochs in zip(run.watched.new, run.epochs.values(), strict=True):
        by_end[epochs[-1] == HORIZON].append(final(job.params))
    assert np.median(by_end[True]) < 0.25 * np.median(by_end[False])


# Spaces of few configurations


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_space_that_is_exhausted_is_searched_on(play: Any, workers: int) -> None:
    policy = CurveGP(space_of("tiny"), (0,), startup=3)
    run = play(policy, falling(9), 12 * 9, 9, workers)
    accounted(run, 12 * 9, 9)
    assert len(run.simulation.steps) > 11 * 9
    configurations = {json.dumps(job.params) for job in run.watched.new}
    assert len(configurations) == 6
    assert float(run.simulation.recommended(12 * 9, 9)) == pytest.approx(0.0)


@pytest.mark.slow
def test_a_mixed_space_is_searched(play: Any) -> None:
    run = play(CurveGP(space_of("mixed"), (0,), startup=6), falling(9), 20 * 9, 9)
    accounted(run, 20 * 9, 9)
    best = float(run.simulation.recommended(20 * 9, 9))
    assert best < 0.05
    assert best < 0.2 * min(final(job.params) for job in run.watched.chosen(START))


# When something is wrong


def test_a_model_that_cannot_be_fitted_is_replaced_by_quasi_random_points(
    played: Run, caplog: pytest.LogCaptureFixture
) -> None:
    hopeless = Priors(scale=LogNormal(1e25, 1e-6), noise=LogNormal(1e-30, 1e-6))
    policy = replace(played.watched.policy, priors=hopeless)
    history, _ = modelled(played)[5]
    with caplog.at_level(logging.WARNING):
        job = policy.next(history)
    assert isinstance(job, NewTrial)
    valid(job, history, policy)
    assert job.note[CHOSEN_BY.name] == QUASI_RANDOM
    assert job.params == RANGES.at(sobol_point((3,), 2, len(history.trials)))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("virtual: a kernel matrix of ")
    assert message.endswith("cannot be factored; it gets a quasi-random configuration instead")
    assert policy.next(replace(history, remaining=HORIZON - 1)) is None


ODD: dict[str, Mapping[str, Any]] = {
    "without a parameter": {"lr": 0.1},
    "outside its range": {"lr": 5.0, "momentum": 0.8},
    "without a logarithm": {"lr": -1.0, "momentum": 0.8},
    "of another kind": {"lr": "high", "momentum": 0.8},
}


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD)
def test_a_trial_that_someone_else_added_is_left_out(
    played: Run, stored: Any, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    history, _ = modelled(played)[5]
    # Stored by hand, as Optuna would not make such a trial but reads one.
    trial = stored(len(history.trials), {}, {}, {1: 0.0}, value=0.0)
    trial.params = dict(ODD[odd])
    study = optuna.create_study(study_name=f"someone's {odd}")
    added = replace(history, study=study, trials=(*history.trials, trial))
    with caplog.at_level(logging.WARNING):
        state = played.watched.policy.state(added)
        for _ in range(2):
            valid(played.watched.policy.next(added), added, played.watched.policy)
    expected = played.watched.policy.state(history)
    assert state is not None
    assert expected is not None
    assert np.array_equal(state.model.alpha, expected.model.alpha)
    (message,) = caplog.messages  # once, however often it is asked
    assert f"trial {trial.number} is left out" in message


def diverging(params: Mapping[str, Any]) -> bool:
    return float(params["lr"]) > 0.05


@pytest.mark.slow
def test_it_learns_where_runs_diverge(stored: Any) -> None:
    """Above two and a half times the best rate; told as workers tell it: COMPLETE, as guessing."""
    study, curve = optuna.create_study(), falling(HORIZON)
    for seed in range(3):
        policy = CurveGP(RANGES, (seed,), quasi_random_every=0)
        trials: list[FrozenTrial] = []
        for number in range(36):
            history = History(study, tuple(trials), frozenset(), HORIZON, 10**6)
            job = policy.next(history)
            assert isinstance(job, NewTrial)
            if diverging(job.params):
                marks = {**job.note, **DIVERGED.entry(2)}
                told = stored(number, SPACES["ranges"], job.params, {1: 0.9}, 0.9, marks)
            else:
                errors = curve(job.params)
                full = dict(enumerate(errors, start=1))
                told = stored(number, SPACES["ranges"], job.params, full, errors[-1], job.note)
            trials.append(told)
        late = [diverging(trial.params) for trial in trials[-16:]]
        assert sum(late) <= 5  # of 16; nearly a third of the space diverges
        assert min(final(trial.params) for trial in trials if not diverging(trial.params)) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "depth"),
    [(2500, HORIZON), pytest.param(10_000, 1, marks=pytest.mark.slow)],
    ids=["full runs", "single epochs"],
)
def test_ten_thousand_observations_fit_into_memory(stored: Any, count: int, depth: int) -> None:
    rng, curve = np.random.default_rng(0), falling(HORIZON)
    trials = []
    for number in range(count):
        params = RANGES.at(rng.random(2))
        errors = dict(enumerate(curve(params)[:depth], start=1))
        if number % 5 == 0:
            errors = {epoch: errors[epoch] for epoch in (1, 2)[:depth]}
        value = errors.get(HORIZON)
        trials.append(stored(number, SPACES["ranges"], params, errors, value))
    running = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
    paused = frozenset(running[8:])  # eight workers are at work
    history = History(optuna.create_study(), tuple(trials), paused, HORIZON, 1000)
    policy = CurveGP(RANGES, (0,))
    state = policy.state(history)
    assert state is not None
    assert sum(len(curve.errors) for curve in state.curves) >= 10_000
    assert len(state.model.data.y) <= MODELLED
    tracemalloc.start()
    try:
        job = policy.next(history)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    valid(job, history, policy)
    assert peak < 150e6
