"""Policies: pure functions of the stored history and a seed, fair between arms."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from scipy.stats import qmc

from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.build import build_policy, queue_policy
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import FIXED_INDEX, NOTE

SPACE = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.99},
    "schedule": ["step", "cosine"],
}
EPOCHS = 9


def spec_of(spec_values: Any, arms: dict[str, Any]) -> StudySpec:
    return StudySpec.parse(
        spec_values(arms=arms, space=SPACE, trial={"epochs": EPOCHS}, repeats=3), "test"
    )


def policy_of(spec_values: Any, arm: dict[str, Any], repeat: int = 0) -> Any:
    spec = spec_of(spec_values, {"arm": arm})
    return build_policy(spec, SearchSpace.of(spec), "arm", repeat)


def new_study() -> optuna.Study:
    return optuna.create_study(study_name="fixed", direction="minimize")


def history_of(study: optuna.Study, remaining: int = 1000) -> History:
    trials = tuple(study.get_trials(deepcopy=False))
    return History(study, trials, frozenset(), EPOCHS, remaining)


def run(policy: Any, count: int) -> optuna.Study:
    """A study of this many full runs, as the policy proposes them."""
    study = new_study()
    for _ in range(count):
        job = policy.next(history_of(study))
        if job is None:
            break
        add(study, job, [0.5 + 0.1 * np.log10(job.params["lr"]) ** 2] * EPOCHS)
    return study


def add(study: optuna.Study, job: NewTrial, curve: list[float]) -> None:
    """A finished run of a job."""
    spec = {
        "lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "momentum": optuna.distributions.FloatDistribution(0.5, 0.99),
        "schedule": optuna.distributions.CategoricalDistribution(("step", "cosine")),
    }
    trial = create_trial(
        params=dict(job.params),
        distributions=spec,
        user_attrs=dict(job.note),
        value=curve[-1],
        intermediate_values=dict(enumerate(curve, start=1)),
    )
    study.add_trial(trial)


def params_of(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


# top-k begins no more runs once one has come to its end, as all do here: test_top_k.py has it.
PROPOSE_ON = sorted(set(SAMPLERS.names) - {"top-k"})


@pytest.mark.slow
@pytest.mark.parametrize("sampler", PROPOSE_ON)
@pytest.mark.parametrize("done", [0, 4])
def test_the_same_history_gives_the_same_job(spec_values: Any, sampler: str, done: int) -> None:
    arm = {"sampler": sampler, "startup": 3, "min_epochs": 2}
    study = run(policy_of(spec_values, arm), done)
    first = policy_of(spec_values, arm).next(history_of(study))
    assert first is not None
    pauses = SAMPLERS.entry(sampler).stops_runs
    assert first.until_epoch == (2 if pauses else EPOCHS)
    # Another worker has other objects, and asks again.
    other = policy_of(spec_values, arm)
    copied = replace(history_of(study), trials=tuple(copy.deepcopy(t) for t in study.get_trials()))
    assert other.next(copied) == first
    assert other.next(copied) == first
    # Asking writes nothing.
    assert len(study.trials) == done


@pytest.mark.slow
@pytest.mark.parametrize("sampler", PROPOSE_ON)
def test_proposals_lie_in_the_space_and_differ(spec_values: Any, sampler: str) -> None:
    spec = spec_of(spec_values, {"arm": {"sampler": sampler, "startup": 3}})
    space = SearchSpace.of(spec)
    found = params_of(run(build_policy(spec, space, "arm", 0), 5))
    assert [space.check(params) for params in found] == found
    assert len({str(params) for params in found}) == 5


# Tuning one parameter at a time draws nothing: the same start and errors give the same path.
@pytest.mark.parametrize("sampler", sorted(set(PROPOSE_ON) - {"one-at-a-time"}))
def test_repeats_differ(spec_values: Any, sampler: str) -> None:
    arm = {"sampler": sampler}
    runs = [params_of(run(policy_of(spec_values, arm, repeat), 3)) for repeat in range(3)]
    assert runs[0] != runs[1] != runs[2] != runs[0]


def test_arms_of_one_repeat_start_from_the_same_points(spec_values: Any) -> None:
    for repeat in (0, 2):
        starts = [
            params_of(run(policy_of(spec_values, {"sampler": s, "startup": 4}, repeat), 4))
            for s in ("gp", "tpe", "random")
        ]
        assert starts[0] == starts[1] == starts[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "start"), [("gp", "random"), ("tpe", "random"), ("curve-gp", "quasi-random")]
)
def test_models_take_over_after_the_start(spec_values: Any, sampler: str, start: str) -> None:
    unmodelled = params_of(run(policy_of(spec_values, {"sampler": start}), 6))
    arm = {"sampler": sampler, "startup": 4}
    modelled = params_of(run(policy_of(spec_values, arm), 6))
    assert modelled[:4] == unmodelled[:4]
    assert modelled[4:] != unmodelled[4:]


def test_the_quasi_random_points_are_scipys(spec_values: Any) -> None:
    spec = spec_of(spec_values, {"arm": {"sampler": "quasi-random"}})
    space = SearchSpace.of(spec)
    found = params_of(run(build_policy(spec, space, "arm", 1), 8))
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 1]))
    points = qmc.Sobol(3, scramble=True, rng=rng).random(8)
    assert found == [space.at(point) for point in points]


def test_the_quasi_random_arm_warns_of_nothing(spec_values: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(policy_of(spec_values, {"sampler": "quasi-random"}), 5)


def test_a_grid_is_run_once_in_an_order_of_the_seed(spec_values: Any) -> None:
    spec = spec_of(spec_values, {"arm": {"sampler": "grid", "points": 2}})
    space = SearchSpace.of(spec)
    orders = [params_of(run(build_policy(spec, space, "arm", r), 99)) for r in (0, 1)]
    whole = sorted(map(str, space.grid(2)))
    for order in orders:
        assert sorted(map(str, order)) == whole
    assert orders[0] != orders[1]


HAND = [
    {"lr": 0.01, "momentum": 0.9, "schedule": "step", "note": "the paper's"},
    {"lr": 0.1, "momentum": 0.9, "schedule": "cosine"},
]


def test_a_list_is_run_in_its_order_with_its_notes(spec_values: Any) -> None:
    policy = policy_of(spec_values, {"configs": HAND})
    study = run(policy, 9)
    assert params_of(study) == [{k: v for k, v in c.items() if k != "note"} for c in HAND]
    notes = [trial.user_attrs for trial in study.trials]
    assert notes == [{**FIXED_INDEX.entry(0), **NOTE.entry("the paper's")}, FIXED_INDEX.entry(1)]
    assert policy.next(history_of(study)) is None


def test_what_was_entered_by_hand_takes_no_place_in_the_list(spec_values: Any) -> None:
    policy = policy_of(spec_values, {"configs": HAND})
    study = new_study()
    add(study, NewTrial({"lr": 0.5, "momentum": 0.9, "schedule": "step"}, EPOCHS), [0.5] * EPOCHS)
    assert policy.next(history_of(study)).note == FIXED_INDEX.entry(0) | NOTE.entry("the paper's")


def test_curve_gp_starts_from_the_hand_tuned_or_has_its_prior_there(spec_values: Any) -> None:
    tuned = [{k: v for k, v in config.items() if k != "note"} for config in HAND]
    arms = {
        "hand": {"configs": HAND},
        "start": {"start_from": "hand", "startup": 3, "min_epochs": 2, "reduction": 4},
        "prior": {"sampler": "curve-gp", "prior_from": "hand", "startup": 3},
    }
    spec = spec_of(spec_values, arms)
    start, prior = (
        build_policy(spec, SearchSpace.of(spec), arm, 1) for arm in arms if arm != "hand"
    )
    assert isinstance(start, CurveGP)
    assert isinstance(prior, CurveGP)
    assert params_of(run(start, 2)) == tuned
    assert start.optimum_prior == prior.start == ()
    assert list(prior.optimum_prior) == tuned
    assert (start.startup, start.rungs(EPOCHS), start.seed) == (3, [2, EPOCHS], (spec.seed, 1))


def test_a_queue_proposes_nothing(spec_values: Any) -> None:
    assert queue_policy(EPOCHS).next(history_of(new_study())) is None


@pytest.mark.parametrize("sampler", ["curve-gp", "gp", "tpe", "random", "quasi-random"])
def test_nothing_is_proposed_that_the_budget_cannot_pay(spec_values: Any, sampler: str) -> None:
    policy = policy_of(spec_values, {"sampler": sampler})
    assert policy.next(history_of(new_study(), remaining=EPOCHS - 1)) is None
    assert policy.next(history_of(new_study(), remaining=EPOCHS)) is not None


# Pruning


def race(pruner: dict[str, Any], spec_values: Any, curves: list[list[float]]) -> list[int]:
    """How far each of these runs gets, one after another."""
    policy = policy_of(spec_values, {"sampler": "random", **pruner})
    study = new_study()
    reached = []
    for curve in curves:
        trial = study.ask()
        for epoch, error in enumerate(curve, start=1):
            study._storage.set_trial_intermediate_value(trial._trial_id, epoch, error)
            now = study.get_trials(deepcopy=False)[trial.number]
            if policy.after(history_of(study), now) is not Decision.CONTINUE:
                study._storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED, [error])
                break
        else:
            study.tell(trial, curve[-1])
        reached.append(epoch)
    return reached


GOOD = [0.5 - 0.04 * epoch for epoch in range(1, EPOCHS + 1)]
WEAK = [0.9] * EPOCHS


def test_no_pruner_stops_nothing(spec_values: Any) -> None:
    assert race({"pruner": "none"}, spec_values, [GOOD, WEAK, WEAK, GOOD]) == [EPOCHS] * 4


def test_successive_halving_stops_the_weak(spec_values: Any) -> None:
    reached = race({"pruner": "successive-halving"}, spec_values, [GOOD, GOOD, GOOD, WEAK, WEAK])
    assert reached[0] == EPOCHS
    assert reached[3:] == [1, 1]
    reached = race(
        {"pruner": "successive-halving", "min_epochs": 3}, spec_values, [GOOD] * 3 + [WEAK] * 2
    )
    assert reached[3:] == [3, 3]


def test_median_stops_after_its_start_and_its_patience(spec_values: Any) -> None:
    pruner = {"pruner": "median", "startup": 2, "min_epochs": 4}
    assert race(pruner, spec_values, [GOOD, WEAK, WEAK, GOOD]) == [EPOCHS, EPOCHS, 4, EPOCHS]


def test_hyperband_stops_the_weak_in_some_bracket(spec_values: Any) -> None:
    reached = race({"pruner": "hyperband"}, spec_values, [GOOD, WEAK] * 8)
    assert min(reached[1::2]) < EPOCHS
    assert EPOCHS in reached[::2]
