"""One run of a command, epoch by epoch: started, followed, stopped, and gone on with later."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import takewhile
from typing import NoReturn

from tuneoff import own_run
from tuneoff.files import make_folder
from tuneoff.trainer.errors import (
    CheckpointError,
    Diverged,
    Interrupted,
    ModelError,
)
from tuneoff.trainer.own import kept, template
from tuneoff.trainer.own.command_job import FILES, LOCK, LOG, REPORT, CommandFailed, Epoch, Job
from tuneoff.trainer.own.process import SILENT_SECONDS, CommandProcess, hold
from tuneoff.trainer.own.reports import BadReport, Report, Reports

log = logging.getLogger(__name__)

LOCK_SECONDS = SILENT_SECONDS + 15.0
"""For so long a command of an earlier attempt is waited for. It ends at once with its worker, and
after ``SILENT_SECONDS`` if that stands still."""
_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.002, 0.05
_LONGEST_LOOK = 1.0
"""Seconds that count as silence of the command between two looks, at most: more than that is time
in which this process, or the machine, stood still."""


def run_command(job: Job, tick: Callable[[], bool]) -> Generator[Epoch, None, None]:
    """Run a command from where it was left, epoch by epoch.

    While an epoch is given out the command stands still, so that nothing is trained that nobody has
    asked for. Closing the iterator ends it: SIGTERM first.

    Args:
        tick: see ``contract.Tick``; called several times a second while the command trains.

    Raises:
        Diverged: it reported a value that is no finite number.
        Interrupted: ``tick`` returned True.
        CommandFailed: it ended too early, or hangs.
        BadReport: it reported nonsense.
        ModelError: it cannot be started.
        CheckpointError: a checkpoint cannot be written or put back.
    """
    job = replace(job, folder=job.folder.absolute())
    try:
        make_folder(job.folder)
        lock = _lock_of(job)
    except OSError as error:
        raise CheckpointError(
            f"{job.folder} cannot be written ({error.strerror}); fix that and start again: nothing "
            "is lost"
        ) from error
    try:
        epochs = _take_up(job)
        yield from (replace(epoch, replayed=True) for epoch in epochs)
        if len(epochs) < job.epochs:
            if tick():
                raise Interrupted(len(epochs))
            yield from _Run(job, epochs, tick).follow(lock)
    finally:
        os.close(lock)


class _Run:
    """A command from its start to its end."""

    def __init__(self, job: Job, epochs: list[Epoch], tick: Callable[[], bool]) -> None:
        """
        Args:
            epochs: that were trained before; those that follow are added.
        """
        self._job, self._epochs, self._tick = job, epochs, tick
        self._reports = Reports(job.folder / REPORT, len(epochs), job.epochs)
        self._began, self._stood_still = time.monotonic(), 0.0

    def follow(self, lock: int) -> Generator[Epoch, None, None]:
        """See ``run_command``."""
        job = self._job
        (job.folder / REPORT).unlink(missing_ok=True)
        self._say_seen(len(self._epochs))
        with self._start(lock) as process:
            try:
                yield from self._each(process)
            except GeneratorExit:
                self._end(process)
                raise
            except BadReport as error:
                process.kill()
                raise CommandFailed(f"{error}", process.last_lines(), job.folder / LOG) from error

    def _start(self, lock: int) -> CommandProcess:
        job, done = self._job, len(self._epochs)
        words = job.words(done)
        try:
            process = CommandProcess(words, job.environment(done), job.folder / LOG, lock)
        except (OSError, ValueError) as error:  # no more processes; a NUL in a word
            raise ModelError(f"{template.shown(words)} cannot be started: {error}") from error
        log.debug("started %s", template.shown(words))
        return process

    def _each(self, process: CommandProcess) -> Generator[Epoch, None, None]:
        silence = _Silence(process)
        pause = _FIRST_POLL_SECONDS
        while True:
            alive = process.alive()  # asked first, so that what it reported before is read below
            if reports := self._reports.new():
                stop = yield from self._take(process, reports)
                if len(self._epochs) == self._job.epochs:
                    return
                silence, pause = _Silence(process), _FIRST_POLL_SECONDS
            elif not alive:
                self._tick()  # if another worker has the run by now, its end is no failure
                self._fail(process)
            elif silence.seconds() > self._job.hung_seconds:
                lines = process.last_lines()
                process.kill()
                raise CommandFailed(
                    f"the command hung: it neither reported nor printed anything for "
                    f"{self._job.hung_seconds:g} s in epoch {len(self._epochs) + 1}",
                    lines,
                    self._job.folder / LOG,
                )
            else:
                stop = self._tick()
            if stop:
                self._interrupt(process)
            if not reports:
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_POLL_SECONDS)

    def _take(self, process: CommandProcess, reports: list[Report]) -> Generator[Epoch, None, bool]:
        """Keep and give out epochs; True if the run is to stop."""
        new = self._note(reports)
        if len(self._epochs) == self._job.epochs:
            self._say_seen(self._job.epochs)
            self._let_end(process)
        else:
            process.stand_still()
        stop = False
        if new:
            still = time.monotonic()
            stop = self._tick()
            self._keep()
            yield from new
            self._stood_still += time.monotonic() - still
        if len(new) < len(reports):
            raise Diverged(len(self._epochs) + 1, self._seconds)
        self._say_seen(len(self._epochs))
        process.go_on()
        return stop

    def _note(self, reports: Sequence[Report]) -> list[Epoch]:
        """Add what was reported to the epochs, up to the one in which the run diverged."""
        now = time.monotonic()
        self._seconds = (now - self._began - self._stood_still) / max(1, len(reports))
        self._began, self._stood_still = now, 0.0
        good = takewhile(lambda report: not report.diverged, reports)
        new = [Epoch(report.epoch, report.value, report.test, self._seconds) for report in good]
        self._epochs += new
        return new

    def _keep(self) -> None:
        """Keep the folder as it is."""
        records = [asdict(epoch) for epoch in self._epochs]
        kept.save(self._job.folder, self._job.identity(), records, self._job.folder / FILES)

    def _let_end(self, process: CommandProcess) -> None:
        """Give a command that has reported its last epoch time to end by itself."""
        silence = _Silence(process)
        while process.alive():
            self._reports.new()  # BadReport if it goes on
            if silence.seconds() > self._job.hung_seconds or self._tick():
                log.warning("the command was ended after it had reported its last epoch")
                self._end(process)
            time.sleep(_FIRST_POLL_SECONDS)
        self._reports.new()
        if process.code:
            said = "; ".join(process.last_lines()[-1:])
            log.warning(
                "the command reported all of its epochs and then %s: %s", _how(process), said
            )

    def _interrupt(self, process: CommandProcess) -> NoReturn:
        """Let the command save what it can, and stop."""
        self._end(process, self._tick)
        # One that was killed may have been writing: it goes on from what was kept before.
        if process.code is not None and process.code >= 0:
            self._note(self._reports.new())
            self._tick()
            self._keep()
        raise Interrupted(len(self._epochs))

    def _end(self, process: CommandProcess, meanwhile: Callable[[], object] | None = None) -> None:
        """Let the command save and end, and kill it if it does not."""
        process.ask_to_end()
        # Code that only takes note of the signal may be waiting in ``tuneoff.report``; before the
        # signal it would begin the next epoch.
        self._say_seen(self._reports.epoch)
        process.end_within(self._job.stop_seconds, meanwhile)

    def _fail(self, process: CommandProcess) -> NoReturn:
        """Say how the command ended before its run did."""
        job, due = self._job, len(self._epochs) + 1
        if process.missing is not None:
            words = template.shown(job.words(0))
            raise ModelError(f"the command cannot be started: {process.missing} ({words})")
        if process.silent:
            said = f"the command was killed in epoch {due}, as its worker stood still"
        elif process.code == 0:
            said = (
                f"the command ended without a report of epoch {due} of {job.epochs}; it must "
                f"append a line for each epoch to the file that {own_run.REPORT} names"
            )
        else:
            said = f"the command {_how(process)} in epoch {due}"
        raise CommandFailed(said, process.last_lines(), job.folder / LOG)

    def _say_seen(self, epoch: int) -> None:
        """For ``tuneoff.report``, which waits for it."""
        path = self._job.folder / f"{REPORT}{own_run.SEEN}"
        path.write_text(str(epoch), encoding="ascii")


class _Silence:
    """For how long a command has printed nothing."""

    def __init__(self, process: CommandProcess) -> None:
        self._process, self._printed = process, process.printed()
        self._seconds, self._looked = 0.0, time.monotonic()

    def seconds(self) -> float:
        """Seconds since it was last seen to print, or since this was made."""
        now, printed = time.monotonic(), self._process.printed()
        self._seconds += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        if printed != self._printed:
            self._printed, self._seconds = printed, 0.0
        return self._seconds


def _lock_of(job: Job) -> int:
    """The run's lock, once no command of an earlier attempt is alive (OSError)."""
    patience = time.monotonic() + LOCK_SECONDS
    while (lock := hold(job.folder / LOCK)) is None:
        if time.monotonic() > patience:
            raise CheckpointError(
                f"a command of an earlier attempt is still alive and has {job.folder / LOCK}; end "
                "it and start again: nothing is lost"
            )
        time.sleep(_LONGEST_POLL_SECONDS)
    return lock


def _take_up(job: Job) -> list[Epoch]:
    """The epochs that an earlier attempt trained, with the folder as it was after them.

    None of them if the command cannot go on from there.
    """
    files = job.folder / FILES
    found = kept.load_newest(job.folder, job.identity(), files)
    if found is None:
        return []
    if len(found.records) < job.epochs and not (job.resumable and found.has_files):
        shutil.rmtree(files, ignore_errors=True)
        make_folder(files)
        return []
    return [Epoch(**record) for record in found.records]


def _how(process: CommandProcess) -> str:
    """How it ended, for people."""
    if process.code is not None and process.code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-process.code).name}"
    return f"ended with exit code {process.code}"
