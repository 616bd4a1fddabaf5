"""A table of learning curves: killed in the middle, it goes on, and nothing is trained twice."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from typing import Any

import psutil

HAND = "[{ lr = 0.03, momentum = 0.9, weight_decay = 1e-4 }]"
WORDS = ("-o", "t.json.gz", "--configs", "1", "--seeds", "2", "--workers", "1")


def test_a_table_that_was_killed_is_finished_by_the_same_command(
    tuneoff: Any, inside: Any, read_ledger: Any, until: Any, digits: Callable[..., list[str]]
) -> None:
    words = [*digits(arms__hand__configs=HAND), *WORDS]
    said = inside(tuneoff, "table", *words, "--set", "data.name=missing", code=2)
    assert len(said.err) == 1
    ledger, running = read_ledger(tuneoff.storage), tuneoff.start("table", *words)
    until(lambda: ledger.spent() >= 4 or running.process.poll() is not None, "epochs", 240)
    assert running.process.poll() is None, running.text
    for process in (running.process, *running.workers()):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    running.wait()
    until(lambda: not tuneoff.leftovers(), "the end of all workers")
    assert not (tuneoff.folder / "t.json.gz").exists()

    tuneoff("table", *words, limit=240)
    table = json.loads(gzip.decompress((tuneoff.folder / "t.json.gz").read_bytes()))
    assert [(run["config"], run["seed"][2]) for run in table["runs"]] == [
        (config, seed) for config in range(2) for seed in range(2)
    ]
    assert all(len(run["errors"]) == 3 and run["test_error"] < 1 for run in table["runs"])
    assert table["hand"] == {"hand": [0]}
    assert not [p for p in tuneoff.work.glob("digits-table-*/table/**/*") if p.is_file()]
    lost = sum(row.end == "lost" for row in ledger.attempts())
    assert 12 <= ledger.spent() <= 12 + lost

    before = (tuneoff.folder / "t.json.gz").read_bytes()
    again = inside(tuneoff, "table", *words)  # there is nothing left to train
    assert "4 trainings" in again.text
    assert (tuneoff.folder / "t.json.gz").read_bytes() == before
    other = ["2" if word == "1" else word for word in words]
    assert "another study, or of other settings" in inside(tuneoff, "table", *other, code=2).text
    other[other.index("t.json.gz")] = "u.json.gz"
    assert "exists with 1 configurations" in inside(tuneoff, "table", *other, code=2).text
    other[other.index("u.json.gz")] = "missing/u.json.gz"
    assert "there is no folder" in inside(tuneoff, "table", *other, code=2).text
