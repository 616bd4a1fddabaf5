"""What people see on the terminal: progress bars, or plain lines where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from tuneoff.search.errors import SearchError
from tuneoff.trainer.errors import Interrupted

if TYPE_CHECKING:
    from tuneoff.search.results.export import Exported
    from tuneoff.search.results.status import Status
    from tuneoff.trainer.contract import Trainer


class _Console(Console):
    """rich's console, but it leaves it to us what to do when nobody reads any longer."""

    def on_broken_pipe(self) -> None:
        """Print nothing more, and have ``main`` choose the exit code; rich would choose 1."""
        self.quiet = True
        raise BrokenPipeError


console = _Console()
"""Where every command prints what people read."""


def print_status(console: Console, status: Status) -> None:
    """A status for people."""
    rows = Table(
        "",
        "Epochs\nspent / budget",
        "Best\nerror",
        "Trials",
        "Lost\nattempts",
        title=status.study,
    )
    for arm in status.arms:
        states = ", ".join(f"{n} {state}" for state, n in sorted(arm.states.items()))
        best = "-" if arm.best is None else f"{arm.best:.2%}"
        rows.add_row(arm.name, f"{arm.spent} / {arm.budget}", best, states, str(arm.lost))
    console.print(rows)
    for busy in status.busy:
        console.print(
            f"{busy.worker} on {busy.device}: {busy.trial}, epoch {busy.epoch} of "
            f"{busy.until_epoch}, for {busy.running:.0f} s (last progress {busy.idle:.0f} s ago)"
            + (f", attempt {busy.attempt + 1}" if busy.attempt else ""),
            soft_wrap=True,
        )
    if not status.busy:
        console.print("No worker is at work.")
    if status.seconds_left is not None:
        minutes = status.seconds_left / 60
        about = f"About {minutes:.0f} min" if minutes >= 1 else "Less than a minute"
        console.print(f"{about} left at this speed.")
    if status.draining:
        console.print(
            "Stopped by `tuneoff stop`: workers leave after their trials. `tuneoff stop --undo` "
            "takes it back."
        )
    for failure in status.failures:
        console.print(f"[red]failed[/] {escape(failure)}", soft_wrap=True)


def train_exported(
    console: Console,
    trainer: Trainer,
    entry: Exported,
    folder: Path,
    stop: Callable[[], bool],
) -> None:
    """Train an exported configuration, and say whether it came to what it came to then.

    Raises:
        TrainerError: as ``Trainer.train``.
    """
    recipe = trainer.resolve(entry.recipe)
    params = ", ".join(f"{name} = {value:g}" for name, value in asdict(entry.hyperparams).items())
    console.print(f"{recipe.model} for {recipe.epochs} epochs with {params}", soft_wrap=True)
    error = None
    try:
        for record in trainer.train(recipe, entry.hyperparams, entry.seed, folder, stop):
            error = record.validation_error
            console.print(
                f"epoch {record.epoch:3d}: loss {record.train_loss:.4f}, validation error "
                f"{error:.2%}, rate {record.lr:.2g}{' (resumed)' if record.replayed else ''}"
            )
    except Interrupted:
        console.print(f"Stopped. The same command goes on from {folder}.", soft_wrap=True)
        return
    if error is None:
        raise SearchError(f"{folder}: nothing was trained; take another folder with -o")
    console.print(f"validation error {error!r}")
    expected = entry.expected.get("validation_error")
    if expected == error:
        console.print("This is exactly what it was in the study.")
    elif expected is not None:
        there = ", ".join(f"{key} {value}" for key, value in entry.environment.items())
        console.print(
            f"In the study it was {expected!r}. The study was run with {there}; another device, "
            "version, or number of threads or processes changes the last digits.",
            soft_wrap=True,
        )
    console.print(f"Model: {folder}", soft_wrap=True)


def decoding_progress(console: Console) -> Callable[[int, int], None]:
    """A callback for (images done, of all) that draws a bar on a terminal."""
    bar: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not console.is_terminal:
            return
        if not bar:
            bar.append(Progress(console=console, transient=True))
            bar[0].start()
            bar[0].add_task("decoding images", total=total)
        bar[0].update(bar[0].task_ids[0], completed=done, total=total)
        if done >= total:
            bar.pop().stop()

    return show


@contextmanager
def fetching_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A callback for (bytes done, of all; 0 if not known) that draws a bar on a terminal."""
    bar = Progress(
        TextColumn("fetching"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
