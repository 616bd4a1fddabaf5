"""Options and arguments that several commands of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from search.storage import DEFAULT_URL, open_database
from search.study import open_study

F = TypeVar("F", bound=Callable[..., Any])


def storage_option(command: F) -> F:
    """``--storage URL``."""
    return click.option(
        "--storage",
        metavar="URL",
        envvar="TUNEOFF_STORAGE",
        default=DEFAULT_URL,
        show_default=True,
        help="Database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    )(command)


def work_option(command: F) -> F:
    """``--work DIR``."""
    return click.option(
        "--work",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="TUNEOFF_WORK",
        default=Path("tuneoff-work"),
        show_default=True,
        help="Folder for checkpoints, decoded images and reports.",
    )(command)


def device_option(command: F) -> F:
    """``--device`` and ``--threads``."""
    command = click.option(
        "--threads", type=click.IntRange(1), help="CPU threads to compute with. [default: all]"
    )(command)
    return click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1..."
    )(command)


def set_option(command: F) -> F:
    """``--set KEY=VALUE``."""
    return click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a value of the study file: --set budget.epochs=20",
    )(command)


def workers_options(command: F) -> F:
    """``--workers``, ``--gpus`` and ``--per-gpu``."""
    command = click.option(
        "--per-gpu", type=click.IntRange(1), default=1, show_default=True, help="Workers a GPU."
    )(command)
    command = click.option(
        "--gpus", metavar="0,1", help="GPUs to use: numbers, all or none. [default: all]"
    )(command)
    return click.option(
        "--workers", type=click.IntRange(1), help="Workers on the CPU. [default: one a core]"
    )(command)


study_argument = click.argument("study_file", type=click.Path(path_type=Path))


def study_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """``NAME``, ``--storage`` and ``--work``: the command gets the opened study instead."""

    @wraps(command)
    def opened(name: str, storage: str, work: Path, **others: Any) -> Any:
        return command(open_study(open_database(storage), name, work), **others)

    return click.argument("name")(storage_option(work_option(opened)))


def data_options(command: F) -> F:
    """``NAME`` of a dataset, and what else says which images it has."""
    command = click.option("--image-size", type=click.IntRange(8), help="Side in pixels.")(command)
    command = click.option(
        "--corrupt", type=click.Choice(["refuse", "skip"]), default="refuse", show_default=True
    )(command)
    command = click.option("--path", help="Zip file or folder.")(command)
    return click.argument("name")(command)
