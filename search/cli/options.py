"""Options and arguments that several commands of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tuneoff.search.errors import UserError
from tuneoff.search.launch.launcher import GPUS, Option
from tuneoff.search.launch.registry import LAUNCHERS
from tuneoff.search.store.database import DEFAULT_URL, open_database
from tuneoff.search.study.opening import open_study

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


def out_file_option(command: F) -> F:
    """``-o FILE`` of a command that writes one file, or else prints it."""
    return click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File to write. [default: standard output]",
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
    """``--workers``, ``--gpus`` and ``--per-gpu``, for workers on this machine."""
    command = _per_gpu(command)
    command = click.option(GPUS.name, metavar=GPUS.metavar, help=GPUS.help)(command)
    return _workers("How many workers on the CPU. [default: one a core]")(command)


def count_options(command: F) -> F:
    """``--workers`` and ``--per-gpu``, for workers anywhere."""
    help = "How many workers, on the CPU or in a whole cluster. [default: as many as fit]"
    return _workers(help)(_per_gpu(command))


def _workers(help: str) -> Callable[[F], F]:
    return click.option("--workers", type=click.IntRange(1), help=help)


def _per_gpu(command: F) -> F:
    return click.option(
        "--per-gpu",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="How many workers share a GPU.",
    )(command)


def launcher_option(command: F) -> F:
    """``--on``: the name of a launcher."""
    names = ", ".join(f"{name} ({LAUNCHERS.about(name)})" for name in LAUNCHERS)
    return click.option(
        "--on",
        "place",
        type=click.Choice(LAUNCHERS.names),
        default=LAUNCHERS.names[0],
        show_default=True,
        help=f"Where workers run: {names}.",
    )(command)


def launcher_options(command: F) -> F:
    """The options of all launchers; each says which of them has it."""
    for option, names in reversed(_owners().items()):
        kind: Any = option.kind
        if option.kind is int:
            kind = click.IntRange(option.least)
        elif option.kind is Path:
            kind = click.Path(path_type=Path, file_okay=False)
        command = click.option(
            option.name,
            type=kind,
            metavar=option.metavar,
            default=option.default,
            show_default=option.default is not None,
            multiple=option.multiple,
            hidden=option.hidden,
            help=f"{', '.join(names)}: {option.help}",
        )(command)
    return command


def check_launcher(name: str) -> None:
    """Make sure that every option that was given is one of this launcher's (UserError if not)."""
    context = click.get_current_context()
    for option, owners in _owners().items():
        given = context.get_parameter_source(option.key) is ParameterSource.COMMANDLINE
        if given and name not in owners:
            wanted = " or ".join(f"--on {owner}" for owner in owners)
            raise UserError(f"{option.name} goes with {wanted}, not with --on {name}; leave it out")


def _owners() -> dict[Option, list[str]]:
    """By option: the names of the launchers that have it."""
    owners: dict[Option, list[str]] = {}
    for name in LAUNCHERS:
        for option in LAUNCHERS.load(name).options:
            owners.setdefault(option, []).append(name)
    return owners


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
        "--corrupt",
        type=click.Choice(["refuse", "skip"]),
        default="refuse",
        show_default=True,
        help="What to do about images that cannot be decoded.",
    )(command)
    command = click.option(
        "--duplicates", type=click.Choice(["keep", "drop"]), default="keep", show_default=True,
        help="What to do about images that are also in another split, or have several labels.",
    )(command)  # fmt: skip
    command = click.option(
        "--path", help="Zip file or folder. [default: what `data prepare` fetched]"
    )(command)
    return click.argument("name")(command)
