"""`tuneoff status --watch` while its database goes away and comes back."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import create_study
from tuneoff.testing.curve_trainer import TEN_CLASSES


def test_a_watch_outlasts_its_database(
    postgres_server: Any,
    postgres_url: str,
    make_tuneoff: Callable[..., Any],
    until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    values = {
        "name": "small",
        "repeats": 1,
        "data": {"name": "digits"},
        "trial": {"epochs": 3},
        "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
        "budget": {"epochs": 9},
        "arms": {"random": {"sampler": "random"}},
    }
    database = open_database(postgres_url, create=True)
    create_study(database, StudySpec.parse(values, "test"), TEN_CLASSES, tmp_path)
    database.close()
    watch = make_tuneoff(postgres_url).start("status", "--watch")
    try:
        until(lambda: "random" in watch.text or watch.process.poll() is not None, "a status")
        postgres_server.stop("immediate")
        until(lambda: "trying again" in watch.text or watch.process.poll() is not None, "a line")
    finally:
        postgres_server.start()
    before = watch.text.count("random")
    until(
        lambda: watch.text.count("random") > before or watch.process.poll() is not None,
        "a status once more",
    )
    watch.signal(signal.SIGINT)
    assert watch.wait(60) == 128 + signal.SIGINT
    assert "Traceback" not in watch.text
