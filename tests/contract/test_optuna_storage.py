"""Facts about Optuna's storages that ``search.store`` relies on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "schedule": CategoricalDistribution(("cosine", "step")),
}
PARAMS = {"lr": 0.1, "schedule": "cosine"}


def template(state: TrialState, **user_attrs: Any) -> FrozenTrial:
    return create_trial(state=state, params=PARAMS, distributions=SPACE, user_attrs=user_attrs)


def new_study(storage: RDBStorage, name: str = "study") -> int:
    return storage.create_new_study([StudyDirection.MINIMIZE], name)


@pytest.mark.slow
@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING])
def test_one_call_creates_a_trial_with_all_that_it_has(
    storage: RDBStorage, state: TrialState
) -> None:
    study_id = new_study(storage)
    storage.create_new_trial(study_id)
    trial_id = storage.create_new_trial(study_id, template(state, job={"until": 9}, note="x"))
    trial = storage.get_trial(trial_id)
    assert trial.state is state
    assert trial.number == 1
    assert trial.params == PARAMS
    assert trial.distributions == SPACE
    assert trial.user_attrs == {"job": {"until": 9}, "note": "x"}
    assert storage.get_trial_id_from_study_id_trial_number(study_id, 1) == trial_id


@pytest.mark.slow
def test_numbers_count_up_within_each_study(storage: RDBStorage) -> None:
    studies = [new_study(storage, name) for name in ("a", "b")]
    for _ in range(3):
        for study_id in studies:
            storage.create_new_trial(study_id, template(TrialState.RUNNING))
    for study_id in studies:
        assert [t.number for t in storage.get_all_trials(study_id)] == [0, 1, 2]


def test_creating_a_trial_is_all_or_nothing(storage: RDBStorage) -> None:
    study_id = new_study(storage)
    with pytest.raises(TypeError, match="JSON"):
        storage.create_new_trial(study_id, template(TrialState.RUNNING, fine=1, bad=object()))
    assert storage.get_all_trials(study_id) == []
    trial_id = storage.create_new_trial(study_id, template(TrialState.RUNNING))
    assert storage.get_trial(trial_id).number == 0


def test_a_missing_trial_or_study_is_a_key_error(storage: RDBStorage) -> None:
    study_id = new_study(storage)
    with pytest.raises(KeyError):
        storage.get_trial_id_from_study_id_trial_number(study_id, 7)
    with pytest.raises(KeyError):
        storage.get_study_id_from_name("nobody")


def test_an_intermediate_value_can_be_overwritten(storage: RDBStorage) -> None:
    trial_id = storage.create_new_trial(new_study(storage))
    storage.set_trial_intermediate_value(trial_id, 1, 0.9)
    storage.set_trial_intermediate_value(trial_id, 1, 0.8)
    assert storage.get_trial(trial_id).intermediate_values == {1: 0.8}


def test_intermediate_values_need_not_be_finite(storage: RDBStorage) -> None:
    trial_id = storage.create_new_trial(new_study(storage))
    storage.set_trial_intermediate_value(trial_id, 1, math.inf)
    storage.set_trial_intermediate_value(trial_id, 2, math.nan)
    values = storage.get_trial(trial_id).intermediate_values
    assert values[1] == math.inf
    assert math.isnan(values[2])


def test_the_second_claim_of_a_waiting_trial_is_refused(storage: RDBStorage) -> None:
    trial_id = storage.create_new_trial(new_study(storage), template(TrialState.WAITING))
    assert storage.set_trial_state_values(trial_id, state=TrialState.RUNNING) is True
    assert storage.set_trial_state_values(trial_id, state=TrialState.RUNNING) is False


def test_a_waiting_trial_starts_when_it_is_claimed(storage: RDBStorage) -> None:
    trial_id = storage.create_new_trial(new_study(storage), template(TrialState.WAITING))
    assert storage.get_trial(trial_id).datetime_start is None
    storage.set_trial_state_values(trial_id, state=TrialState.RUNNING)
    assert storage.get_trial(trial_id).datetime_start is not None


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_finished_trial_cannot_be_written_to(storage: RDBStorage, state: TrialState) -> None:
    trial_id = storage.create_new_trial(new_study(storage))
    values = None if state is TrialState.FAIL else [0.5]
    assert storage.set_trial_state_values(trial_id, state=state, values=values)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_intermediate_value(trial_id, 1, 0.9)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, "key", 1)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, state=TrialState.COMPLETE, values=[0.1])
    assert storage.get_trial(trial_id).state is state


def test_trial_times_are_local_and_naive(storage: RDBStorage) -> None:
    trial_id = storage.create_new_trial(new_study(storage))
    storage.set_trial_state_values(trial_id, state=TrialState.COMPLETE, values=[0.5])
    trial = storage.get_trial(trial_id)
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    assert trial.datetime_start.tzinfo is None
    assert trial.datetime_complete.tzinfo is None
    assert abs((datetime.now() - trial.datetime_start).total_seconds()) < 60


def test_user_attributes_are_json_so_numpy_must_be_converted(storage: RDBStorage) -> None:
    trial_id = storage.create_new_trial(new_study(storage))
    for value in (np.float32(0.5), np.int64(5), np.bool_(True), np.zeros(2)):
        with pytest.raises(TypeError, match="JSON"):
            storage.set_trial_user_attr(trial_id, "key", value)
    storage.set_trial_user_attr(trial_id, "key", np.float64(0.5))  # a subclass of float
    assert storage.get_trial(trial_id).user_attrs == {"key": 0.5}


def test_in_memory_studies_accept_attributes_that_a_database_refuses() -> None:
    trial = optuna.create_study().ask()
    trial.set_user_attr("key", np.bool_(True))
    assert trial.user_attrs == {"key": np.bool_(True)}


def test_user_attributes_may_be_long_and_hold_any_text(storage: RDBStorage) -> None:
    study_id = new_study(storage)
    text = "é\0'\"\n" + "x" * 100_000  # Postgres's text columns refuse a bare NUL
    storage.set_study_user_attr(study_id, "spec", {"text": text})
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_user_attr(trial_id, "note", text)
    assert storage.get_study_user_attrs(study_id) == {"spec": {"text": text}}
    assert storage.get_trial(trial_id).user_attrs == {"note": text}


def test_a_choice_comes_back_as_the_type_it_was(storage: RDBStorage) -> None:
    choices = (1, 1.5, "1", True, None)
    distribution = CategoricalDistribution(choices)
    study_id = new_study(storage)
    for choice in choices:
        trial = create_trial(
            state=TrialState.RUNNING,
            params={"x": choice},
            distributions={"x": distribution},
        )
        storage.create_new_trial(study_id, trial)
    stored = [t.params["x"] for t in storage.get_all_trials(study_id)]
    # True == 1, so the first of the two is what comes back for either.
    assert [(type(x), x) for x in stored] == [(type(x), x) for x in (1, 1.5, "1", 1, None)]


def test_one_study_holds_one_distribution_kind_for_each_name(storage: RDBStorage) -> None:
    study_id = new_study(storage)
    storage.create_new_trial(study_id, template(TrialState.RUNNING))
    other = create_trial(
        state=TrialState.RUNNING,
        params={"lr": "a"},
        distributions={"lr": CategoricalDistribution(("a", "b"))},
    )
    with pytest.raises(ValueError, match="distribution kind"):
        storage.create_new_trial(study_id, other)
    assert len(storage.get_all_trials(study_id)) == 1


def test_a_study_sees_what_is_written_past_its_cache(storage: RDBStorage) -> None:
    study = optuna.create_study(storage=optuna.storages.get_storage(storage), study_name="study")
    study_id = storage.get_study_id_from_name("study")
    trial_id = storage.create_new_trial(study_id, template(TrialState.RUNNING))
    assert len(study.trials) == 1
    storage.set_trial_user_attr(trial_id, "key", 1)
    storage.set_trial_state_values(trial_id, state=TrialState.COMPLETE, values=[0.5])
    [trial] = study.trials
    assert trial.user_attrs == {"key": 1}
    assert trial.value == 0.5


def test_a_study_name_is_unique(storage: RDBStorage) -> None:
    new_study(storage, "NAME/arm/0")
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        new_study(storage, "NAME/arm/0")


@pytest.fixture
def baseline(storage_url: str) -> Iterator[list[str]]:
    """Another process that makes the tables just after we saw that there were none."""
    created: list[str] = []

    def intrude(_: Any, __: Any, statement: str, *rest: Any) -> None:
        if not created and statement.lstrip().startswith("CREATE"):
            created.append(statement)
            RDBStorage(storage_url).engine.dispose()

    sa.event.listen(sa.Engine, "before_cursor_execute", intrude)
    yield created
    sa.event.remove(sa.Engine, "before_cursor_execute", intrude)


@pytest.mark.slow
@pytest.mark.timeout(30)
@pytest.mark.usefixtures("baseline", "close_connections")
def test_two_processes_cannot_make_the_tables_at_once(storage_url: str) -> None:
    with pytest.raises(sa.exc.SQLAlchemyError, match="already exists"):
        RDBStorage(storage_url)


@pytest.mark.slow
@pytest.mark.usefixtures("close_connections")
@pytest.mark.parametrize("check", [True, False])
def test_tables_are_not_made_when_told_so(storage_url: str, check: bool) -> None:
    def connect() -> RDBStorage:
        return RDBStorage(storage_url, skip_table_creation=True, skip_compatibility_check=not check)

    # Even then it writes its version, and fails where there is no table for it.
    with pytest.raises(StorageInternalError):
        connect()
    engine = sa.create_engine(storage_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    RDBStorage(storage_url).engine.dispose()
    storage = connect()
    new_study(storage)
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.slow
def test_our_tables_can_stand_beside_optunas(storage_url: str) -> None:
    engine = sa.create_engine(storage_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE attempts (id INTEGER PRIMARY KEY)")
    RDBStorage(storage_url).engine.dispose()
    assert {"attempts", "studies", "trials"} <= set(sa.inspect(engine).get_table_names())
    engine.dispose()


def test_sqlite_waits_for_as_long_as_it_is_told(sqlite_url: str) -> None:
    storage = RDBStorage(sqlite_url, engine_kwargs={"connect_args": {"timeout": 60}})
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
    storage.engine.dispose()


@pytest.mark.slow
def test_postgres_uses_the_time_zone_it_is_told(postgres_url: str) -> None:
    storage = RDBStorage(
        postgres_url,
        engine_kwargs={"connect_args": {"options": "-c timezone=UTC"}, "pool_size": 1},
    )
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
    storage.engine.dispose()
