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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_psycopg_knows_which_options_a_url_may_have() -> None:
    """So that one that is misspelt is refused before it is sent, or shown, anywhere."""
    import psycopg

    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert known >= {"password", "passfile", "service", "options", "sslmode", "connect_timeout"}
    assert "pasword" not in known


def test_the_driver_knows_the_number_that_the_server_gives_a_session(postgres_url: str) -> None:
    """By it we know that nobody stands between us and the server."""
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        found = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        assert driver.info.backend_pid == found
    engine.dispose()


def test_a_wait_for_a_lock_ends_by_a_timeout_that_its_own_statement_sets(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    wait = "SELECT set_config('lock_timeout', '50ms', true), pg_advisory_lock(7)"
    with engine.connect() as holder, engine.connect() as other:
        holder.execute(sa.text("SELECT pg_advisory_lock(7)"))
        with pytest.raises(sa.exc.OperationalError) as caught:
            other.execute(sa.text(wait))
        assert caught.value.orig is not None
        assert getattr(caught.value.orig, "sqlstate", None) == "55P03"
        assert other.scalar(sa.text("SHOW lock_timeout")) == "0"
    engine.dispose()


def test_options_of_the_environment_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from psycopg import pq

    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    found = {option.keyword: option.val for option in pq.Conninfo.get_defaults()}
    assert found[b"connect_timeout"] == b"7"
