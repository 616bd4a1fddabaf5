"""What every launcher needs: where a worker runs, how it starts, and when it starts again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from tuneoff.search.errors import SearchError, UserError

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a dead worker is started again; after the last one it is given up."""
STEADY_SECONDS = 120.0
"""A worker that lived for so long starts again with the shortest pause."""
BAD_INPUT = 2


class Workers(Protocol):
    """The workers of one study, wherever they run, as ``console.follow`` sees them."""

    def poll(self) -> bool:
        """Restart what died; True while any worker is at work or will be.

        Raises:
            UserError: a worker met bad input; the message is the worker's own.
            SearchError: a worker keeps dying; the message names its log.
        """
        ...

    def news(self) -> list[str]:
        """One line for each thing that people should know of since the last call."""
        ...

    def drain(self) -> None:
        """Ask every worker to checkpoint and leave."""
        ...


@dataclass(frozen=True)
class Seat:
    """Where one worker runs.

    Attributes:
        device: as the worker sees it: "cpu" or "cuda:0".
        threads: CPU threads for it to compute with.
        environment: what it is told besides: which GPU it sees.
        cores: numbers of the CPU cores that it is kept to; empty for all.
    """

    device: str
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] = ()


@dataclass
class Restarts:
    """When a worker that died starts again, and when it is given up.

    Attributes:
        pauses: in seconds, after the first death in a row, the second...
    """

    pauses: Sequence[float] = BACKOFF_SECONDS
    _starts: int = 0
    _started: float = 0.0
    _deaths: int = 0

    def started(self) -> None:
        """The worker starts now."""
        self._starts += 1
        self._started = time.monotonic()

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
        if time.monotonic() - self._started > STEADY_SECONDS:
            self._deaths = 0
        if self._deaths == len(self.pauses):
            raise SearchError(f"a worker died {self._deaths + 1} times in a row ({why}); see {log}")
        self._deaths += 1
        return self.pauses[self._deaths - 1]


def make_logs(folder: Path) -> None:
    """Make the folder of the workers' logs (UserError if that cannot be)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made ({error.strerror}); choose another --work"
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
    # A group of its own: Ctrl-C reaches the launcher, which drains the workers once.
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


def last_words(log: Path, begin: int, code: int) -> str:
    """Why a worker ended: its signal, or the last line of its log after the byte ``begin``."""
    if code < 0:
        return f"signal {-code}"
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else f"exit code {code}, no output"
