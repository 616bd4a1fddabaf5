"""What people see on the terminal: progress bars, or plain lines where there is none."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.launch.base import Workers
from tuneoff.search.results.export import Exported
from tuneoff.search.results.status import ArmStatus, Status, read_status, table
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study
from tuneoff.trainer.contract import Trainer
from tuneoff.trainer.errors import Interrupted

POLL_SECONDS = 1.0
LINE_SECONDS = 15.0


def follow(study: Study, workers: Workers, stop: Callable[[], bool]) -> None:
    """Show how a study goes until its workers have left; drain them when asked to stop.

    Raises:
        UserError, SearchError: see ``Workers.poll``.
    """
    console = Console()
    bars = Progress(
        TextColumn("{task.description:12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("epochs  {task.fields[best]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks = {}
    said, said_at = "", 0.0
    asked = False
    with bars:
        while True:
            # Before the poll: a worker that leaves because we are to leave has not died.
            if stop() and not asked:
                console.print("Stopping: workers checkpoint and leave (again to quit at once).")
                workers.drain()
                asked = True
            at_work = workers.poll()
            for line in workers.news():
                console.print(line, soft_wrap=True, highlight=False, markup=False)
            if not at_work:
                break
            status = study.database.patiently(lambda: read_status(study))
            for arm in _begun(study, status):
                if arm.name not in tasks:
                    tasks[arm.name] = bars.add_task(arm.name, best="")
                bars.update(
                    tasks[arm.name],
                    completed=arm.spent,
                    total=max(arm.budget, arm.spent),
                    best=_best(arm),
                )
            line = "  ".join(
                f"{arm.name} {arm.spent}/{arm.budget}" for arm in _begun(study, status)
            )
            due = line != said and time.monotonic() - said_at > LINE_SECONDS
            if due and not console.is_terminal:
                console.print(f"epochs: {line}", soft_wrap=True)
                said, said_at = line, time.monotonic()
            time.sleep(POLL_SECONDS)


def print_status(console: Console, status: Status) -> None:
    """A status for people."""
    console.print(table(status))
    for busy in status.busy:
        console.print(
            f"{busy.worker} on {busy.device}: {busy.trial}, epoch {busy.epoch} of "
            f"{busy.until_epoch}, for {busy.running:.0f} s (last sign {busy.idle:.0f} s ago)"
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
        console.print("Draining: workers leave after their trials (`tuneoff stop --undo`).")
    for failure in status.failures:
        console.print(f"[red]failed[/] {failure}", soft_wrap=True)


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
        console.print(
            f"In the study it was {expected!r}: another device, number of threads or "
            "processes, or version "
            f"({', '.join(f'{k} {v}' for k, v in entry.environment.items())}).",
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


def serve_dashboard(database: Database, artifacts: Path, host: str, port: int) -> None:
    """Serve optuna-dashboard until Ctrl-C.

    Raises:
        UserError: this address cannot be listened on, or the folder cannot be made.
    """
    import optuna_dashboard
    from optuna.artifacts import FileSystemArtifactStore

    try:
        artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{artifacts}: cannot be made ({error.strerror}); choose another --work"
        ) from None
    app = optuna_dashboard.wsgi(database.optuna, artifact_store=FileSystemArtifactStore(artifacts))
    kind = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, app, server_class=kind, handler_class=_QuietHandler)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be used ({error.strerror}); choose another"
        ) from None
    with server:
        shown = f"[{host}]" if ":" in host else host
        Console().print(f"Dashboard of {database}", soft_wrap=True)
        Console().print(f"http://{shown}:{port}/ (Ctrl-C ends it)", soft_wrap=True)
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    """Requests have threads of their own, so that Ctrl-C always reaches this one."""

    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the page asks for news every few seconds."""


def _begun(study: Study, status: Status) -> list[ArmStatus]:
    return [arm for arm in status.arms if arm.name in study.spec.arms or arm.states]


def _best(arm: ArmStatus) -> str:
    return "" if arm.best is None else f"best error {arm.best:.2%}"
