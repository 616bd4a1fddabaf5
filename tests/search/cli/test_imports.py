"""What a command imports: no more than it needs, so that it answers at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from tuneoff.search.cli.main import COMMANDS, cli
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study

SLOW = (
    "torch",
    "torchvision",
    "scipy",
    "plotly",
    "optuna",
    "sqlalchemy",
    "alembic",
    "numpy",
    "pydantic",
    "PIL",
    "rich",
)
"""Packages that take longer to import than all of Python and click."""
NOT_TO_LOOK = ("torch", "torchvision", "scipy", "plotly", "optuna", "alembic", "numpy", "boto3")
"""Packages that nobody has to wait for who only looks at studies."""

REPORT = """
import sys
from contextlib import redirect_stdout
from io import StringIO

from tuneoff.search.cli.main import main

for line in sys.stdin.read().splitlines():
    try:
        with redirect_stdout(StringIO()):
            main(line.split())
    except SystemExit as ended:
        assert ended.code == 0, line
    print(line, *(name for name in sys.argv[1:] if name in sys.modules), sep=",")
"""
"""Runs one command a line, one after the other, and says after each what has been imported."""


def imported(lines: list[str], packages: tuple[str, ...]) -> dict[str, list[str]]:
    """Which of these packages are imported after each of these command lines, in one process."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *packages],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [row.split(",") for row in done.stdout.splitlines()]
    return {line: found for line, *found in rows}


def helps() -> list[str]:
    """The command lines that ask for help, of every command and group."""
    found = ["--help"]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        found += [f"{name} --help", *(f"{name} {word} --help" for word in inner)]
    return found


@pytest.mark.slow
def test_version_and_help_import_nothing_slow() -> None:
    lines = ["--version", *helps()]
    assert imported(lines, SLOW) == {line: [] for line in lines}


@pytest.mark.slow
def test_looking_at_studies_imports_nothing_that_only_trains_or_searches(
    sqlite_database: Database, make_study: Callable[..., Study], me: Worker
) -> None:
    study = make_study(sqlite_database, arms={"bayes": {}, "random": {"sampler": "random"}})
    attempts.insert(sqlite_database, me, study.arms[0].name, 0, 0, 0, 3)
    where = f"--storage {sqlite_database.url}"
    lines = [
        f"list {where}",
        f"list --json {where}",
        f"status {study.name} {where}",
        f"status {study.name} --json {where}",
        f"stop {study.name} {where}",
        f"stop {study.name} --undo {where}",
    ]
    assert imported(lines, NOT_TO_LOOK) == {line: [] for line in lines}


@pytest.mark.slow
def test_gpus_are_counted_without_torch_where_there_is_no_driver() -> None:
    counted = "from tuneoff.search.cli.trainers import _has_driver, count_gpus\n"
    counted += "print(_has_driver(), count_gpus(), 'torch' in __import__('sys').modules)"
    done = subprocess.run(
        [sys.executable, "-c", counted], capture_output=True, text=True, check=True
    )
    driver, count, torch = done.stdout.split()
    assert driver == torch
    assert driver == "True" or count == "0"
