"""Options and arguments that several commands of the command line share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tuneoff.search.errors import UserError
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
        "--workers",
        type=click.IntRange(1),
        help="Workers on the CPU. [default: one a core]",
    )(command)


PLACES = ("here", "ray", "slurm")
ONLY: Mapping[str, tuple[str, ...]] = {
    "gpus": ("here", "ray"),
    "cpus": ("ray", "slurm"),
    "address": ("ray",),
    "partition": ("slurm",),
    "time": ("slurm",),
    "gpus_per_node": ("slurm",),
    "slurm": ("slurm",),
    "folder": ("slurm",),
}
"""Options of ``launch`` that belong to some of PLACES only."""


def place_options(command: F) -> F:
    """``--on``, and what the places other than this machine need to know."""
    for option in reversed(
        (
            click.option(
                "--on", type=click.Choice(PLACES), default="here", show_default=True,
                help="This machine, or a Ray or Slurm cluster, where --workers says how many.",
            ),
            click.option("--cpus", type=click.IntRange(1), default=1, show_default=True,
                         help="Ray, Slurm: CPU cores for each worker."),
            click.option("--address", metavar="HOST:PORT",
                         help="Ray: the cluster, or auto, or local for one of our own. "
                         "[default: RAY_ADDRESS, else auto]"),
            click.option("--partition", metavar="NAME", help="Slurm: where to run."),
            click.option("--time", type=click.IntRange(5), default=240, show_default=True,
                         metavar="MINUTES",
                         help="Slurm: a job's limit. It goes on in another turn when it is over."),
            click.option("--gpus-per-node", type=click.IntRange(0), default=0, show_default=True,
                         metavar="N", help="Slurm: GPUs of each job."),
            click.option("--slurm", multiple=True, metavar="KEY=VALUE",
                         help="Slurm: anything else for sbatch: --slurm account=lab"),
            click.option("--folder", type=click.Path(path_type=Path, file_okay=False),
                         help="Slurm: for scripts and output. [default: in --work]"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def check_place(place: str) -> None:
    """Make sure that every option that was given belongs to the place (UserError otherwise)."""
    context = click.get_current_context()
    for name, places in ONLY.items():
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and place not in places:
            option = f"--{name.replace('_', '-')}"
            wanted = " or ".join(f"--on {place}" for place in places)
            raise UserError(f"{option} goes with {wanted}, not with --on {place}; leave it out")


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
    command = click.option(
        "--duplicates", type=click.Choice(["keep", "drop"]), default="keep", show_default=True,
        help="Images that are also in another split, or have several labels.",
    )(command)  # fmt: skip
    command = click.option(
        "--path", help="Zip file or folder. [default: what `data prepare` fetched]"
    )(command)
    return click.argument("name")(command)
