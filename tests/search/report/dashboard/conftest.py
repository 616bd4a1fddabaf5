"""A small study that was searched, and the dashboard's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study
from tuneoff.search.work.worker import work

ARMS = {"bayes": {"sampler": "random"}, "hand": {"configs": [{"lr": 0.01, "note": "the paper's"}]}}


@pytest.fixture
def searched(
    make_study: Callable[..., Study],
    database: Database,
    make_trainer: Callable[..., Any],
    me: Worker,
    never: Callable[[], bool],
) -> Study:
    """Two arms in two repeats, searched to the end."""
    study = make_study(database, arms=ARMS, repeats=2, budget={"epochs": 6})
    work(study, study.arms, make_trainer(), me, never)
    return study


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Asks a WSGI application: (app, path, method) -> what it answers, as JSON or bytes."""

    def call(app: Any, path: str, method: str = "GET") -> Any:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
        setup_testing_defaults(environ)
        status: list[str] = []
        chunks = app(environ, lambda line, headers, error=None: status.append(line))
        body = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        assert status[0].startswith("200"), (status, body)
        return json.loads(body) if path.startswith("/api") else body

    return call
