"""What people see on the terminal: progress bars, or plain lines where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tuneoff.messages import counted
from tuneoff.search.cli.console import PlainConsole
from tuneoff.search.errors import SearchError
from tuneoff.trainer.errors import Interrupted
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

if TYPE_CHECKING:
    from tuneoff.search.results.export_file import Exported
    from tuneoff.trainer.contract import Task, Trainer


def time_left(seconds: float) -> str:
    """About how long something still takes."""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute left"
    return f"about {minutes:.0f} min left" if minutes < 120 else f"about {minutes / 60:.0f} h left"


def print_notes(console: PlainConsole, task: Task, others: Iterable[str] = ()) -> None:
    """What people should know about a task's images and recipe, and others, a line each."""
    for note in (*task.notes, *others):
        console.print(f"Note: {note}", soft_wrap=True)


def train_exported(
    console: PlainConsole,
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
    own = isinstance(recipe, OwnTraining)
    settings = recipe.params if own else asdict(entry.hyperparams or HyperParams())
    params = ", ".join(
        f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in settings.items()
    )
    what = recipe.code if own else recipe.model
    console.print(f"{what} for {counted(recipe.epochs, 'epoch')} with {params}", soft_wrap=True)
    print_notes(console, trainer.check(recipe))
    error, on = None, entry.metric.on("validation")
    try:
        params_of_ours = entry.hyperparams or HyperParams()
        for record in trainer.train(recipe, params_of_ours, entry.seed, folder, stop):
            error = record.validation_error
            if own:  # reported as people know it
                error = entry.metric.stored(error)
            said = f"loss {record.train_loss:.4f}, "
            rate = f", rate {record.lr:.2g}"
            console.print(
                f"epoch {record.epoch:3d}: {'' if own else said}{on} {entry.metric.text(error)}"
                f"{'' if own else rate}{' (resumed)' if record.replayed else ''}"
            )
    except Interrupted:
        console.print(f"Stopped. The same command goes on from {folder}.", soft_wrap=True)
        return
    if error is None:
        raise SearchError(f"{folder}: nothing was trained; take another folder with -o")
    # Every digit, so that two machines can be compared.
    console.print(f"{on} {entry.metric.text(error)} ({entry.metric.value(error)!r})")
    expected = entry.expected.get("validation_error")  # as people know it
    if expected == entry.metric.value(error):
        console.print("This is exactly what it was in the study.")
    elif expected is not None:
        there = ", ".join(f"{key} {value}" for key, value in entry.environment.items())
        console.print(
            f"In the study it was {expected!r}. The study was run with {there};"
            " another device, "
            "version, or number of threads or processes changes the last digits.",
            soft_wrap=True,
        )
    console.print(f"Model: {folder}", soft_wrap=True)


def decoding_progress(console: PlainConsole) -> Callable[[int, int], None]:
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
def fetching_progress(console: PlainConsole) -> Iterator[Callable[[int, int], None]]:
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
