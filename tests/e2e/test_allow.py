"""Whoever may write to a study's database cannot make its workers run code that nobody allowed."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

CODE = """
import os, pathlib

def train(params, context):
    pathlib.Path("trained").touch()
    for epoch in context.remaining:
        context.report(epoch, params["x"])

def other(params, context):
    pathlib.Path("stolen").touch()
"""
STUDY = """
name = "mine"
repeats = 1
[trial]
trainer = "its_loop:train"
epochs = 1
[space]
x = { low = 0.1, high = 0.9 }
[budget]
epochs = 1
[arms.hand]
configs = [{ x = 0.5 }]
"""
REFUSED = "the study names code that nobody allowed this process to run (%s); if you trust it"


@pytest.mark.slow
def test_a_changed_study_in_the_database_runs_nothing_that_was_not_allowed(
    tuneoff: Any, read_ledger: Any
) -> None:
    folder = tuneoff.folder
    (folder / "its_loop.py").write_text(CODE)
    (folder / "evil.py").write_text('import pathlib\npathlib.Path("stolen").touch()\n')
    (folder / "study.toml").write_text(STUDY)
    tuneoff("create", "study.toml")
    # A study that is as its file has it needs permission, too, where no file is given.
    for words in (["worker"], ["launch"], ["promote", "--now"]):
        assert REFUSED % "its_loop" in tuneoff(words[0], "mine", *words[1:], code=2).text
    for trainer, allowed, said in [
        ("evil:train", "its_loop", REFUSED % "evil"),
        # What `run` and `launch` pass on is the reference, not all that its module has.
        ("its_loop:other", "its_loop:train", REFUSED % "its_loop"),
        ("its_loop:os.system", "its_loop", "that comes from posix, which nobody allowed"),
    ]:
        change(folder / "tuneoff.db", trainer)
        assert said in tuneoff("worker", "mine", "--allow", allowed, code=2).text
    assert "its file has changed" in tuneoff("run", "study.toml", code=2).text
    assert not (folder / "stolen").exists()
    assert not (folder / "trained").exists()
    assert read_ledger(tuneoff.storage).attempts() == []
    change(folder / "tuneoff.db", "its_loop:train")
    tuneoff("worker", "mine", TUNEOFF_ALLOW="other, its_loop")
    assert (folder / "trained").exists()


def change(database: Any, trainer: str) -> None:
    """Write another trainer into the stored study."""
    with sqlite3.connect(database) as connection:
        ((text,),) = connection.execute("SELECT spec FROM tuneoff_studies").fetchall()
        spec = json.loads(text)
        spec["trial"]["trainer"] = trainer
        connection.execute("UPDATE tuneoff_studies SET spec = ?", [json.dumps(spec)])
    connection.close()
