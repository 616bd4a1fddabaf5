"""What a launcher is: a function that runs the workers of a study, and options of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuneoff.search.errors import UserError
from tuneoff.search.launch.base import Workers


@dataclass(frozen=True)
class Option:
    """An option of ``tuneoff launch`` that some launchers have and others do not.

    Launchers that share an option list the same object.

    Attributes:
        name: as it is typed: "--gpus-per-node". Its value goes by the name "gpus_per_node".
        help: one sentence; the command line says before it which launchers have the option.
        kind: str, int or Path (of a folder).
        least: the smallest value of an int.
        multiple: may it be given several times? Then its value is a tuple.
        hidden: not for people; it is in no help text.
    """

    name: str
    help: str
    kind: type[str] | type[int] | type[Path] = str
    metavar: str | None = None
    default: str | int | None = None
    least: int | None = None
    multiple: bool = False
    hidden: bool = False

    @property
    def key(self) -> str:
        """The name that its value goes by."""
        return self.name.removeprefix("--").replace("-", "_")


GPUS = Option(
    "--gpus", "GPUs to use: numbers, all or none. [default: all that there are]", metavar="0,1"
)
CPUS = Option("--cpus", "CPU cores for each worker.", kind=int, default=1, least=1)


@dataclass(frozen=True)
class LaunchRequest:
    """What is to be launched.

    Attributes:
        study: the study's name.
        work: folder for checkpoints and decoded images.
        folder: the study's own, in ``work``.
        storage: the database's URL with its password; never print it.
        database: the same for people, without the password.
        one_machine: do only processes of this machine reach the database?
        shared: must every node see ``folder``? Not if checkpoints go to an artifact store.
        promote: go on to full training when the search is done?
        workers: how many in all; the launcher's default if None.
        per_gpu: how many share a GPU.
        options: values of the launcher's own options, by their keys.
        allow: the code of a user's own that the study may run (see ``tuneoff.references``).
    """

    study: str
    work: Path
    folder: Path
    storage: str = field(repr=False)
    database: str
    one_machine: bool
    shared: bool
    promote: bool
    workers: int | None
    per_gpu: int
    options: Mapping[str, Any]
    allow: tuple[str, ...] = ()

    @property
    def logs(self) -> Path:
        """The folder for the logs of the workers."""
        return self.folder / "logs"

    @property
    def command(self) -> list[str]:
        """What follows ``tuneoff worker`` or ``tuneoff launch``, in whatever folder."""
        words = [self.study, "--work", str(self.work.absolute())] + ["--promote"] * self.promote
        return words + (["--allow", ",".join(self.allow)] if self.allow else [])

    def check_reachable(self) -> None:
        """Make sure that other machines reach the database (UserError otherwise)."""
        if self.one_machine:
            raise UserError(
                f"{self.database} serves the workers of one machine only; for a cluster create "
                "the study on Postgres: --storage postgresql://USER@HOST/NAME"
            )


class Terminal(Protocol):
    """What a launcher may ask of the command line."""

    def count_gpus(self) -> int:
        """How many GPUs this process sees."""
        ...

    def begin(self) -> None:
        """Let workers start, even if ``tuneoff stop`` asked earlier ones to leave."""
        ...

    def say(self, line: str) -> None:
        """Tell people something."""
        ...

    def follow(self, workers: Workers, patient: bool = False) -> int:
        """Start workers, and show how the study goes until they have left; the exit code.

        A signal drains them, and makes the exit code 128 and its number.

        Args:
            patient: a second signal does not end this process at once.

        Raises:
            UserError, SearchError: see ``Workers.poll``.
        """
        ...


@dataclass(frozen=True)
class Launcher:
    """One place where workers run.

    Attributes:
        launch: runs the workers, or hands them to whoever will run them; the exit code. It raises
            a UserError for what cannot be, before any worker has started.
        options: of ``tuneoff launch``, besides those that all launchers have.
    """

    launch: Callable[[LaunchRequest, Terminal], int]
    options: Sequence[Option] = ()
