"""Worker processes on this machine: `tuneoff launch`, `tuneoff run` and `tuneoff promote`."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneoff.search.errors import UserError
from tuneoff.search.launch.base import (
    BACKOFF_SECONDS,
    Exit,
    Fleet,
    Member,
    Restarts,
    Slot,
    counted,
    exit_of,
    make_logs,
    start_worker,
)
from tuneoff.search.launch.launcher import GPUS, Launcher, LaunchRequest, Terminal


def launch_here(request: LaunchRequest, terminal: Terminal) -> int:
    """Run workers on this machine until they are done, or until a signal; the exit code.

    Raises:
        UserError: there are no such GPUs, or the folder of the logs cannot be made.
    """
    wanted = request.options["gpus"]
    slots = slots_here(terminal.count_gpus(), request.workers, wanted, request.per_gpu)
    # Machines may share the folder.
    fleet = LocalFleet(request.command, request.storage, slots, request.logs, socket.gethostname())
    if wanted == "all" and slots[0].device == "cpu":
        terminal.say("No GPU is visible on this machine: the workers run on its CPU.")
    terminal.begin()
    terminal.say(f"{request.study}: {counted(len(slots))}; logs in {request.logs}")
    return terminal.follow(fleet)


LAUNCHER = Launcher(launch_here, (GPUS,))

WORKERS_PER_CORE = 16
"""More would need more memory than machines have, and wait for each other."""


def slots_here(gpu_count: int, workers: int | None, wanted: str | None, per_gpu: int) -> list[Slot]:
    """This machine's slots for workers.

    Args:
        gpu_count: how many GPUs this process sees.
        workers, per_gpu: see ``share_out``.
        wanted: see ``choose_gpus``.

    Raises:
        UserError: there are no such GPUs.
    """
    chosen = choose_gpus(wanted, gpu_count, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return share_out(usable_cores(), chosen, workers, per_gpu)


def share_out(
    cores: Sequence[int], gpus: Sequence[str], workers: int | None = None, per_gpu: int = 1
) -> list[Slot]:
    """Share this machine among workers.

    On the CPU each worker has cores of its own, neighbours by number, for as long as there is one
    for each.

    Args:
        cores: numbers of the CPU cores to share out, at least one.
        gpus: the GPUs to use, as CUDA_VISIBLE_DEVICES names them; empty for the CPU alone.
        workers: on the CPU: how many (default: one a core).
        per_gpu: on GPUs: how many on each.

    Raises:
        UserError: workers or per_gpu is below 1, or there would be more than
            ``WORKERS_PER_CORE`` workers a core.
    """
    if per_gpu < 1 or (workers is not None and workers < 1):
        raise UserError("the number of workers must be at least 1")
    wanted, most = (len(gpus) * per_gpu if gpus else workers or 1), WORKERS_PER_CORE * len(cores)
    if wanted > most:
        raise UserError(
            f"{wanted} workers are too many for {len(cores)} CPU cores; start at most {most}"
        )
    if gpus:
        # Not kept to cores: which ones are near a card is not known here.
        threads = max(1, len(cores) // (len(gpus) * per_gpu))
        return [
            Slot("cuda:0", threads, {"CUDA_VISIBLE_DEVICES": gpu})
            for gpu in gpus
            for _ in range(per_gpu)
        ]
    count = workers or len(cores)
    if count > len(cores):
        return [Slot("cpu", 1, cores=(cores[i % len(cores)],)) for i in range(count)]
    bounds = [i * len(cores) // count for i in range(count + 1)]
    parts = [tuple(cores[a:b]) for a, b in itertools.pairwise(bounds)]
    return [Slot("cpu", len(part), cores=part) for part in parts]


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
        raise UserError(
            f"--gpus {wanted}: this machine has {len(names)} GPUs, numbered from 0; choose among "
            "them, or write none"
        )
    if len(set(numbers)) < len(numbers):
        raise UserError(
            f"--gpus {wanted}: names a GPU twice; for several workers on each, use --per-gpu"
        )
    return [names[number].strip() for number in numbers]


@dataclass(kw_only=True)
class _LocalMember(Member):
    """A worker process and where it runs.

    Attributes:
        begin: the byte of the log at which its present process began to write.
    """

    slot: Slot
    begin: int = 0
    process: subprocess.Popen[bytes] | None = None


class LocalFleet(Fleet[_LocalMember]):
    """The workers of one study on this machine."""

    def __init__(
        self,
        command: Sequence[str],
        storage: str,
        slots: Sequence[Slot],
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
        make_logs(logs)
        super().__init__(
            [
                _LocalMember(log=logs / f"{label}-{i}.log", restarts=Restarts(pauses), slot=slot)
                for i, slot in enumerate(slots)
            ]
        )
        self._command, self._storage = list(command), storage

    def _start(self, member: _LocalMember) -> None:
        slot = member.slot
        with member.log.open("ab") as output:
            member.begin = output.seek(0, os.SEEK_END)
            member.process = start_worker(
                self._command, self._storage, slot.device, slot.threads, output, slot.environment
            )
        if slot.cores:
            # It may be gone already, or the container may forbid it: it works without, too.
            with contextlib.suppress(AttributeError, OSError):
                os.sched_setaffinity(member.process.pid, slot.cores)

    def _ended(self, member: _LocalMember) -> Exit | None:
        assert member.process is not None
        code = member.process.poll()
        return None if code is None else exit_of(code, member.log, member.begin)

    def _dismiss(self, member: _LocalMember) -> None:
        if member.process is not None and member.process.poll() is None:
            member.process.send_signal(signal.SIGTERM)

    def _discard(self, member: _LocalMember) -> None:
        if member.process is not None and member.process.poll() is None:
            member.process.kill()
            member.process.wait()
