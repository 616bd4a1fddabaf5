"""Facts about Optuna's samplers that ``search.policies.sampled`` relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "y": FloatDistribution(0.0, 1.0),
}
SEEDED = pytest.mark.parametrize("sampler", [GPSampler, TPESampler])


def trials(count: int, state: TrialState, seed: int = 0) -> list[FrozenTrial]:
    """Trials at random points, the better the nearer to (0.3, 0.6)."""
    source = optuna.create_study(sampler=RandomSampler(seed=seed))
    made = []
    for _ in range(count):
        params = source.ask(SPACE).params
        value = (params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2
        made.append(
            create_trial(
                state=state,
                params=params,
                distributions=SPACE,
                value=value if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
                intermediate_values={1: value},
            )
        )
    return made


def mirror(sampler: BaseSampler, *searches: list[FrozenTrial]) -> Study:
    study = optuna.create_study(study_name="NAME/arm/0", sampler=sampler)
    for search in searches:
        study.add_trials(search)
    return study


def suggestion(sampler: BaseSampler, *searches: list[FrozenTrial]) -> dict[str, Any]:
    return mirror(sampler, *searches).ask(SPACE).params


def test_gp_learns_from_complete_trials_only() -> None:
    pruned = trials(40, TrialState.PRUNED)
    nine, ten = (trials(n, TrialState.COMPLETE, seed=1) for n in (9, 10))
    blind = suggestion(RandomSampler(seed=0))
    assert suggestion(GPSampler(seed=0), pruned, nine) == blind
    study = mirror(GPSampler(seed=0), pruned, nine)
    assert study.sampler.sample_relative(study, study.trials[0], SPACE) == {}
    assert suggestion(GPSampler(seed=0), pruned, ten) != blind


def test_gp_starts_up_with_as_few_trials_as_it_is_told() -> None:
    five = trials(5, TrialState.COMPLETE)
    blind = suggestion(RandomSampler(seed=0))
    assert suggestion(GPSampler(seed=0, n_startup_trials=6), five) == blind
    assert suggestion(GPSampler(seed=0, n_startup_trials=5), five) != blind


@pytest.mark.slow
def test_gp_stays_away_from_running_trials() -> None:
    complete = trials(10, TrialState.COMPLETE)
    first = suggestion(GPSampler(seed=0), complete)
    running = create_trial(state=TrialState.RUNNING, params=first, distributions=SPACE)
    assert suggestion(GPSampler(seed=0), complete, [running]) != first


@SEEDED
def test_nobody_learns_from_failed_trials(sampler: Callable[..., BaseSampler]) -> None:
    failed = trials(40, TrialState.FAIL)
    assert suggestion(sampler(seed=0), failed) == suggestion(RandomSampler(seed=0))


def test_tpe_learns_from_pruned_trials() -> None:
    pruned = trials(20, TrialState.PRUNED)
    assert suggestion(TPESampler(seed=0), pruned) != suggestion(RandomSampler(seed=0))


@SEEDED
def test_equal_seeds_draw_equal_start_up_points(sampler: Callable[..., BaseSampler]) -> None:
    """So workers must not share a seed, or must derive it from the trial."""
    workers = [mirror(sampler(seed=7)) for _ in range(2)]
    drawn = [[study.ask(SPACE).params for _ in range(3)] for study in workers]
    assert drawn[0] == drawn[1]
    assert drawn[0] != [mirror(sampler(seed=8)).ask(SPACE).params for _ in range(3)]


@pytest.mark.slow
@SEEDED
def test_a_suggestion_is_a_function_of_history_and_seed(
    sampler: Callable[..., BaseSampler],
) -> None:
    history = (
        trials(12, TrialState.COMPLETE),
        trials(3, TrialState.PRUNED, seed=1),
        trials(2, TrialState.RUNNING, seed=2),
    )
    first = suggestion(sampler(seed=7), *history)
    assert suggestion(sampler(seed=7), *history) == first
    assert set(first) == set(SPACE)


@SEEDED
def test_hyperband_hides_nothing_from_the_sampler(sampler: Callable[..., BaseSampler]) -> None:
    """Its brackets filter ``Study.get_trials`` only, and these samplers do not read that.

    So a copy of the study, whose pruner has made its brackets or not, gets the same suggestion.
    """
    history = (trials(12, TrialState.COMPLETE), trials(1, TrialState.RUNNING, seed=1))
    study = optuna.create_study(
        study_name="NAME/arm/0",
        sampler=sampler(seed=7),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3),
    )
    for search in history:
        study.add_trials(search)
    study.pruner.prune(study, study.trials[-1])  # only now does it make its brackets
    assert study.ask(SPACE).params == suggestion(sampler(seed=7), *history)


@SEEDED
def test_a_changed_range_makes_the_sampler_start_again(
    sampler: Callable[..., BaseSampler],
) -> None:
    """The intersection of the old and the new space is empty, and nothing is said."""
    wider: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 2.0) for name in SPACE}
    study = mirror(sampler(seed=0, multivariate=True) if sampler is TPESampler else sampler(seed=0))
    study.add_trials(trials(12, TrialState.COMPLETE))
    study.tell(study.ask(wider), 0.1)
    space = study.sampler.infer_relative_search_space(study, study.trials[0])
    assert space == {}


class Watching(RandomSampler):
    """Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.before: list[list[str]] = []
        self.shown: list[tuple[int, int]] = []

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        self.before.append(list(trial.distributions))
        self.shown.append((len(study.get_trials()), len(Study.get_trials(study, deepcopy=False))))
        return super().sample_independent(study, trial, name, distribution)


def test_a_sampler_is_shown_what_its_trial_has_asked_for_before() -> None:
    """In that order, enqueued parameters included: ``CurveGPSampler`` counts them."""
    sampler = Watching()
    study = mirror(sampler)
    study.enqueue_trial({"y": 0.5})
    for _ in range(2):
        trial = study.ask()
        for name in ("z", "y", "x"):
            trial.suggest_float(name, 0.0, 1.0)
    assert sampler.before == [[], ["z", "y"], [], ["z"], ["z", "y"]]


def test_hyperbands_filter_is_the_studys_own_method() -> None:
    """So that of the class still has all trials, without a private name."""
    sampler = Watching()
    study = optuna.create_study(
        sampler=sampler,
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3),
    )
    study.add_trials([*trials(12, TrialState.COMPLETE), *trials(1, TrialState.RUNNING, seed=1)])
    study.pruner.prune(study, study.trials[-1])  # only now does it make its brackets
    study.ask({"x": SPACE["x"]})
    assert sampler.shown[0][0] < sampler.shown[0][1] == 14


def test_random_search_looks_at_nothing() -> None:
    """So a proposal of it needs no copy of ten thousand trials."""
    history = trials(5, TrialState.COMPLETE), trials(3, TrialState.PRUNED, seed=1)
    assert suggestion(RandomSampler(seed=7), *history) == suggestion(RandomSampler(seed=7))


@pytest.mark.slow
@pytest.mark.parametrize("high", [0.4, 2.0])
def test_a_suggestion_that_lies_in_another_range_is_stored_with_that_range(high: float) -> None:
    """Its sampler is not asked again, and cannot refuse: ``CurveGPSampler`` has to bear it."""
    study = optuna.create_study(sampler=GPSampler(seed=0))
    study.add_trials(trials(12, TrialState.COMPLETE))
    for _ in range(8):
        study.tell(study.ask({**SPACE, "x": FloatDistribution(0.0, high)}), 1.0)
    assert {trial.distributions["x"].high for trial in study.trials[12:]} == {high}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changed", [FloatDistribution(1e-3, 1.0, log=True), IntDistribution(0, 1)], ids=str
)
def test_another_scale_or_kind_is_refused_before_it_is_stored(changed: BaseDistribution) -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.tell(study.ask(SPACE), 1.0)
    with pytest.raises(ValueError, match="Cannot set different"):
        study.ask({"x": changed})
    assert "x" not in study.trials[-1].params


# What ``search.policies.replayed`` relies on


class Noting(RandomSampler):
    """Notes what it is asked and told, and draws x = 0.25 by itself and the rest at random."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.notes: list[tuple[Any, ...]] = []

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {"x": SPACE["x"]}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self.notes.append(("ask", trial.number, [t.state.name for t in study.get_trials()]))
        return {"x": 0.25}

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.notes.append(("tell", trial.number, state.name, values))
        study.stop()


class Stopping(Study):
    """Notes that it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("pruner", [optuna.pruners.NopPruner(), optuna.pruners.HyperbandPruner()])
def test_a_sampler_is_asked_and_told_outside_of_optimize(
    pruner: optuna.pruners.BasePruner,
) -> None:
    """And may stop the study there, which has to be a method of ours: Optuna's own raises."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s", sampler=(sampler := Noting()))
    study = Stopping("s", storage, sampler, pruner)
    first, second, third = (study.ask(SPACE) for _ in range(3))
    assert not study.stopped
    second.report(0.7, 1)
    second.report(0.4, 2)
    study.tell(second, state=TrialState.PRUNED)
    assert study.stopped
    study.tell(first, state=TrialState.FAIL)
    study.tell(third, 0.1)
    assert third.params["x"] == 0.25
    assert sampler.notes == [
        ("ask", 0, ["RUNNING"]),
        ("ask", 1, ["RUNNING"] * 2),
        ("ask", 2, ["RUNNING"] * 3),
        ("tell", 1, "PRUNED", [0.4]),
        ("tell", 0, "FAIL", None),
        ("tell", 2, "COMPLETE", [0.1]),
    ]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_qmc_forgets_its_place_in_a_new_study() -> None:
    """Trials that are added do not bring it along: it has to be taken through them."""
    sampler = optuna.samplers.QMCSampler
    study = mirror(sampler(seed=0))
    for _ in range(4):
        study.tell(study.ask(SPACE), 1.0)
    later = [mirror(sampler(seed=0), study.get_trials()[:n]).ask(SPACE).params for n in (2, 3, 4)]
    assert later[0] == later[1] == later[2] == study.trials[1].params
