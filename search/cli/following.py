"""Workers followed until they have left: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from tuneoff.search.cli.terminal import console
from tuneoff.search.launch.base import Workers
from tuneoff.search.results.progress import ArmProgress, ProgressReader
from tuneoff.search.store.outages import OUTAGES, reason
from tuneoff.search.study.study import Study

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between looks at the workers, which run on this machine or answer quickly."""
BAR_SECONDS = 3.0
"""Between readings of the database, which all workers share, for the bars of a terminal."""
LINE_SECONDS = 15.0
"""The same where there is no terminal, and between the lines that are printed there."""


def follow(
    study: Study,
    workers: Workers,
    stop: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show how a study goes until its workers have left; drain them when asked to stop.

    Raises:
        UserError, SearchError: see ``Workers.poll``.
    """
    shown = _Bars() if console.is_terminal else _Lines()
    reader = ProgressReader(study)
    due = clock()
    asked = False
    with shown:
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
            if clock() >= due:
                # Not patiently: a launcher also looks after its workers while the database is away.
                try:
                    shown.show(reader.read())
                except OUTAGES as error:
                    log.warning("database %s: %s; trying again", study.database, reason(error))
                due = clock() + shown.seconds
            sleep(POLL_SECONDS)


class _Bars:
    """A progress bar for each arm."""

    seconds = BAR_SECONDS

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:12}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("epochs  {task.fields[best]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, arms: list[ArmProgress]) -> None:
        for arm in arms:
            if arm.name not in self._tasks:
                self._tasks[arm.name] = self._bars.add_task(arm.name, best="")
            self._bars.update(
                self._tasks[arm.name],
                completed=arm.spent,
                total=max(arm.budget, arm.spent),
                best="" if arm.best is None else f"best error {arm.best:.2%}",
            )


class _Lines:
    """A line whenever something has changed."""

    seconds = LINE_SECONDS

    def __init__(self) -> None:
        self._said = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, arms: list[ArmProgress]) -> None:
        line = "  ".join(f"{arm.name} {arm.spent}/{arm.budget}" for arm in arms)
        if line != self._said:
            console.print(f"epochs: {line}", soft_wrap=True)
            self._said = line
