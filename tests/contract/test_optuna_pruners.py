"""Facts about Optuna's pruners that ``search.policies.sampled`` relies on."""

from __future__ import annotations

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import TrialState


def halving() -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def reported(study: Study, *values: float) -> int:
    """A running trial with one report for each epoch; its number."""
    trial = study.ask()
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    return trial.number


def in_memory(study: Study) -> Study:
    mirror = optuna.create_study(study_name=study.study_name)
    mirror.add_trials(study.trials)
    return mirror


def test_halving_keeps_its_rungs_in_the_trials(storage: RDBStorage) -> None:
    study = optuna.create_study(storage=storage)
    reported(study, 0.5)
    assert halving().prune(study, study.trials[0]) is False
    assert study.trials[0].system_attrs == {"completed_rung_0": 0.5}
    reported(study, 0.9)
    assert halving().prune(study, study.trials[1]) is True
    assert study.trials[1].system_attrs == {"completed_rung_0": 0.9}


def test_halving_says_prune_only_once(storage: RDBStorage) -> None:
    """Once the rung is written the next call asks about the next rung: store the decision."""
    study = optuna.create_study(storage=storage)
    for value in (0.5, 0.9):
        number = reported(study, value)
        halving().prune(study, study.trials[number])
    assert halving().prune(study, study.trials[1]) is False


def test_halving_cannot_judge_a_finished_trial() -> None:
    study = optuna.create_study()
    number = reported(study, 0.5)
    study.tell(number, 0.5)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        halving().prune(study, study.trials[0])


def test_halving_decides_alike_on_a_copy_and_writes_only_there(storage: RDBStorage) -> None:
    study = optuna.create_study(storage=storage)
    for value in (0.5, 0.9):
        reported(study, value)
    mirror = in_memory(study)
    decisions = [halving().prune(mirror, trial) for trial in mirror.trials]
    assert decisions == [False, True]
    assert all(not trial.system_attrs for trial in study.trials)


@pytest.mark.slow
@pytest.mark.parametrize("pruner", [halving(), MedianPruner(n_startup_trials=2)])
def test_a_pruner_can_be_asked_about_a_stored_trial(
    storage: RDBStorage, pruner: BasePruner
) -> None:
    study = optuna.create_study(study_name="NAME/arm/0", storage=storage)
    for value in (0.5, 0.6, 0.7):
        number = reported(study, value)
        if isinstance(pruner, SuccessiveHalvingPruner):
            pruner.prune(study, study.trials[number])
        study.tell(number, value)
    trial_id = storage.get_trial_id_from_study_id_trial_number(
        storage.get_study_id_from_name("NAME/arm/0"), reported(study, 0.9)
    )
    other = optuna.load_study(study_name="NAME/arm/0", storage=storage)
    # The median's answer is NumPy's, which JSON refuses: convert it.
    assert bool(pruner.prune(other, storage.get_trial(trial_id))) is True


def test_the_median_is_that_of_complete_trials() -> None:
    study = optuna.create_study()
    for value in (0.1, 0.2, 0.3):
        study.tell(reported(study, value), state=TrialState.PRUNED)
        reported(study, value)
    worse, better = reported(study, 0.6), reported(study, 0.4)
    pruner = MedianPruner(n_startup_trials=1)
    assert not pruner.prune(study, study.trials[worse])
    study.tell(reported(study, 0.5), 0.5)
    assert pruner.prune(study, study.trials[worse])
    assert not pruner.prune(study, study.trials[better])


def hyperband_prunes(study: Study) -> list[int]:
    """The trials that Hyperband stops at epoch 1; only its first bracket has a rung there."""
    return [t.number for t in study.trials if HyperbandPruner(1, 9, 3).prune(study, t)]


@pytest.mark.slow
def test_hyperbands_bracket_is_a_function_of_study_name_and_number(storage: RDBStorage) -> None:
    study = optuna.create_study(study_name="NAME/arm/0", storage=storage)
    for i in range(15):
        reported(study, 0.1 + 0.05 * i)
    same, other = in_memory(study), optuna.create_study(study_name="NAME/arm/1")
    other.add_trials(study.trials)
    stopped = hyperband_prunes(same)
    assert stopped
    assert len(stopped) < 15
    assert hyperband_prunes(other) != stopped
    assert hyperband_prunes(study) == stopped


def test_without_reports_nothing_is_pruned() -> None:
    study = optuna.create_study()
    study.ask()
    for pruner in (halving(), MedianPruner(), HyperbandPruner(1, 9, 3)):
        assert pruner.prune(study, study.trials[0]) is False
