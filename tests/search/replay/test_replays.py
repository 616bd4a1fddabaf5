"""Several simulations of one study: worlds and seeds of their own, judged as real studies are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tuneoff.search.replay.evidence import Evidence
from tuneoff.search.replay.replays import outcomes_of, replay, replays, summaries
from tuneoff.search.replay.settings import simulated
from tuneoff.search.replay.surrogate import Surrogate
from tuneoff.search.replay.world import Params
from tuneoff.search.spec.file import StudySpec
from tuneoff.testing.curve_trainer import TEN_CLASSES
from tuneoff.trainer.contract import RunSeed

FAR, NEAR = {"configs": [{"lr": 0.001}]}, {"configs": [{"lr": 0.03}]}
ALIKE = {"configs": [{"lr": 0.05}]}  # other settings with the same errors


class Step:
    """Errors of 0.3 below a rate of 0.01, of 0.1 above; seeds differ by at most 0.002."""

    def search_error(self, params: Params, seed: RunSeed, epoch: int) -> float:
        return (0.3 if params["lr"] < 0.01 else 0.1) + 0.001 * (seed.replica % 3)

    def diverges_in(self, params: Params, seed: RunSeed) -> int | None:
        return None

    def full_error(self, params: Params, seed: RunSeed) -> float:
        return self.search_error(params, seed, 1)

    test_error = full_error


@pytest.fixture
def make_spec(spec_values: Callable[..., dict[str, Any]]) -> Callable[..., StudySpec]:
    def make(**changes: Any) -> StudySpec:
        values = {"budget": {"epochs": 3}, "promote": {"epochs": 3, "top": 1, "seeds": 2}}
        return simulated(StudySpec.parse(spec_values(**(values | changes)), "test"))

    return make


@pytest.mark.slow
def test_a_clear_difference_is_decided_and_repeats_are_added_until_then(
    make_spec: Callable[..., StudySpec],
) -> None:
    spec = make_spec(
        arms={"near": NEAR, "far": FAR, "same": ALIKE},
        repeats=2,
        compare={"until": "decided", "max_repeats": 9, "smallest_effect": 1.0},
    )
    found = replay(spec, TEN_CLASSES, Step())
    assert {pair.baseline: pair.outcome for pair in found.pairs} == {
        "far": "better",
        "same": "equivalent",
    }
    assert 2 <= found.repeats < 9
    assert len(found.results.runs) == 3 * found.repeats
    far = found.pairs[0]
    assert far.difference == pytest.approx(0.2, abs=0.01)
    assert far.share <= 1.0


@pytest.mark.slow
def test_a_study_of_fixed_repeats_is_looked_at_once(make_spec: Callable[..., StudySpec]) -> None:
    spec = make_spec(arms={"near": NEAR, "far": FAR}, repeats=3)
    found = replay(spec, TEN_CLASSES, Step())
    assert found.repeats == 3
    assert found.pairs == outcomes_of(found.results, spec)


@pytest.mark.slow
def test_each_simulation_has_a_world_and_seeds_of_its_own(
    make_spec: Callable[..., StudySpec], make_evidence: Callable[..., Evidence]
) -> None:
    space = {
        "lr": {"low": 1e-3, "high": 1.0, "log": True},
        "momentum": {"low": 0.5, "high": 0.99},
    }
    spec = make_spec(
        trial={"epochs": 6},
        space=space,
        budget={"epochs": 12},
        arms={"random": {"sampler": "random"}, "quasi": {"sampler": "quasi-random"}},
        repeats=2,
    )
    surrogate = Surrogate.of(make_evidence(configurations=30, seeds=2))
    found = replays(spec, surrogate, count=2, seed=0)
    again = replays(spec, surrogate, count=1, seed=0)
    assert found[0] == again[0]
    assert found[0].pairs != found[1].pairs
    (summary,) = summaries(found)
    assert sum(summary.outcomes.values()) == 2
    assert summary.difference[0] <= summary.difference[1] <= summary.difference[2]
