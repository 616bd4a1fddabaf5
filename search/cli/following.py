"""Workers followed until they have left: a board on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from rich.live import Live

from tuneoff.messages import counted
from tuneoff.search.cli.board import Board, best_words, board_lines, epochs_words
from tuneoff.search.cli.console import console, lines
from tuneoff.search.cli.terminal import time_left
from tuneoff.search.cli.until import growth_sentence
from tuneoff.search.launch.base import Workers
from tuneoff.search.results.numbers import all_of
from tuneoff.search.results.progress import ArmProgress, read_progress
from tuneoff.search.store.outages import OUTAGES, reason
from tuneoff.search.study.study import Study

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between looks at the workers, which run on this machine or answer quickly."""
SCREEN_SECONDS = 3.0
"""Between readings of the database, which all workers share, for a terminal."""
LINE_SECONDS = 60.0
"""The same where there is no terminal, and between the lines that are printed there."""


def follow(
    study: Study,
    workers: Workers,
    stop: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    promote: bool = True,
    each: Callable[[Sequence[ArmProgress]], None] = lambda arms: None,
) -> None:
    """Show how a study goes until its workers have left; drain them when asked to stop.

    Args:
        promote: the workers go on to full training when the search is done.
        each: called with what is shown, each time.

    Raises:
        UserError, SearchError: see ``Workers.poll``.
    """
    shown = _Screen(clock) if console.is_terminal else _Lines(clock)
    due = due_of_growth = clock()
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
                console.print(line, soft_wrap=True)
            if not at_work:
                break
            now = clock()
            # Not patiently: a launcher also looks after its workers while the database is away.
            try:
                if now >= due:
                    due = now + shown.seconds
                    shown.show(study, arms := read_progress(study, promote))
                    each(arms)
                # More often than a line is due: a small study grows and ends between two lines.
                if study.spec.compare.until == "decided" and now >= due_of_growth:
                    due_of_growth = now + SCREEN_SECONDS
                    study = _with_growth_told(study)
            except OUTAGES as error:
                log.warning("database %s: %s; trying again", study.database, reason(error))
            sleep(POLL_SECONDS)
        try:
            shown.show(study.refreshed(), read_progress(study, promote), last=True)
        except OUTAGES as error:
            log.warning("database %s: %s; how it ended is not shown", study.database, reason(error))


def _with_growth_told(study: Study) -> Study:
    """The study with the repeats that are open, after a line on those that were added."""
    grown = study.refreshed()
    if grown.repeats > study.repeats:
        console.print(growth_sentence(grown), soft_wrap=True)
    return grown


class TimeLeft:
    """How long what is left takes, at the speed since the first reading that shows progress."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before: int | None = None
        self._first: tuple[float, int] | None = None

    def of(self, arms: Sequence[ArmProgress]) -> str:
        """In words; empty while nothing is known."""
        now, spent = self._clock(), sum(arm.spent for arm in arms)
        if self._before is None:
            self._before = spent
        if spent == self._before:
            return ""
        if self._first is None:
            # Until then workers started, which says nothing about how fast they train.
            self._first = now, spent
        seconds, epochs = now - self._first[0], spent - self._first[1]
        left = sum(max(0, arm.budget - arm.spent) for arm in arms)
        return time_left(left * seconds / epochs) if epochs and left else ""


class _Screen:
    """A board that is drawn anew in its place; what is printed meanwhile stands above it."""

    seconds = SCREEN_SECONDS

    def __init__(self, clock: Callable[[], float]) -> None:
        self._left = TimeLeft(clock)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, study: Study, arms: list[ArmProgress], last: bool = False) -> None:
        board = board_of(study, arms, "" if last else self._left.of(arms))
        size, only = console.size, console.options.ascii_only
        drawn = board_lines(board, size.width, size.height, ascii_only=only)
        self._live.update(lines(*drawn), refresh=True)


class _Lines:
    """A line whenever something has changed, but not more than one a minute."""

    seconds = LINE_SECONDS

    def __init__(self, clock: Callable[[], float]) -> None:
        self._left = TimeLeft(clock)
        self._said = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, study: Study, arms: list[ArmProgress], last: bool = False) -> None:
        line = "  ".join(_words(arm, images_of(study)) for arm in arms)
        if line == self._said:
            return
        first, self._said = not self._said, line
        left = "" if last else self._left.of(arms)
        console.print(f"epochs: {line}{f'; {left}' if left else ''}", soft_wrap=True)
        if first and not last:
            board = board_of(study, arms, "")
            console.print(f"{board.title}. {board.answer}".strip())


def board_of(study: Study, arms: Sequence[ArmProgress], left: str) -> Board:
    """What is shown of a study that is at work."""
    at_work = sum(arm.live for arm in arms)
    spent = sum(arm.spent for arm in arms)
    to_come = sum(max(0, arm.budget - arm.spent) for arm in arms)
    if at_work:
        doing = f"{counted(at_work, 'worker')} at work"
    elif not spent:
        doing = "workers are starting; the first epoch takes up to a minute"
    else:
        doing = "no worker has a trial at this moment" if to_come else "every epoch is trained"
    answer = ""
    if study.spec.table is not None:
        answer = f"{counted(to_come, 'more epoch')} until the table is whole." if to_come else ""
    elif to_come and study.spec.compare.until != "decided":
        about = "about " if any(arm.about for arm in arms) else ""
        answer = (
            f"The answer comes when {all_of(study.repeats, 'repeat')}"
            f" {'is' if study.repeats == 1 else 'are'} in: {about}{counted(to_come, 'more epoch')}."
        )
    return Board(f"{study.name}: {doing}", arms, images_of(study), left, answer)


def images_of(study: Study) -> int:
    """The images on which search runs are evaluated."""
    return study.task.sizes.get("validation", 0)


def _words(arm: ArmProgress, images: int) -> str:
    best = "" if arm.best is None else f" (best {arm.metric.bare} {best_words(arm, images)})"
    return f"{arm.name} {epochs_words(arm)}{best}"
