"""What every launcher needs: worker processes, and a fleet of them that is watched.

A fleet starts its workers, starts those again that die, gives up those that keep dying, and asks
them to leave. What a worker is, and how one is started, differs from launcher to launcher.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Generic, Protocol, Self, TypeVar

from tuneoff.search.errors import SearchError, UserError

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a dead worker is started again; after the last one it is given up."""
STEADY_SECONDS = 120.0
"""A worker that lived for so long starts again with the shortest pause."""
LEAVING_SECONDS = 60.0
"""How long the workers of a fleet that ends have to checkpoint and leave."""
BAD_INPUT = 2


class Workers(Protocol):
    """The workers of one study, wherever they run. Entering starts them, leaving ends them."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def poll(self) -> bool:
        """Restart what died; True while any worker is at work or will be.

        Raises:
            UserError: a worker met bad input; the message is the worker's own.
            SearchError: the last worker keeps dying; the message names its log. While there are
                others, one that does is given up alone, which is news.
        """
        ...

    def news(self) -> list[str]:
        """One line for each thing that people should know of since the last call."""
        ...

    def drain(self) -> None:
        """Ask every worker to checkpoint and leave."""
        ...


@dataclass(frozen=True)
class Slot:
    """Where one worker runs.

    Attributes:
        device: as the worker sees it: "cpu" or "cuda:0".
        threads: CPU threads for it to compute with.
        environment: variables that it gets besides: which GPU it sees.
        cores: numbers of the CPU cores that it is kept to; empty for all.
    """

    device: str
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Exit:
    """How a worker process ended: its exit code, and for people why it was not 0."""

    code: int
    why: str = ""


@dataclass
class Restarts:
    """When a worker that died starts again, and when it is given up.

    Attributes:
        pauses: in seconds, after the first death in a row, the second...
        clock: seconds; it never goes back.
    """

    pauses: Sequence[float] = BACKOFF_SECONDS
    clock: Callable[[], float] = time.monotonic
    _starts: int = 0
    _started: float = 0.0
    _deaths: int = 0

    def started(self) -> None:
        """The worker starts now."""
        self._starts += 1
        self._started = self.clock()

    def died(self, why: str, log: Path, code: int | None = None) -> float:
        """It died; how many seconds to wait before it starts again.

        Args:
            why: for people, in one line.
            log: where they read more.
            code: its exit code, where it had one.

        Raises:
            UserError: it met bad input.
            SearchError: it has died too often in a row.
        """
        # Later, what looks like bad input may be a database that is away for a moment.
        if code == BAD_INPUT and self._starts == 1:
            raise UserError(why)
        if self.clock() - self._started > STEADY_SECONDS:
            self._deaths = 0
        if self._deaths == len(self.pauses):
            raise SearchError(f"a worker died {self._deaths + 1} times in a row ({why}); see {log}")
        self._deaths += 1
        return self.pauses[self._deaths - 1]


@dataclass(kw_only=True)
class Member:
    """One worker of a fleet.

    Attributes:
        log: the file that has what it prints.
        running: was it started, and has its end not been seen yet?
        wake: when it is to start again, on the monotonic clock, if it does not run.
        finished: it has left for good.
    """

    log: Path
    restarts: Restarts
    running: bool = False
    wake: float = 0.0
    finished: bool = False


M = TypeVar("M", bound=Member)


class Fleet(ABC, Generic[M]):
    """The workers of one study, watched until they have left (see ``Workers``).

    Use as a context manager: leaving it ends every worker.
    """

    def __init__(self, members: Sequence[M]) -> None:
        self._members = tuple(members)
        self._draining = False
        self._news: list[str] = []

    def __len__(self) -> int:
        """How many workers there are to be."""
        return len(self._members)

    def __enter__(self) -> Self:
        try:
            for member in self._members:
                self._begin(member)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.drain()
        deadline = time.monotonic() + LEAVING_SECONDS
        while self.poll() and time.monotonic() < deadline:
            time.sleep(0.05)
        for member in self._members:
            if not member.finished:
                self._finish(member)

    def poll(self) -> bool:
        """See ``Workers.poll``."""
        for member in self._members:
            if not member.finished:
                self._tend(member)
        return any(not member.finished for member in self._members)

    def news(self) -> list[str]:
        """See ``Workers.news``: workers that died, and what else the fleet has to say."""
        news, self._news = self._news, []
        return news

    def drain(self) -> None:
        """See ``Workers.drain``."""
        self._draining = True
        for member in self._members:
            if member.running:
                self._dismiss(member)

    def _begin(self, member: M) -> None:
        self._start(member)
        member.running = True
        member.restarts.started()

    def _tend(self, member: M) -> None:
        if not member.running:
            if self._draining:
                self._finish(member)
            elif time.monotonic() >= member.wake:
                self._begin(member)
            return
        ended = self._ended(member)
        if ended is None:
            self._watch(member)
            return
        member.running = False
        if ended.code == 0 or self._draining:
            self._finish(member)
            return
        try:
            pause = member.restarts.died(ended.why, member.log, ended.code)
        except UserError:
            raise
        except SearchError as error:
            if all(other.finished for other in self._members if other is not member):
                raise
            self._news.append(f"{error}; it is given up, and the others go on")
            self._finish(member)
            return
        self._news.append(f"a worker died ({ended.why}) and starts again in {pause:.0f} s")
        member.wake = time.monotonic() + pause

    def _finish(self, member: M) -> None:
        member.finished = True
        self._discard(member)

    @abstractmethod
    def _start(self, member: M) -> None:
        """Start a worker, for the first time or again."""

    @abstractmethod
    def _ended(self, member: M) -> Exit | None:
        """How a worker that was started has ended; None while it runs."""

    @abstractmethod
    def _dismiss(self, member: M) -> None:
        """Ask a worker that runs to checkpoint and leave."""

    @abstractmethod
    def _discard(self, member: M) -> None:
        """End at once what may be left of a worker that has finished, or did not in time."""

    def _watch(self, member: M) -> None:
        """Look after a worker that runs; called at each poll."""


def counted(workers: int) -> str:
    """A number of workers, for people."""
    return f"{workers} worker{'s' if workers != 1 else ''}"


def make_logs(folder: Path) -> None:
    """Make the folder of the workers' logs (UserError if they cannot be written there)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(4096))
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made, or written to ({error.strerror}); choose another --work"
        ) from None


def tuneoff_command() -> list[str]:
    """What starts ``tuneoff`` in another process, whatever folder that works in.

    Without -P Python would look for modules in that folder first, where a user's own queue.py or
    random.py would stand in for Python's.
    """
    return [sys.executable, "-P", "-m", "tuneoff"]


def start_worker(
    command: Sequence[str],
    storage: str,
    device: str,
    threads: int,
    output: IO[bytes],
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``tuneoff worker`` as a child that leaves when this process is gone.

    Args:
        command: what follows ``tuneoff worker``; device and threads are added.
        storage: URL, passed in the environment, because it may hold a password.
        output: the file for what it prints.
        environment: on top of this process's own.
        folder: to work in; ours unless given.
    """
    words = [*tuneoff_command(), "worker", *command]
    words += ["--device", device, "--threads", str(threads), "--parent", str(os.getpid())]
    # A process group of its own: Ctrl-C reaches the launcher, which drains the workers once.
    return subprocess.Popen(
        words,
        cwd=folder,
        env={
            **os.environ,
            "TUNEOFF_STORAGE": storage,
            "OMP_NUM_THREADS": str(threads),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def exit_of(code: int, log: Path, begin: int) -> Exit:
    """How a worker ended: by a signal, or with the last line of its log after the byte ``begin``.

    Args:
        code: its exit code, or minus the number of the signal.
    """
    if code == 0:
        return Exit(0)
    if code < 0:
        return Exit(code, f"signal {-code}")
    try:
        with log.open("rb") as file:
            file.seek(max(begin, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError as error:
        return Exit(code, f"exit code {code}; its log cannot be read: {error.strerror}")
    if not lines:
        no_space = shutil.disk_usage(log.parent).free == 0
        why = "no space for its log" if no_space else "no output"
        return Exit(code, f"exit code {code}, {why}")
    why = lines[-1].removeprefix("Error: ")
    return Exit(code, why)
