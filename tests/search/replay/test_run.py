"""A simulation takes the code of a real study: on equal errors it comes to the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tuneoff.search.errors import UserError
from tuneoff.search.replay.run import Stopped, Watch, simulate
from tuneoff.search.replay.settings import simulated
from tuneoff.search.replay.world import Params
from tuneoff.search.results.read import read_results
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer, curve_error
from tuneoff.testing.curve_trainer import TEN_CLASSES
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import HyperParams, Recipe

ARMS = {
    "bayes": {"sampler": "curve-gp"},
    "tpe": {"sampler": "tpe", "pruner": "successive-halving", "startup": 3},
    "hand": {"configs": [{"lr": 0.01}, {"lr": 0.1}]},
}


class CurveWorld:
    """The formula of ``CurveTrainer`` as a world."""

    def search_error(self, params: Params, seed: RunSeed, epoch: int) -> float:
        return curve_error(HyperParams(**params), seed, epoch)

    def diverges_in(self, params: Params, seed: RunSeed) -> int | None:
        return 2 if params["lr"] > 0.5 else None

    def full_error(self, params: Params, seed: RunSeed) -> float:
        return curve_error(HyperParams(**params), seed, 4)

    def test_error(self, params: Params, seed: RunSeed) -> float:
        return round(self.full_error(params, seed) * 30) / 30


@pytest.fixture
def make_spec(spec_values: Callable[..., dict[str, Any]]) -> Callable[..., StudySpec]:
    def make(**changes: Any) -> StudySpec:
        values = {
            "arms": ARMS,
            "repeats": 2,
            "budget": {"epochs": 15},
            "promote": {"epochs": 4, "top": 1, "seeds": 2},
        }
        return StudySpec.parse(spec_values(**(values | changes)), "test")

    return make


@pytest.mark.slow
def test_it_picks_what_a_real_study_picks(
    make_study: Callable[..., Study],
    make_trainer: Callable[..., CurveTrainer],
    sqlite_database: Database,
    make_spec: Callable[..., StudySpec],
    me: Worker,
    never: Callable[[], bool],
) -> None:
    spec = make_spec()
    real = make_study(sqlite_database, **spec.model_dump(mode="json", exclude={"name"}))
    trainer = make_trainer(diverges=lambda params, epoch: params.lr > 0.5 and epoch == 2)
    work(real, real.searches, trainer, me, never, lambda: advance(real, trainer))
    expected = read_results(Snapshot.of(real))

    found = simulate(simulated(spec), TEN_CLASSES, CurveWorld(), seconds=0.5)
    assert len(found.runs) == 6
    assert sum(run.states.get("diverged", 0) for run in found.runs) > 0
    for mine, theirs in zip(found.runs, expected.runs, strict=True):
        # CurveTrainer scores its full trainings by their last error, as this world does.
        assert mine.recommendation == theirs.recommendation
        assert (mine.states, mine.spent, mine.steps) == (theirs.states, theirs.spent, theirs.steps)
    assert found.confirmed == expected.confirmed


@pytest.mark.slow
def test_equal_arguments_give_equal_results(make_spec: Callable[..., StudySpec]) -> None:
    spec = simulated(make_spec(repeats=1))
    first = simulate(spec, TEN_CLASSES, CurveWorld())
    assert simulate(spec, TEN_CLASSES, CurveWorld()) == first
    other = simulated(make_spec(repeats=1), ["seed=8"])
    assert simulate(other, TEN_CLASSES, CurveWorld()) != first


@pytest.mark.slow
def test_it_says_how_far_it_is_and_can_be_stopped(make_spec: Callable[..., StudySpec]) -> None:
    ended: list[int] = []
    arms = {"random": {"sampler": "random"}, "hand": ARMS["hand"]}
    spec = simulated(make_spec(promote=None, arms=arms))
    simulate(spec, TEN_CLASSES, CurveWorld(), watch=Watch(on_search=lambda: ended.append(1)))
    assert len(ended) == 4
    with pytest.raises(Stopped):
        simulate(spec, TEN_CLASSES, CurveWorld(), watch=Watch(stop=lambda: True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trial.epochs=5", "--set trial.epochs: a simulation knows"),
        ("space.lr.high=2.0", "--set space.lr.high: a simulation knows"),
        ("promote.epochs=9", "--set promote.epochs: a simulation knows"),
        ("data.validation=0.2", "--set data.validation: a simulation knows"),
        ("data.name=folder", "--set data.name: a simulation knows"),
        ("data.path=elsewhere", "--set data.path: a simulation knows"),
        ("workers.per_search=3", "--set workers.per_search: a simulation knows"),
        ("horizon.epochs=[3, 9]", "--set horizon.epochs: a simulation knows"),
        ("compare.max_hours=2.0", "--set compare.max_hours: a simulation knows"),
        ("compared.until=decided", "--set compared.until: a simulation knows"),
        ("name=other", "--set name: a simulation knows"),
        ("arms.bayes.sampler=nonsense", "nonsense"),
        ("budget.epochs=1", "budget.epochs = 1 is smaller than one trial"),
        ("budget", "write it as --set"),
    ],
)
def test_what_the_surrogate_does_not_know_may_not_change(
    make_spec: Callable[..., StudySpec], change: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        simulated(make_spec(), [change])
    assert len(str(caught.value).splitlines()) == 1


def test_arms_budget_and_repeats_may_change(make_spec: Callable[..., StudySpec]) -> None:
    spec = make_spec(ensemble={"members": [{"model": "proxy"}]})
    changes = ["arms.bayes.sampler=tpe", "arms.new.sampler=random", "repeats=5", "promote.seeds=4"]
    changed = simulated(spec, [*changes, "budget.epochs=30", "compare.until=decided"])
    assert changed.arms["bayes"].method == "tpe"
    assert list(changed.arms) == ["bayes", "tpe", "hand", "new"]
    assert (changed.repeats, changed.budget.epochs) == (5, 30)
    assert changed.ensemble is None
    assert simulated(spec, []).arms == spec.arms


def test_a_parameter_that_full_training_changes_cannot_be_simulated(
    make_spec: Callable[..., StudySpec],
) -> None:
    spec = make_spec(
        space={"batch_size": [16, 32]},
        arms={"random": {"sampler": "random"}},
        promote={"epochs": 4, "batch_size": 64},
    )
    with pytest.raises(UserError, match="full training changes batch_size"):
        simulated(spec)


def test_searched_fields_of_the_recipe_are_found_again() -> None:
    from tuneoff.search.replay.trainer import searched_params

    recipe = replace(Recipe(), batch_size=32).override({"layer_decay.fc": 0.5})
    found = searched_params(recipe, HyperParams(lr=0.2), ("lr", "batch_size", "layer_decay.fc"))
    assert found == {"lr": 0.2, "batch_size": 32, "layer_decay.fc": 0.5}
