"""Facts about a Postgres that goes away and comes back, which ``search.store`` relies on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

OUTAGES = (sa.exc.OperationalError, StorageInternalError)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_an_outage_raises_and_leaves_the_storage_usable(
    postgres_server: Any, postgres_url: str, mode: str
) -> None:
    storage = RDBStorage(postgres_url)
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "study")
    trial_id = storage.create_new_trial(study_id)
    postgres_server.stop(mode)
    for _ in range(2):
        with pytest.raises(OUTAGES):
            storage.get_all_trials(study_id)
        with pytest.raises(OUTAGES):
            storage.set_trial_intermediate_value(trial_id, 1, 0.5)
    postgres_server.start()
    storage.set_trial_intermediate_value(trial_id, 1, 0.5)
    assert storage.get_trial(trial_id).intermediate_values == {1: 0.5}
    storage.remove_session()
    storage.engine.dispose()


def test_the_first_call_after_a_restart_fails_and_the_second_works(
    postgres_server: Any, postgres_url: str
) -> None:
    storage = RDBStorage(postgres_url)
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "study")
    postgres_server.restart()
    with pytest.raises(OUTAGES):
        storage.get_all_trials(study_id)
    assert storage.get_all_trials(study_id) == []
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.slow
def test_another_process_can_use_the_url(postgres_url: str) -> None:
    program = "import optuna, sys; optuna.create_study(storage=sys.argv[1], study_name='theirs')"
    subprocess.run([sys.executable, "-c", program, postgres_url], check=True, timeout=60)
    storage = RDBStorage(postgres_url)
    assert optuna.get_all_study_names(storage) == ["theirs"]
    storage.remove_session()
    storage.engine.dispose()
