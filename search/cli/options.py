"""Options and arguments that several commands of the command line share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from tuneoff import references
from tuneoff.search.cli.completion import complete_name
from tuneoff.search.errors import StudyError, UserError
from tuneoff.search.launch.launcher import GPUS, Option
from tuneoff.search.launch.registry import LAUNCHERS
from tuneoff.search.store.defaults import COMMAND_PATIENCE_SECONDS, DEFAULT_URL

if TYPE_CHECKING:
    from tuneoff.search.store.database import Database
    from tuneoff.search.study.study import Study

F = TypeVar("F", bound=Callable[..., Any])


def storage_option(command: F) -> F:
    """``--storage URL``."""
    return click.option(
        "--storage",
        metavar="URL",
        envvar="TUNEOFF_STORAGE",
        default=DEFAULT_URL,
        show_default=True,
        help="Database: sqlite:///FILE or postgresql://USER@HOST/NAME; its password is best in "
        "~/.pgpass, or else in the URL in TUNEOFF_STORAGE.",
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
        "--device",
        default="auto",
        show_default=True,
        callback=_check_device,
        help="auto, cpu, cuda, cuda:1...",
    )(command)


def _check_device(context: click.Context, option: click.Parameter, name: str) -> str:
    """A misspelt device is bad input; one that is not there now is a failure."""
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", name):
        raise click.BadParameter(f"{name!r} is no device; write auto, cpu, cuda, or cuda:1")
    return name


def set_option(command: F) -> F:
    """``--set KEY=VALUE``."""
    return click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a value of the study file: --set budget.epochs=20",
    )(command)


def allow_option(command: F) -> F:
    """``--allow NAMES``; what it names is allowed in this process from then on."""
    return click.option(
        "--allow",
        metavar="NAMES",
        expose_value=False,
        callback=_allow,
        help="Modules of your own whose code the study may run: mytrain,mynet. "
        f"[env var: {references.VARIABLE}]",
    )(command)


def _allow(context: click.Context, option: click.Parameter, names: str | None) -> None:
    if names is not None:
        references.allow(names.split(","))


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


def name_argument(command: F) -> F:
    """``NAME`` of a study; ``open_named`` says which is meant if it is left out."""
    return click.argument("name", required=False, shell_complete=complete_name)(command)


def open_named(database: Database, name: str | None, work: Path) -> Study:
    """Open the study of this name, or the only one that there is.

    Raises:
        StudyError: there is none of this name, or several to choose among.
    """
    from tuneoff.search.store.ledger import Ledger
    from tuneoff.search.study import table
    from tuneoff.search.study.opening import open_study

    if name is not None:
        return open_study(database, name, work)
    names = Ledger(database).step(table.names, database)
    if not names:
        raise StudyError(f"{database} has no studies yet; run `tuneoff create`")
    if len(names) > 1:
        raise StudyError(f"{database} has several studies; name one of {', '.join(names)}")
    return open_study(database, names[0], work)


def images_argument(command: F) -> F:
    """``IMAGES``, after a ``NAME`` that may be left out: a single word is IMAGES."""

    def shift(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
        if value is None and context.params["name"] is not None:
            value, context.params["name"] = Path(context.params["name"]), None
            if not value.exists():
                raise click.UsageError(
                    f"{value} is no image, folder or zip file; write NAME IMAGES, or IMAGES alone "
                    "where there is one study only",
                    ctx=context,
                )
        if value is None:
            raise click.MissingParameter(ctx=context, param=parameter)
        return value

    return click.argument(
        "images", metavar="IMAGES", required=False, callback=shift, type=click.Path(path_type=Path)
    )(command)


def study_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """``NAME``, ``--storage`` and ``--work``: the command gets the opened study instead."""
    return _study_command(command, waits_like_workers=False)


def launching_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """As ``study_command``; a database that is away is waited for as long as workers do."""
    return _study_command(command, waits_like_workers=True)


def _study_command(command: Callable[..., Any], waits_like_workers: bool) -> Callable[..., Any]:
    @wraps(command)
    def opened(name: str | None, storage: str, work: Path, **others: Any) -> Any:
        from tuneoff.search.cli.storage import open_storage, patience_of_workers

        if name is not None and name.startswith("-"):
            # Of a command that takes any options: the first of them, and no NAME.
            click.get_current_context().args.insert(0, name)
            name = None
        patience = patience_of_workers() if waits_like_workers else COMMAND_PATIENCE_SECONDS
        database = open_storage(storage, patience=patience)
        return command(open_named(database, name, work), **others)

    return name_argument(storage_option(work_option(opened)))


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
