"""[horizon] added to a study that is done: killed in the middle, continued, and reported."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # several commands, one after the other

SEARCH = "digits/horizon"
EPOCHS = (1, 3)


def test_added_later_killed_and_continued(
    finished: Any,
    digits: Callable[..., list[str]],
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
    inside: Callable[..., Any],
) -> None:
    words = digits(horizon__epochs=str(list(EPOCHS)), horizon__configurations="4")
    ledger = read_ledger(finished.storage)
    before = ledger.attempts()

    def epochs() -> int:
        return sum(row.epochs for row in ledger.attempts() if row.search == SEARCH)

    running = finished.start("run", *words, "--workers", "2")
    until(lambda: epochs() >= 5 or running.process.poll() is not None, "some epochs", 150)
    assert running.process.poll() is None, running.text
    for process in (running.process, *running.workers()):  # at once, as a power cut does
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    running.wait()
    until(lambda: not finished.leftovers(), "the end of all workers", 60)
    said = finished("run", *words, "--workers", "2", limit=280).text

    # The search and its full trainings are as they were.
    assert [row for row in ledger.attempts() if row.search != SEARCH] == before
    rows = defaultdict(list)
    for row in ledger.attempts():
        if row.search == SEARCH:
            rows[row.trial].append(row)
    trials = [trial for trial in ledger.trials() if trial["search"] == SEARCH]
    assert {trial["state"] for trial in trials} == {"COMPLETE"}
    counts = Counter(trial["epochs"] for trial in trials)
    assert set(counts) == set(EPOCHS)
    assert len(set(counts.values())) == 1  # each configuration to each horizon, once
    for trial in trials:
        mine = rows[trial["number"]]
        assert sum(row.epochs for row in mine) == trial["epochs"]
        assert mine[-1].end == "finished"
    assert any(len(mine) > 1 for mine in rows.values())  # something was really cut off

    # Its checkpoints are gone, and the outcome is told.
    (folder,) = [path.parent for path in finished.work.glob("digits-*/full")]
    assert not [path for path in (folder / "horizon").rglob("*") if path.is_file()]
    assert "rank configurations" in " ".join(said.split())
    content = json.loads((folder / "report" / "report.json").read_text())["horizon"]
    assert len(content["runs"]["sample"]) == counts[EPOCHS[0]]
    assert content["pairs"][0]["configurations"] == counts[EPOCHS[0]]
    assert {arm["arm"] for arm in content["arms"]} == {"bayes", "hand", "random"}
    status = json.loads("".join(inside(finished, "status", "digits", "--json").out))
    (horizon,) = [arm for arm in status["arms"] if arm["name"] == "horizon"]
    assert horizon["spent"] == horizon["budget"] == sum(trial["epochs"] for trial in trials)

    # Again it is a no-op; without the section it is refused.
    assert "nothing left to train" in finished("run", *words).text
    refused = finished("run", *digits(), code=2).text
    assert "put the section back into the file" in refused
