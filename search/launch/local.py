"""Worker processes on this machine: started, watched, restarted, drained."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneoff.search.errors import UserError
from tuneoff.search.launch.base import (
    BACKOFF_SECONDS,
    Restarts,
    Seat,
    last_words,
    make_logs,
    start_worker,
)


def seats(
    cores: Sequence[int], gpus: Sequence[str], workers: int | None = None, per_gpu: int = 1
) -> list[Seat]:
    """Share this machine among workers.

    On the CPU each worker has cores of its own, neighbours by number, for as long as there is one
    for each.

    Args:
        cores: numbers of the CPU cores to share out, at least one.
        gpus: the GPUs to use, as CUDA_VISIBLE_DEVICES names them; empty for the CPU alone.
        workers: on the CPU: how many (default: one a core).
        per_gpu: on GPUs: how many on each.

    Raises:
        UserError: workers or per_gpu is below 1.
    """
    if per_gpu < 1 or (workers is not None and workers < 1):
        raise UserError("the number of workers must be at least 1")
    if gpus:
        # Not kept to cores: which ones are near a card is not known here.
        threads = max(1, len(cores) // (len(gpus) * per_gpu))
        return [
            Seat("cuda:0", threads, {"CUDA_VISIBLE_DEVICES": gpu})
            for gpu in gpus
            for _ in range(per_gpu)
        ]
    count = workers or len(cores)
    if count > len(cores):
        return [Seat("cpu", 1, cores=(cores[i % len(cores)],)) for i in range(count)]
    bounds = [i * len(cores) // count for i in range(count + 1)]
    shares = [tuple(cores[a:b]) for a, b in itertools.pairwise(bounds)]
    return [Seat("cpu", len(share), cores=share) for share in shares]


def usable_cores() -> list[int]:
    """The numbers of the CPU cores that this process may use."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:
        return list(range(os.cpu_count() or 1))


def choose_gpus(wanted: str | None, count: int, visible: str | None) -> list[str]:
    """The GPUs to use, as CUDA_VISIBLE_DEVICES is to name them.

    Args:
        wanted: numbers as in "0,1", counted among those that this process sees; all (None too)
            or none.
        count: of the GPUs that this process sees.
        visible: this process's own CUDA_VISIBLE_DEVICES: numbers or UUIDs; None if it is not set.

    Raises:
        UserError: ``wanted`` names none of them, or one twice.
    """
    names = [str(i) for i in range(count)] if visible is None else visible.split(",")[:count]
    if wanted in (None, "all"):
        return names
    if wanted == "none":
        return []
    assert wanted is not None
    try:
        numbers = [int(part) for part in wanted.split(",")]
    except ValueError:
        raise UserError(f"--gpus {wanted}: write numbers, as in 0,1, or all or none") from None
    if not all(0 <= number < len(names) for number in numbers):
        raise UserError(f"--gpus {wanted}: this machine has {len(names)} GPUs; choose of them")
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--gpus {wanted}: names a GPU twice; for several workers use --per-gpu")
    return [names[number].strip() for number in numbers]


@dataclass
class _Member:
    seat: Seat
    log: Path
    restarts: Restarts
    begin: int = 0  # where in the log its present life begins
    process: subprocess.Popen[bytes] | None = None
    wake: float = 0.0
    finished: bool = False


class Fleet:
    """The workers of one study on this machine (see ``Workers``).

    Use as a context manager: leaving it ends every process.
    """

    def __init__(
        self,
        command: Sequence[str],
        storage: str,
        seats: Sequence[Seat],
        logs: Path,
        label: str = "worker",
        pauses: Sequence[float] = BACKOFF_SECONDS,
    ) -> None:
        """
        Args:
            command: what follows ``tuneoff worker``; device and threads are added.
            storage: URL, passed in the environment, because it may hold a password.
            logs: folder for one log file a worker: LABEL-0.log, LABEL-1.log...
            pauses: see ``Restarts``.

        Raises:
            UserError: the folder cannot be made.
        """
        self._command, self._storage = list(command), storage
        make_logs(logs)
        self._members = [
            _Member(seat, logs / f"{label}-{i}.log", Restarts(pauses))
            for i, seat in enumerate(seats)
        ]
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
        """See ``Workers.poll``."""
        for member in self._members:
            self._tend(member)
        return any(not member.finished for member in self._members)

    def news(self) -> list[str]:
        """See ``Workers.news``: workers that died."""
        news, self._news = self._news, []
        return news

    def drain(self) -> None:
        """See ``Workers.drain``."""
        self._draining = True
        for member in self._members:
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)

    def _start(self, member: _Member) -> None:
        seat = member.seat
        with member.log.open("ab") as output:
            member.begin = output.seek(0, os.SEEK_END)
            member.process = start_worker(
                self._command, self._storage, seat.device, seat.threads, output, seat.environment
            )
        if seat.cores:
            # It may be gone already, or the container may forbid it: it works without, too.
            with contextlib.suppress(AttributeError, OSError):
                os.sched_setaffinity(member.process.pid, seat.cores)
        member.restarts.started()

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
        why = last_words(member.log, member.begin, code)
        pause = member.restarts.died(why, member.log, code)
        self._news.append(f"a worker died ({why}) and starts again in {pause:.0f} s")
        member.wake = time.monotonic() + pause
