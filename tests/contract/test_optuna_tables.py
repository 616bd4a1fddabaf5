"""Facts about Optuna's tables that our own queries in ``search.store`` rely on."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.orm import scoped_session, sessionmaker

from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.moment import moment
from tuneoff.search.store.optuna_tables import read_study_attributes
from tuneoff.search.store.study_writing import add_study, lock_study, write_attributes, writing
from tuneoff.search.store.trial_writing import add_trials, replace_trials
from tuneoff.search.store.trials import read_trials

NAME = "NAME/arm/0"
OURS = [table for table in vars(tables).values() if isinstance(table, sa.TableClause)]


@pytest.mark.parametrize("table", OURS, ids=lambda table: table.name)
def test_each_column_that_is_read_is_there(table: sa.TableClause) -> None:
    theirs = models.BaseModel.metadata.tables[table.name].c
    for column in table.c:
        assert column.name in theirs
        if not isinstance(column.type, sa.types.NullType):
            assert isinstance(theirs[column.name].type, type(column.type))


def test_every_state_and_kind_of_number_has_the_name_that_is_looked_for() -> None:
    values = models.TrialValueModel.TrialValueType
    reported = models.TrialIntermediateValueModel.TrialIntermediateValueType
    names = {kind.name for kinds in (values, reported) for kind in kinds}
    assert names == {"FINITE", *tables.NUMBERS}
    assert {state.name for state in TrialState} == {
        "RUNNING",
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "WAITING",
    }


def trials() -> list[FrozenTrial]:
    """One of every kind that can be stored."""
    space: dict[str, Any] = {
        "x": FloatDistribution(1e-4, 1.0, log=True),
        "n": IntDistribution(1, 9),
        "nesterov": CategoricalDistribution([True, False, None, "auto"]),
    }
    params = {"x": 0.1, "n": 3, "nesterov": "auto"}
    known: dict[str, Any] = {"params": params, "distributions": space}
    return [
        create_trial(value=0.25, intermediate_values={3: 0.5, 1: 0.75}, **known),
        create_trial(value=math.inf, intermediate_values={1: math.inf, 2: -math.inf}, **known),
        create_trial(value=-math.inf, **known),
        create_trial(state=TrialState.PRUNED, value=0.5, intermediate_values={1: 0.5}, **known),
        create_trial(state=TrialState.PRUNED, **known),
        create_trial(state=TrialState.FAIL, user_attrs={"why": "öd", "n": [1, None]}, **known),
        create_trial(state=TrialState.RUNNING, system_attrs={"a": {"b": 1.5}}, **known),
        create_trial(state=TrialState.WAITING),
    ]


@pytest.mark.slow
def test_our_query_reads_what_optuna_reads(storage: RDBStorage) -> None:
    study = optuna.create_study(study_name=NAME, storage=storage)
    other = optuna.create_study(study_name="another", storage=storage)
    for trial in trials():
        study.add_trial(trial)
        other.add_trial(trial)
    with moment(storage.engine) as connection:
        found = read_trials(connection, [NAME, "nosuch"])
    theirs = storage.get_all_trials(study._study_id)
    assert found == {NAME: tuple(theirs)}
    for mine, its in zip(found[NAME], theirs, strict=True):
        assert list(mine.params.items()) == list(its.params.items())
        assert mine._trial_id == its._trial_id


def bare(trial: FrozenTrial) -> FrozenTrial:
    """Without its id."""
    trial._trial_id = 0
    return trial


@pytest.mark.slow
def test_optuna_reads_what_we_write(storage: RDBStorage) -> None:
    theirs = optuna.create_study(study_name=NAME, storage=storage)
    stored = trials()
    for trial in stored:
        theirs.add_trial(trial)
    with writing(storage.engine) as connection:
        made = add_study(connection, "copy", {"mine": [1]}, {"study:metric_names": ["error"]})
        assert lock_study(connection, made)
        ids = add_trials(connection, made, stored[:3])
        ids += add_trials(connection, made, stored[3:])
    copy = optuna.load_study(study_name="copy", storage=storage)
    assert copy._study_id == made
    assert copy.user_attrs == {"mine": [1]}
    assert copy.metric_names == ["error"]
    assert copy.direction == optuna.study.StudyDirection.MINIMIZE
    assert [trial._trial_id for trial in copy.trials] == ids
    assert list(map(bare, copy.trials)) == list(map(bare, theirs.trials))
    copy.add_trial(stored[0])
    assert copy.trials[-1].number == len(ids)


def test_optuna_reads_what_we_have_written_anew(storage: RDBStorage) -> None:
    with writing(storage.engine) as connection:
        made = add_study(connection, "copy", {}, {})
        running = trials()[6]
        running.user_attrs = {"theirs": 1, "ours": 1}
        (trial_id,) = add_trials(connection, made, [running])
    copy = optuna.load_study(study_name="copy", storage=storage)
    assert copy.trials[0].state == TrialState.RUNNING
    finished = trials()[1]
    finished.user_attrs = {"ours": 2}
    with writing(storage.engine) as connection:
        replace_trials(connection, [trial_id], [finished], ["ours"])
        write_attributes(connection, tables.study_attributes, made, {"a": 1, "b": 2})
        write_attributes(connection, tables.study_attributes, made, {"a": 3})
    (read,) = copy.trials
    assert read.user_attrs == {"theirs": 1, "ours": 2}
    assert (read.state, read.value) == (TrialState.COMPLETE, math.inf)
    assert read.intermediate_values == finished.intermediate_values
    assert copy.user_attrs == {"a": 3, "b": 2}


def test_nothing_is_written_of_what_breaks(storage: RDBStorage) -> None:
    def write() -> None:
        with writing(storage.engine) as connection:
            made = add_study(connection, "copy", {}, {})
            add_trials(connection, made, trials())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert optuna.get_all_study_names(storage) == []


def test_a_reported_value_may_be_no_number(storage: RDBStorage) -> None:
    study = optuna.create_study(study_name=NAME, storage=storage)
    study.ask().report(math.nan, 1)
    with moment(storage.engine) as connection:
        ((trial,),) = read_trials(connection, [NAME]).values()
    assert math.isnan(trial.intermediate_values[1])


def test_times_are_stored_in_utc(storage: RDBStorage) -> None:
    optuna.create_study(study_name=NAME, storage=storage).ask()
    with storage.engine.connect() as connection:
        begun = connection.scalar(sa.select(tables.trials.c.datetime_start))
    assert begun is not None
    assert abs(begun - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=5)


def test_attributes_of_a_study_are_json(storage: RDBStorage) -> None:
    study = optuna.create_study(study_name=NAME, storage=storage)
    study.set_user_attr("a", {"b": [1, None, "ö" * 5000]})
    with moment(storage.engine) as connection:
        assert read_study_attributes(connection, NAME) == study.user_attrs
        assert read_study_attributes(connection, "nosuch") == {}


def test_a_moment_does_not_change_and_keeps_nobody_waiting(storage: RDBStorage) -> None:
    study = optuna.create_study(study_name=NAME, storage=storage)
    if storage.engine.dialect.name == "sqlite":
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # as in every database of ours
    with moment(storage.engine) as connection:
        assert read_trials(connection, [NAME]) == {NAME: ()}
        study.tell(study.ask(), 0.5)
        assert read_trials(connection, [NAME]) == {NAME: ()}
    with moment(storage.engine) as connection:
        assert len(read_trials(connection, [NAME])[NAME]) == 1


@pytest.mark.slow
def test_a_storage_uses_the_engine_that_takes_the_place_of_its_own(database: RDBStorage) -> None:
    """So that what is written through it is fenced by our locks, and shares our connections."""
    url = database.engine.url.render_as_string(hide_password=False)
    storage = RDBStorage(url, engine_kwargs={"poolclass": sa.NullPool}, skip_table_creation=True)
    mine = sa.create_engine(url)
    used = Counter[sa.Engine]()
    for engine in (storage.engine, mine):
        sa.event.listen(engine, "before_execute", lambda connection, *_: count(connection.engine))

    def count(engine: sa.Engine) -> None:
        used[engine] += 1

    storage.engine.dispose()
    storage.engine = mine
    storage.scoped_session = scoped_session(sessionmaker(bind=mine))
    study = optuna.create_study(study_name="replaced", storage=storage)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    study.tell(trial, 0.5)
    assert study.best_value == 0.5
    optuna.delete_study(study_name="replaced", storage=storage)
    storage.remove_session()
    assert set(used) == {mine}
    mine.dispose()
