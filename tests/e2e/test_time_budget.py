"""A budget in seconds, really trained: a worker is killed, and the ledger is right in both."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

STUDY = """
name = "timed"
repeats = 1
data = { name = "digits" }
trial = { epochs = 1, model = "proxy" }
space = { lr = { low = 1e-3, high = 1.0, log = true } }
budget = { seconds = SECONDS }
arms.bayes = { sampler = "tpe" }
arms.hand = { configs = [{ lr = 0.03 }] }
promote = { top = 1, seeds = 1, epochs = 1 }
"""
SECONDS = 6.0


@pytest.mark.slow
def test_the_ledger_has_epochs_and_seconds_though_a_worker_is_killed(
    tuneoff: Any, read_ledger: Any, until: Any, tmp_path: Path
) -> None:
    (tmp_path / "timed.toml").write_text(STUDY.replace("SECONDS", str(SECONDS)))
    said = tuneoff("create", tmp_path / "timed.toml").text
    assert "2 searches of 6 s of training" in " ".join(said.split())
    ledger = read_ledger(tuneoff.storage)
    first = tuneoff.start("worker", "timed", "--device", "cpu")
    until(lambda: ledger.spent() >= 1 or first.process.poll() is not None, "an epoch")
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, first.text
    tuneoff("worker", "timed", "--device", "cpu", "--promote", limit=280)

    engine = sa.create_engine(tuneoff.storage, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        query = sa.text("SELECT search, epochs, seconds FROM tuneoff_attempts WHERE epochs > 0")
        rows = [tuple(row) for row in connection.execute(query)]
    # Every epoch has its seconds, be it entered by its worker or read from a checkpoint.
    assert all(seconds > 0 for _, _, seconds in rows)
    mine = [seconds for search, _, seconds in rows if search == "timed/bayes/0"]
    assert sum(mine) >= SECONDS
    assert sum(mine) - max(mine) < SECONDS  # one epoch crossed the limit, and none came after it
    trials = [one for one in ledger.trials() if one["search"] == "timed/bayes/0"]
    assert [one["state"] for one in trials].count("PRUNED") == 1
    assert {one["state"] for one in trials} <= {"COMPLETE", "PRUNED"}
    report = json.loads("".join(tuneoff("compare", "timed", "--json").out))
    (bayes,) = [arm for arm in report["arms"] if arm["arm"] == "bayes"]
    assert bayes["budget_seconds"] == SECONDS
    assert bayes["seconds"] == pytest.approx(sum(mine))
    assert bayes["spent"] == len(mine)
