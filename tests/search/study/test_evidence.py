"""What is known of configurations, and which is the best: by full training, then by search runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.export import best
from tuneoff.search.store.attributes import REPLICA
from tuneoff.search.study.evidence import Configuration, known_configurations, promising
from tuneoff.search.study.selection import best_configuration
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import add_trial

PROMOTE = {"top": 2, "seeds": 2, "epochs": 5}
ARMS = {"hand": {"sampler": "random"}, "bayes": {"sampler": "random"}}
CHANCE = 0.9


def run(
    study: Any, search: Any, lr: float, error: float, replica: int | None = None
) -> FrozenTrial:
    """A finished run, of full training if it has a replica; one at ``CHANCE`` diverged."""
    note = {} if replica is None else REPLICA.entry(replica)
    trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": lr}, 3, note))
    if error == CHANCE:
        trial.tell_diverged(2)
    else:
        trial.report(3, error)
        trial.tell(TrialState.COMPLETE, error)
    return study.trials(search)[trial.number]  # type: ignore[no-any-return]


@pytest.fixture
def study(make_study: Any, sqlite_database: Any) -> Any:
    """Three repeats of a hand-tuned arm and a sampler, nothing run yet."""
    return make_study(sqlite_database, arms=ARMS, repeats=3, promote=PROMOTE)


def known(study: Any) -> list[Configuration]:
    return known_configurations(Snapshot.of(study))


def rates(found: list[Configuration]) -> list[float]:
    return [one.params["lr"] for one in found]


@pytest.fixture
def lucky(study: Any) -> Any:
    """A sampler's configuration, 0.2, had one lucky run; the hand-tuned one, 0.01, has three."""
    for search in study.arms:
        if search.arm == "hand":
            run(study, search, 0.01, 0.25 + 0.01 * search.repeat)
            run(study, search, 0.5, 0.60)
    for lr, error in ((0.2, 0.24), (0.3, 0.27), (0.4, 0.28)):
        run(study, study.arms[1], lr, error)
    return study


def test_full_training_goes_before_search_runs(lucky: Any) -> None:
    for replica, (bad, good) in enumerate([(0.358, 0.242), (0.317, 0.250)]):
        run(lucky, lucky.full, 0.2, bad, replica)
        run(lucky, lucky.full, 0.01, good, replica)
    found = known(lucky)
    assert rates(found)[:2] == [0.01, 0.2]
    assert [one.decided_by for one in found] == ["full training"] * 2 + ["search runs"] * 3
    chosen = best_configuration(found)
    assert chosen is not None
    assert chosen.params == {"lr": 0.01}
    first, second, third = best(lucky, 3).configurations
    assert first.params == {"lr": 0.01}
    assert first.evidence["decided_by"] == "full training"
    assert first.evidence["search_runs"] == 3
    assert first.evidence["search_runs_mean_error"] == pytest.approx(0.26)
    assert first.evidence["full_trainings"] == 2
    assert first.evidence["full_trainings_mean_error"] == pytest.approx(0.246)
    assert first.evidence["full_trainings_sd"] == pytest.approx(0.00566, rel=1e-2)
    assert second.expected["mean_validation_error"] == pytest.approx(0.3375)
    assert third.evidence["decided_by"] == "search runs"


def test_whatever_was_trained_in_full_comes_with_what_to_expect(lucky: Any) -> None:
    """Also one that an arm recommends and that is not among the top of [promote]."""
    for lr, error in ((0.2, 0.2), (0.01, 0.21), (0.5, 0.4)):
        run(lucky, lucky.full, lr, error, 0)
    third = best(lucky, 3).configurations[2]
    assert third.params == {"lr": 0.5}
    assert third.expected["validation_error"] == 0.4


@pytest.mark.slow
def test_one_lucky_full_training_is_not_the_best_evidence(study: Any) -> None:
    """Ten arms' recommendations were trained once each, another configuration five times."""
    for i in range(10):
        run(study, study.full, 0.1 + 0.01 * i, 0.255 + 0.004 * i, 0)
    for replica in range(5):
        run(study, study.full, 0.02, 0.25 + 0.01 * replica - 0.01, replica)
        run(study, study.full, 0.03, 0.262 + 0.01 * replica, replica)
    assert min(one.full.mean or 1 for one in known(study)) == pytest.approx(0.255)
    assert rates(known(study))[0] == 0.02


@pytest.mark.slow
def test_a_run_that_diverged_is_no_noise_and_counts_as_guessing(study: Any) -> None:
    hand = [search for search in study.arms if search.arm == "hand"]
    for search, error in zip(hand, (0.2, 0.21, CHANCE), strict=True):
        run(study, search, 0.01, error)
    for search in hand:
        run(study, search, 0.02, 0.4)
        run(study, search, 0.9, CHANCE)
    found = {one.params["lr"]: one for one in known(study)}
    unsteady = found[0.01].search
    assert unsteady.errors == (0.2, 0.21)
    assert unsteady.diverged == 1
    assert unsteady.expected == pytest.approx(2 / 3 * 0.205 + CHANCE / 3, abs=0.01)
    assert found[0.02].search.expected == pytest.approx(0.4, abs=0.01)
    assert found[0.9].search.expected == CHANCE
    assert [one.diverged for one in found.values()] == [False, False, True]
    assert rates(known(study)) == [0.02, 0.01, 0.9]
    assert rates(promising(known(study))) == [0.02, 0.01]


def test_an_infinite_value_that_someone_else_told_counts_as_diverged(lucky: Any) -> None:
    """A study's own runs that diverge are told the error of guessing."""
    run(lucky, lucky.arms[1], 0.2, math.inf)
    found = {one.params["lr"]: one for one in known(lucky)}
    assert found[0.2].search.errors == (0.24,)
    assert found[0.2].search.diverged == 1
    run(lucky, lucky.full, 0.2, math.inf, replica=0)
    assert known(lucky)[-1].params["lr"] == 0.2


def test_what_diverged_in_full_training_goes_last(lucky: Any) -> None:
    run(lucky, lucky.full, 0.2, CHANCE, 0)
    assert rates(known(lucky))[-1] == 0.2
    assert best_configuration(known(lucky)) is None
    run(lucky, lucky.full, 0.2, 0.3, 1)
    assert rates(known(lucky))[0] == 0.2
    chosen = best(lucky, 1).configurations[0]
    assert chosen.expected["validation_error"] == 0.3  # of the seed that did not diverge


def test_a_configuration_without_a_full_search_run_is_known_by_its_training(study: Any) -> None:
    """An arm may recommend a run that was stopped, if all others diverged."""
    trial = add_trial(study, study.arms[0], TrialState.RUNNING, NewTrial({"lr": 0.07}, 3))
    trial.report(1, 0.5)
    trial.tell(TrialState.PRUNED)
    run(study, study.arms[0], 0.9, CHANCE)
    run(study, study.full, 0.07, 0.3, 0)
    first = known(study)[0]
    assert (first.params, first.source) == ({"lr": 0.07}, "hand/0#0")
    assert first.search.count == 0
    assert "search_runs" not in best(study, 1).configurations[0].evidence


def test_equal_parameters_are_one_configuration(study: Any) -> None:
    hand, bayes, *_ = study.arms
    run(study, hand, 0.1, 0.2)
    run(study, bayes, 0.1, 0.3)
    (one,) = known(study)
    assert one.source == "hand/0#0"
    assert one.search.errors == (0.2, 0.3)
