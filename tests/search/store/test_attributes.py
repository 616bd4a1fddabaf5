"""The schema of what is stored with trials and studies: named as ours, and typed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.errors import StudyError
from tuneoff.search.store import attributes
from tuneoff.search.store.attribute import PREFIX, Attribute
from tuneoff.search.store.attributes import (
    CHOSEN_BY,
    DIVERGED,
    ENSEMBLE,
    NOTE,
    SEED,
    TEST_ERROR,
    UNTIL,
    StoredEnsemble,
    StoredMember,
)
from tuneoff.search.store.database import Database

ALL = [value for value in vars(attributes).values() if isinstance(value, Attribute)]


def a_trial(**stored: Any) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, user_attrs=stored, system_attrs=stored)


def test_every_name_is_ours_and_used_once() -> None:
    names = [attribute.name for attribute in ALL]
    assert len(set(names)) == len(names) == 31
    assert all(name.startswith(PREFIX) for name in names)


def test_migrations_lead_to_names_that_there_are() -> None:
    script = import_module("tuneoff.search.store.migrations.versions.revision_0002")
    names = {**script.TRIAL_USER_KEYS, **script.TRIAL_SYSTEM_KEYS, **script.STUDY_USER_KEYS}
    younger = {  # version 0.1.0 had no such ones
        "tuneoff/answer",
        "tuneoff/candidate",
        "tuneoff/comparison",
        "tuneoff/curve",
        "tuneoff/ended",
        "tuneoff/horizon",
        "tuneoff/horizon sample",
        "tuneoff/member key",
        "tuneoff/mirror",
        "tuneoff/notified",
        "tuneoff/printed last",
        "tuneoff/revealed",
        "tuneoff/source",
        "tuneoff/stopped early",
        "tuneoff/work folder",
    }
    assert set(names.values()) == {attribute.name for attribute in ALL} - younger
    assert set(script.CHOSEN_BY_VALUES.values()) == {attributes.FULL_RUNS_ONLY}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (DIVERGED, 3),
        (UNTIL, 9),
        (TEST_ERROR, 0.25),
        (TEST_ERROR, 1),
        (CHOSEN_BY, "start"),
        (SEED, (7, 1_000_000, 2)),
        (attributes.RECIPE_CHANGES, {"epochs": 2, "layer_decay": {"head": 1.0}}),
        (ENSEMBLE, StoredEnsemble("mean", (StoredMember("proxy", 0.2, 0.25, 1.0),), 0.25)),
    ],
)
def test_what_is_stored_is_read(database: Database, attribute: Attribute[Any], value: Any) -> None:
    storage = database.optuna
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])
    entry = attribute.entry(value)
    template = create_trial(state=TrialState.RUNNING, user_attrs=entry, system_attrs=entry)
    trial = storage.get_trial(storage.create_new_trial(study_id, template_trial=template))
    assert attribute.is_set(trial)
    assert attribute.get(trial) == attribute.of(trial) == value
    assert type(attribute.of(trial)) in (type(value), float)
    study = optuna.load_study(study_name=storage.get_study_name_from_id(study_id), storage=storage)
    if attribute is not UNTIL:
        study.set_user_attr(*attribute.item(value))
        assert attribute.of(study) == value


def test_what_is_not_there_is_none() -> None:
    trial = a_trial()
    assert not DIVERGED.is_set(trial)
    assert DIVERGED.get(trial) is None
    with pytest.raises(StudyError, match="trial -1 has no attribute 'tuneoff/diverged epoch'"):
        DIVERGED.of(trial)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [(DIVERGED, "3"), (DIVERGED, 2.5), (DIVERGED, None), (SEED, [1, 2]), (ENSEMBLE, {"how": "x"})],
)
def test_a_value_of_another_type_is_neither_read_nor_written(
    attribute: Attribute[Any], value: Any
) -> None:
    trial = a_trial(**{attribute.name: value})
    with pytest.raises(StudyError) as caught:
        attribute.get(trial)
    assert f"trial -1: its attribute {attribute.name!r} is {value!r}" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="cannot be"):
        attribute.item(value)


def test_an_attribute_is_no_key() -> None:
    """``DIVERGED in trial.user_attrs`` would be False for ever."""
    with pytest.raises(TypeError, match="unhashable"):
        assert DIVERGED in a_trial().user_attrs  # type: ignore[comparison-overlap]


def test_text_that_is_not_unicode_is_named() -> None:
    """JSON can hold half of a character; nothing that is written to a file can."""
    trial = create_trial(state=TrialState.RUNNING, user_attrs={NOTE.name: "\ud800"})
    with pytest.raises(StudyError, match="tuneoff/note"):
        NOTE.get(trial)
