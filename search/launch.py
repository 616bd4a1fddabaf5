"""Worker processes on this machine: started, watched, restarted, drained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from search.errors import SearchError, UserError

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a dead worker is started again; after the last one it is given up."""
STEADY_SECONDS = 120.0
"""A worker that lived for so long starts again with the shortest pause."""
BAD_INPUT = 2


@dataclass(frozen=True)
class Seat:
    """Where one worker runs.

    Attributes:
        device: as the worker sees it: "cpu" or "cuda:0".
        threads: CPU threads for it to compute with.
        environment: what it is told besides: which GPU it sees.
    """

    device: str
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)


def seats(
    cores: int, gpus: Sequence[int], workers: int | None = None, per_gpu: int = 1
) -> list[Seat]:
    """Share this machine among workers.

    Args:
        cores: CPU cores to share out.
        gpus: numbers of the GPUs to use; empty for the CPU alone.
        workers: on the CPU: how many (default: one a core).
        per_gpu: on GPUs: how many on each.

    Raises:
        UserError: workers or per_gpu is below 1.
    """
    if per_gpu < 1 or (workers is not None and workers < 1):
        raise UserError("the number of workers must be at least 1")
    if gpus:
        count = len(gpus) * per_gpu
        threads = max(1, cores // count)
        return [
            Seat("cuda:0", threads, {"CUDA_VISIBLE_DEVICES": str(gpu)})
            for gpu in gpus
            for _ in range(per_gpu)
        ]
    count = workers or cores
    return [Seat("cpu", max(1, cores // count))] * count


def usable_cores() -> int:
    """The CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@dataclass
class _Member:
    seat: Seat
    log: Path
    begin: int = 0  # where in the log its present life begins
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    wake: float = 0.0
    finished: bool = False


class Fleet:
    """The workers of one study on this machine.

    Use as a context manager: leaving it ends every process.
    """

    def __init__(
        self, command: Sequence[str], storage: str, seats: Sequence[Seat], logs: Path
    ) -> None:
        """
        Args:
            command: what follows ``tuneoff worker``; device and threads are added.
            storage: URL, passed in the environment, because it may hold a password.
            logs: folder for one log file a worker.

        Raises:
            UserError: the folder cannot be made.
        """
        self._command, self._storage = list(command), storage
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{logs}: cannot be made ({error.strerror}); choose another --work"
            ) from None
        self._members = [_Member(seat, logs / f"worker-{i}.log") for i, seat in enumerate(seats)]
        self._draining = False
        self._news: list[str] = []

    def __enter__(self) -> Fleet:
        for member in self._members:
            self._start(member)
        return self

    def __exit__(self, *_: object) -> None:
        self.drain()
        deadline = time.monotonic() + 60
        for member in self._members:
            if member.process is not None:
                try:
                    member.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    member.process.kill()
                    member.process.wait()

    def poll(self) -> bool:
        """Restart what died; True while any worker is at work or will be.

        Raises:
            UserError: a worker met bad input; the message is the worker's own.
            SearchError: a worker keeps dying; the message names its log.
        """
        for member in self._members:
            self._tend(member)
        return any(not member.finished for member in self._members)

    def news(self) -> list[str]:
        """One line for each worker that died since the last call."""
        news, self._news = self._news, []
        return news

    def drain(self) -> None:
        """Ask every worker to checkpoint and leave."""
        self._draining = True
        for member in self._members:
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)

    def _start(self, member: _Member) -> None:
        seat = member.seat
        threads = str(seat.threads)
        environment = {
            **os.environ,
            "TUNEOFF_STORAGE": self._storage,
            "OMP_NUM_THREADS": threads,
            **seat.environment,
        }
        command = [sys.executable, "-m", "search", "worker", *self._command]
        command += ["--device", seat.device, "--threads", threads, "--parent", str(os.getpid())]
        output: IO[bytes]
        with member.log.open("ab") as output:
            member.begin = output.seek(0, os.SEEK_END)
            # A group of its own: Ctrl-C reaches the launcher, which drains the workers once.
            member.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        member.started = time.monotonic()
        member.starts += 1

    def _tend(self, member: _Member) -> None:
        if member.finished:
            return
        if member.process is None:
            if self._draining:
                member.finished = True
            elif time.monotonic() >= member.wake:
                self._start(member)
            return
        code = member.process.poll()
        if code is None:
            return
        member.process = None
        if code == 0 or self._draining:
            member.finished = True
            return
        why = _why(member, code)
        # Later, what looks like bad input may be a database that is away for a moment.
        if code == BAD_INPUT and member.starts == 1:
            raise UserError(why)
        if time.monotonic() - member.started > STEADY_SECONDS:
            member.deaths = 0
        if member.deaths == len(BACKOFF_SECONDS):
            raise SearchError(
                f"a worker died {member.deaths + 1} times in a row ({why}); see {member.log}"
            )
        pause = BACKOFF_SECONDS[member.deaths]
        self._news.append(f"a worker died ({why}) and starts again in {pause:.0f} s")
        member.wake = time.monotonic() + pause
        member.deaths += 1


def _why(member: _Member, code: int) -> str:
    if code < 0:
        return f"signal {-code}"
    with member.log.open("rb") as file:
        file.seek(max(member.begin, member.log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else f"exit code {code}, no output"
