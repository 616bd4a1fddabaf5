"""One parameter after the other: what is tried, in which order, and what counts as better."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.policies.base import History
from tuneoff.search.policies.build import build_policy
from tuneoff.search.policies.one_at_a_time import OneAtATime, default_factor, step
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import DIVERGED

EPOCHS = 3
LR = {"low": 1e-4, "high": 1.0, "log": True}
MOMENTUM = {"low": 0.4, "high": 0.9}
DECAY = {"low": 1e-6, "high": 1e-2, "log": True}
CHANCE = 0.9

Error = Callable[[dict[str, Any]], float]


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return optuna.create_study()


def made(space: dict[str, Any], **arm: Any) -> OneAtATime:
    values = {
        "name": "tuned",
        "data": {"name": "digits"},
        "trial": {"epochs": EPOCHS},
        "space": space,
        "budget": {"epochs": 10 * EPOCHS},
        "arms": {"manual": {"sampler": "one-at-a-time", **arm}},
    }
    spec = StudySpec.parse(values, "test")
    policy = build_policy(spec, SearchSpace.of(spec), "manual", 0)
    assert isinstance(policy, OneAtATime)
    return policy


def ended(policy: OneAtATime, params: dict[str, Any], error: float) -> FrozenTrial:
    """A run that came to this error, and to no end if it is infinite."""
    failed = math.isinf(error)
    return create_trial(
        state=TrialState.COMPLETE,
        value=CHANCE if failed else error,
        params=params,
        distributions=dict(policy.space.distributions),
        user_attrs=DIVERGED.entry(1) if failed else {},
    )


def asked(policy: OneAtATime, study: optuna.Study, *trials: FrozenTrial) -> Any:
    """What is to be run next, after these runs."""
    job = policy.next(History(study, trials, frozenset(), EPOCHS, 1000))
    return None if job is None else job.params


def tuned(
    policy: OneAtATime, study: optuna.Study, error: Error, most: int = 1000
) -> list[dict[str, Any]]:
    """All that is tried, one run after the other, until nothing is left, or ``most`` of it."""
    trials: list[FrozenTrial] = []
    while len(trials) < most and (params := asked(policy, study, *trials)) is not None:
        trials.append(ended(policy, params, error(params)))
    return [trial.params for trial in trials]


def rates(found: list[dict[str, Any]]) -> list[float]:
    return [params["lr"] for params in found]


class TestWhatIsTried:
    def test_the_rate_goes_up_while_that_helps(self, study: Any) -> None:
        policy = made({"lr": LR}, start={"lr": 0.01})
        found = tuned(policy, study, lambda p: abs(math.log(p["lr"] / 0.1)), 6)
        assert rates(found) == [0.01, 0.03, 0.09, 0.27, *rates(found)[4:]]
        # The second pass steps by the square root of three, from the best of the first.
        assert rates(found)[4:] == pytest.approx([0.09 * 3**0.5, 0.09 / 3**0.5], rel=1e-3)

    def test_else_down(self, study: Any) -> None:
        policy = made({"lr": LR}, start={"lr": 0.01})
        found = tuned(policy, study, lambda p: abs(math.log(p["lr"] / 0.001)), 5)
        assert rates(found) == pytest.approx([0.01, 0.03, 0.01 / 3, 0.01 / 9, 0.01 / 27], rel=1e-3)

    def test_the_end_of_the_range_is_tried_and_not_passed(self, study: Any) -> None:
        policy = made({"lr": LR}, start={"lr": 0.5})
        assert rates(tuned(policy, study, lambda p: 1 - p["lr"], 3))[:2] == [0.5, 1.0]

    def test_then_the_next_parameter_from_the_best(self, study: Any) -> None:
        space = {"momentum": MOMENTUM, "weight_decay": DECAY, "lr": LR}
        start = {"lr": 0.01, "momentum": 0.8, "weight_decay": 1e-4}
        policy = made(space, start=start)
        # The rate comes first, then [space]'s order.
        found = tuned(policy, study, lambda p: abs(math.log(p["lr"] / 0.03)), 8)
        assert [p["momentum"] for p in found] == pytest.approx([0.8] * 3 + [0.85, 0.75] + [0.8] * 3)
        assert [p["weight_decay"] for p in found[5:7]] == pytest.approx([1e-3, 1e-5])
        assert all(p["lr"] == 0.03 for p in found[3:7])
        assert found[7]["lr"] != 0.03

    def test_each_choice_is_tried(self, study: Any) -> None:
        space = {"schedule": ["step", "cosine", "linear"], "lr": LR}
        policy = made(space, order=["schedule"], start={"schedule": "cosine", "lr": 0.01})
        worth = {"step": 0.3, "cosine": 0.2, "linear": 0.1}
        found = tuned(policy, study, lambda p: worth[p["schedule"]])
        assert [p["schedule"] for p in found] == ["cosine", "step", "linear"]
        assert set(rates(found)) == {0.01}  # not in order, so it stays as it is

    def test_the_start_is_the_middle_where_nothing_is_said(self, study: Any) -> None:
        space = {"lr": LR, "momentum": MOMENTUM, "schedule": ["step", "cosine"]}
        params = asked(made(space, start={"momentum": 0.9}), study)
        assert params == {"lr": pytest.approx(0.01), "momentum": 0.9, "schedule": "step"}

    def test_factors_are_the_files(self, study: Any) -> None:
        space = {"lr": LR, "momentum": MOMENTUM}
        policy = made(
            space,
            start={"lr": 0.01, "momentum": 0.6},
            order=["momentum", "lr"],
            factors={"lr": 5, "momentum": 0.2},
        )
        found = tuned(policy, study, lambda p: p["lr"] + abs(p["momentum"] - 0.7), 5)
        assert found[1]["momentum"] == pytest.approx(0.7)
        assert found[2]["momentum"] == pytest.approx(0.8)
        assert found[3:] == [{"lr": 0.05, "momentum": 0.7}, {"lr": 0.002, "momentum": 0.7}]

    def test_whole_numbers_move_by_one_at_least(self) -> None:
        lin, log = IntDistribution(1, 5), IntDistribution(16, 512, log=True)
        assert [step(lin, 3, d, 0.01) for d in (0.1, -0.1)] == [4, 2]
        assert step(lin, 5, 1, 0.5) is None
        assert [step(log, 64, d, 2.0) for d in (1, -1, 0.001)] == [128, 32, 65]

    def test_a_range_with_steps_keeps_to_them(self, study: Any) -> None:
        space = {"momentum": {"low": 0.5, "high": 0.9, "step": 0.1}}
        found = tuned(made(space, start={"momentum": 0.7}), study, lambda p: p["momentum"])
        assert [p["momentum"] for p in found] == pytest.approx([0.7, 0.8, 0.6, 0.5])


class TestWhatCounts:
    def test_a_run_that_diverged_is_worse_than_guessing(self, study: Any) -> None:
        policy = made({"lr": LR}, start={"lr": 0.01})
        found = tuned(policy, study, lambda p: math.inf if p["lr"] > 0.02 else 0.99, 4)
        assert rates(found)[:3] == pytest.approx([0.01, 0.03, 0.01 / 3], rel=1e-3)

    def test_from_a_start_that_diverges_the_rate_goes_down_until_it_does_not(
        self, study: Any
    ) -> None:
        policy = made({"lr": LR}, start={"lr": 0.9})
        found = tuned(policy, study, lambda p: math.inf if p["lr"] > 0.2 else 1 - p["lr"], 5)
        assert rates(found)[:4] == pytest.approx([0.9, 0.3, 0.1, 0.1 / 3], rel=1e-3)

    @pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
    def test_what_did_not_come_to_its_end_is_worse(self, study: Any, state: TrialState) -> None:
        policy = made({"lr": LR}, start={"lr": 0.01})
        params = [{"lr": 0.01}, {"lr": 0.03}]
        stopped = ended(policy, params[1], 0.1)
        stopped.state = state
        after = asked(policy, study, ended(policy, params[0], 0.5), stopped)
        assert after["lr"] == pytest.approx(0.01 / 3, rel=1e-3)

    def test_nothing_is_asked_for_while_a_run_goes_on(self, study: Any) -> None:
        policy = made({"lr": LR}, start={"lr": 0.01})
        running = ended(policy, {"lr": 0.01}, 0.5)
        running.state, running.value = TrialState.RUNNING, None
        assert asked(policy, study, running) is None

    def test_nor_when_the_budget_is_too_small(self, study: Any) -> None:
        policy = made({"lr": LR})
        assert policy.next(History(study, (), frozenset(), EPOCHS, EPOCHS - 1)) is None

    def test_what_somebody_else_tried_need_not_be_run(self, study: Any) -> None:
        policy = made({"lr": LR}, start={"lr": 0.01})
        known = [ended(policy, {"lr": rate}, rate) for rate in (0.03, 0.01)]
        assert asked(policy, study, *known)["lr"] == pytest.approx(0.01 / 3, rel=1e-3)


def _hashed(params: dict[str, Any]) -> float:
    number = hash(tuple(map(str, params.values()))) % 100
    return math.inf if number < 20 else number / 100


SPACES = st.fixed_dictionaries(
    {"lr": st.just(LR)},
    optional={
        "momentum": st.sampled_from([MOMENTUM, {"low": 0.5, "high": 0.9, "step": 0.1}]),
        "batch_size": st.sampled_from(
            [{"low": 16, "high": 512, "log": True}, {"low": 8, "high": 24, "step": 8}]
        ),
        "schedule": st.just(["step", "cosine", "linear"]),
        "flip": st.just([True, False]),
    },
)


@pytest.mark.slow
@given(space=SPACES, rate=st.floats(1e-4, 1.0), salt=st.integers(0, 99))
def test_one_parameter_changes_and_nothing_is_run_twice(
    study: Any, space: dict[str, Any], rate: float, salt: int
) -> None:
    policy = made(space, start={"lr": rate})
    found = tuned(policy, study, lambda params: _hashed({**params, "salt": salt}))
    keys = [tuple(params.values()) for params in found]
    assert len(set(keys)) == len(keys)
    for i, params in enumerate(found):
        assert policy.space.check(params) == params
        if i:
            changes = (sum(p[k] != params[k] for k in p) for p in found[:i])
            assert min(changes) == 1
    assert set(policy.space.distributions) == set(space)
    assert len(found) > 2


def test_fine_tuning_is_tuned_like_the_rest(study: Any) -> None:
    """Frozen stages by one, a factor of the head's rate by tens, a yes-or-no by trying both."""
    space = {
        "lr": LR,
        "frozen_stages": {"low": 0, "high": 3},
        "layer_decay.fc": {"low": 0.1, "high": 100.0, "log": True},
        "nesterov": [False, True],
    }
    start = {"lr": 0.001, "frozen_stages": 2, "layer_decay.fc": 1.0, "nesterov": False}
    policy = made(space, start=start, order=["frozen_stages", "layer_decay.fc", "nesterov"])
    found = tuned(policy, study, lambda p: p["frozen_stages"] - math.log10(p["layer_decay.fc"]), 8)
    assert [p["frozen_stages"] for p in found[:4]] == [2, 3, 1, 0]
    assert [p["layer_decay.fc"] for p in found[4:6]] == [10.0, 100.0]
    assert [p["nesterov"] for p in found[6:]] == [True, False]
    assert all(p["lr"] == 0.001 for p in found)


@given(
    low=st.floats(1e-6, 1.0), ratio=st.floats(1.01, 1e6), u=st.floats(0, 1),
    steps=st.floats(-2, 2).filter(bool), log=st.booleans(),
)  # fmt: skip
def test_a_step_moves_in_its_direction_and_stays_inside(
    low: float, ratio: float, u: float, steps: float, log: bool
) -> None:
    distribution = FloatDistribution(low, low * ratio, log=log)
    value = low + u * (low * ratio - low)
    found = step(distribution, value, steps, default_factor("lr", distribution))
    if found is not None:
        assert low <= found <= low * ratio
        assert (found - value) * steps > 0


def test_the_example_of_the_documentation_has_the_defaults(study: Any) -> None:
    text = Path(__file__).parents[3].joinpath("studies", "README.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```toml\n(.*?)```", text, re.S) if "one-at-a-time" in b)
    arm = tomllib.loads(block)["arms"]["manual"]
    del arm["sampler"]
    space = {"lr": LR, "momentum": {"low": 0.5, "high": 0.99}, "weight_decay": DECAY}
    said, usual = made(space, **arm), made(space, start=arm["start"])
    assert said.order == usual.order
    for name, factor in said.factors.items():
        distribution = said.space.distributions[name]
        assert isinstance(distribution, FloatDistribution)
        assert factor == default_factor(name, distribution)
