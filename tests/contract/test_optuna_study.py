"""Facts about Optuna's studies, ask and tell that ``search.study`` and ``search.work`` rely on."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import TrialState, create_trial

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}


@pytest.fixture
def study(storage: RDBStorage) -> Study:
    return optuna.create_study(study_name="NAME/arm/0", storage=storage)


def test_the_second_report_at_a_step_is_ignored(study: Study) -> None:
    trial = study.ask()
    trial.report(0.9, 1)
    with pytest.warns(UserWarning, match="already reported"):
        trial.report(0.8, 1)
    assert study.trials[0].intermediate_values == {1: 0.9}


def test_a_finished_trial_is_told_again_only_on_request(study: Study) -> None:
    trial = study.ask()
    study.tell(trial.number, 0.5)
    with pytest.raises(ValueError, match="Cannot tell"):
        study.tell(trial.number, 0.4)
    assert study.tell(trial.number, 0.4, skip_if_finished=True).value == 0.5
    assert study.trials[0].value == 0.5
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(0.4, 1)


def test_a_trial_that_is_not_there_cannot_be_told(study: Study) -> None:
    with pytest.raises(ValueError, match="has not been created"):
        study.tell(7, 0.5)


def test_a_trial_asked_elsewhere_can_be_told_by_its_number(study: Study) -> None:
    number = study.ask(SPACE).number
    other = optuna.load_study(study_name=study.study_name, storage=study._storage)
    other.tell(number, 0.5)
    assert study.trials[0].value == 0.5


def test_a_waiting_trial_cannot_be_told(study: Study) -> None:
    study.enqueue_trial({"x": 0.5})
    with pytest.raises(ValueError, match="Cannot tell"):
        study.tell(0, 0.5)


def test_nan_told_becomes_fail(study: Study) -> None:
    trial = study.ask()
    with pytest.warns(UserWarning, match="nan is not acceptable"):
        told = study.tell(trial, math.nan)
    assert told.state is TrialState.FAIL
    with pytest.raises(ValueError, match="nan is not acceptable"):
        study.tell(study.ask(), math.nan, state=TrialState.COMPLETE)


def test_infinity_told_is_complete(study: Study) -> None:
    assert study.tell(study.ask(), math.inf).state is TrialState.COMPLETE
    assert study.trials[0].value == math.inf


def test_numpy_values_are_converted_when_told(study: Study) -> None:
    value = study.tell(study.ask(), [np.float32(0.5)]).value  # type: ignore[list-item]
    assert type(value) is float
    assert value == 0.5


def test_pruned_without_a_value_keeps_the_last_report(study: Study) -> None:
    trial = study.ask()
    trial.report(0.9, 1)
    trial.report(0.8, 2)
    assert study.tell(trial, state=TrialState.PRUNED).value == 0.8


def test_an_existing_study_is_opened_whatever_its_direction(study: Study) -> None:
    """So ``search.study`` must check; Optuna says nothing and keeps the stored direction."""
    assert study.direction is StudyDirection.MINIMIZE
    again = optuna.create_study(
        study_name=study.study_name,
        storage=study._storage,
        direction="maximize",
        load_if_exists=True,
    )
    assert again.direction is StudyDirection.MINIMIZE


@pytest.mark.slow
def test_a_changed_range_is_accepted_too(study: Study) -> None:
    study.tell(study.ask({"x": FloatDistribution(0.0, 1.0)}), 0.5)
    study.tell(study.ask({"x": FloatDistribution(5.0, 6.0)}), 0.5)
    assert len(study.trials) == 2


def test_ask_takes_a_waiting_trial_first_and_keeps_its_parameters(study: Study) -> None:
    study.enqueue_trial({"x": 0.25}, user_attrs={"note": "mine"})
    trial = study.ask(SPACE)
    assert trial.number == 0
    assert trial.params == {"x": 0.25}
    assert trial.user_attrs == {"note": "mine"}


def test_enqueued_parameters_outside_the_space_only_warn() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 7.0})
    with pytest.warns(UserWarning, match="out of range"):
        assert study.ask(SPACE).params == {"x": 7.0}


def test_a_copy_in_memory_keeps_order_and_numbers() -> None:
    original = optuna.create_study(study_name="NAME/arm/0")
    for state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL):
        trial = original.ask(SPACE)
        trial.report(0.5, 1)
        if state.is_finished():
            value = 0.5 if state is TrialState.COMPLETE else None
            original.tell(trial, value, state=state)
    mirror = optuna.create_study(study_name="NAME/arm/0")
    mirror.add_trials(original.trials)
    for ours, theirs in zip(mirror.trials, original.trials, strict=True):
        assert ours.number == theirs.number
        assert ours.state is theirs.state
        assert ours.params == theirs.params
        assert ours.values == theirs.values
        assert ours.intermediate_values == theirs.intermediate_values
        assert ours.datetime_start == theirs.datetime_start
    assert mirror.ask(SPACE).number == 4
    assert len(original.trials) == 4


def test_a_copy_hands_out_its_waiting_trials() -> None:
    """So a mirror for a sampler must not hold any."""
    mirror = optuna.create_study()
    waiting = create_trial(state=TrialState.WAITING, params={"x": 0.5}, distributions=SPACE)
    mirror.add_trials([waiting])
    assert mirror.ask(SPACE).number == 0


@pytest.mark.slow
def test_the_best_trial_is_the_first_of_equals_and_must_be_complete(study: Study) -> None:
    with pytest.raises(ValueError, match="Record does not exist"):
        _ = study.best_trial
    for value in (0.5, 0.4, 0.4):
        study.tell(study.ask(), value)
    pruned = study.ask()
    pruned.report(0.1, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    assert study.best_trial.number == 1


def test_study_names_may_hold_slashes(study: Study) -> None:
    assert optuna.get_all_study_names(study._storage) == ["NAME/arm/0"]
