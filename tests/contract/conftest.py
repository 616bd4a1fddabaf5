"""Fixtures for the facts about Optuna that we rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Only Optuna's warnings."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def close_connections() -> Iterator[None]:
    """Close what a storage leaves open whose constructor failed, so that nobody can close it."""
    opened: list[Any] = []

    def remember(connection: Any, _: Any) -> None:
        opened.append(connection)

    sa.event.listen(sa.Pool, "connect", remember)
    yield
    sa.event.remove(sa.Pool, "connect", remember)
    for connection in opened:
        connection.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RDBStorage]:
    """Optuna's tables, made once for each file of tests: they take half a second."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('contract') / 'optuna.db'}"
    else:
        server = request.getfixturevalue("postgres_server")
        server.start()
        url = server.url(server.create_database())
    storage = RDBStorage(url)
    yield storage
    storage.engine.dispose()


@pytest.fixture
def storage(database: RDBStorage) -> Iterator[RDBStorage]:
    """Optuna's storage, with no study in it, on SQLite and on Postgres."""
    yield database
    for study in database.get_all_studies():
        database.delete_study(database.get_study_id_from_name(study.study_name))
    database.remove_session()
