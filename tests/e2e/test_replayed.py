"""A sampler with a memory of its own outlives the worker that asked it, killed outright."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

CODE = """
import os, pathlib, time

LOG, HELD = pathlib.Path("log"), pathlib.Path("held")

def train(params, context):
    with LOG.open("a+") as log:
        log.write("began\\n")
    if "HOLD" in os.environ and LOG.read_text().count("began") == 6:
        HELD.touch()
        time.sleep(1000)
    for epoch in context.remaining:
        context.report(epoch, (params["x"] - 0.3) ** 2 + params["y"] / 2)
"""
STUDY = """
name = "mine"
repeats = 1
[trial]
trainer = "its_loop:train"
epochs = 1
[space]
x = { low = 0.0, high = 1.0 }
y = { low = 0.0, high = 1.0 }
[budget]
epochs = 8
[arms.evolved]
sampler = "optuna.samplers:NSGAIISampler"
options = { population_size = 4 }
"""


def settings(tuneoff: Any) -> list[dict[str, Any]]:
    """What the search tried, in order."""
    return [
        trial.params
        for trial in optuna.load_study(study_name="mine/evolved/0", storage=tuneoff.storage).trials
    ]


@pytest.mark.slow
def test_the_next_worker_proposes_what_the_killed_one_would_have(
    make_tuneoff: Any, read_ledger: Any, until: Any, tmp_path: Any
) -> None:
    """It dies within the second generation, of which the database says nothing."""
    found = []
    for name in ("killed", "whole"):
        found.append(make_tuneoff(f"sqlite:///{tmp_path}/{name}.db"))
        found[-1].folder = tmp_path / name
        found[-1].folder.mkdir()
        found[-1].work = tmp_path / name / "work"
        (found[-1].folder / "its_loop.py").write_text(CODE)
        (found[-1].folder / "study.toml").write_text(STUDY)
        found[-1]("create", "study.toml")
    killed, whole = found
    undisturbed = whole.start("worker", "mine", "--allow", "its_loop")
    first = killed.start("worker", "mine", "--allow", "its_loop", HOLD="1")
    until((killed.folder / "held").exists, "the sixth trial")
    first.process.kill()
    first.wait()
    killed("worker", "mine", "--allow", "its_loop")
    assert undisturbed.wait() == 0, undisturbed.text
    assert len(settings(killed)) == 8
    assert settings(killed) == settings(whole)
    rows = read_ledger(killed.storage).attempts()
    assert [row.trial for row in rows if row.end == "lost"] == [5]
