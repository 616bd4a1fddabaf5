"""``--until-decided`` with real processes: decided early, bounded, killed, and by two launchers."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

FILE = """
name = "tiny"
seed = 1
repeats = 2
[data]
name = "digits"
validation = 0.2
[trial]
model = "proxy"
epochs = 1
[space]
lr = {{ low = 1e-4, high = 3.0, log = true }}
[budget]
epochs = 2
[arms.hand]
configs = [{hand}]
[arms.bayes]
configs = [{bayes}]
[promote]
top = 1
seeds = 2
epochs = 1
[compare]
smallest_effect = {effect}
"""
FAR = {"hand": "{ lr = 1e-4 }", "bayes": "{ lr = 0.2 }, { lr = 0.3 }", "effect": "1.0"}
NEAR = {"hand": "{ lr = 0.2 }", "bayes": "{ lr = 0.21 }", "effect": "0.001"}


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study file of two lists of settings, far apart or next to each other."""

    def write(values: dict[str, str]) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(FILE.format(**values))
        return path

    return write


def status(inside: Any, tuneoff: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("".join(inside(tuneoff, "status", "tiny", "--json").out))
    return found


def test_a_clear_difference_is_decided_early(
    tuneoff: Any, study_file: Any, inside: Any, read_ledger: Any
) -> None:
    words = ("run", study_file(FAR), "--until-decided", "--max-repeats", "8", "--workers", "2")
    said = tuneoff(*words, limit=280).text
    assert "Until decided: at most 8 repeats, 64 epochs in all." in said
    now = status(inside, tuneoff)
    assert 2 <= now["repeats"] <= 6
    assert f"tiny: decided after {now['repeats']} repeats." in said
    assert now["ended"] == f"decided after {now['repeats']} repeats"
    if now["repeats"] > 2:
        # How many are opened at once depends on how far the first two lie apart.
        assert re.search(r"decided yet; \d repeats are open. Until decided: probably", said)
    # The same command has nothing more to do, and says why.
    before = read_ledger(tuneoff.storage).attempts()
    again = tuneoff(*words, limit=120).text
    assert "nothing left to train" in again
    assert f"tiny: decided after {now['repeats']} repeats." in again
    assert read_ledger(tuneoff.storage).attempts() == before


def test_no_difference_to_tell_ends_at_the_bound_and_may_go_on(
    tuneoff: Any, study_file: Any, inside: Any
) -> None:
    """A study that was run with fixed repeats goes on when it is asked to."""
    file = study_file(NEAR)
    first = tuneoff("run", file, "--workers", "2", limit=280).text
    assert "Until decided" not in first
    assert status(inside, tuneoff)["repeats"] == 2
    said = tuneoff(
        "run", file, "--until-decided", "--max-repeats", "3", "--workers", "2", limit=280
    ).text
    assert "Until decided: probably 3 repeats in all" in said
    assert "tiny: bound reached: 3 repeats; bayes is undecided against hand." in said
    shown = "".join(inside(tuneoff, "status", "tiny").out)
    assert "Bound reached: 3 repeats; bayes is undecided against hand." in shown


@pytest.mark.timeout(600)
def test_two_launchers_of_which_one_is_killed_add_each_repeat_once(
    make_tuneoff: Any, storage_url: str, study_file: Any, inside: Any, read_ledger: Any, until: Any
) -> None:
    tuneoff = make_tuneoff(storage_url)
    words = ("run", study_file(NEAR), "--until-decided", "--max-repeats", "4", "--workers", "1")
    first = tuneoff.start(*words)
    ledger = read_ledger(storage_url)
    until(lambda: ledger.attempts(), "the first trial", 200)
    second = tuneoff.start(*words)
    # The first worker is killed when a repeat has just been added; its launcher at once, too.
    until(lambda: any(row.search.endswith("/2") for row in ledger.attempts()), "a new repeat", 280)
    workers = first.workers()
    first.signal(signal.SIGKILL)
    for worker in workers:
        worker.kill()
    assert second.wait(280) == 0, second.text
    assert "tiny: bound reached: 4 repeats" in second.text
    now = status(inside, tuneoff)
    assert now["repeats"] == 4
    trials = ledger.trials()
    found = Counter(trial["search"] for trial in trials if "/full" not in trial["search"])
    assert found == {f"tiny/{arm}/{repeat}": 1 for arm in ("hand", "bayes") for repeat in range(4)}
    assert {trial["state"] for trial in trials} == {"COMPLETE"}
    assert not any(row.end is None for row in ledger.attempts())
