"""What runs on a node of a Ray cluster: an actor that runs one ``tuneoff worker`` process."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuneoff.search.launch.base import BAD_INPUT, Exit, exit_of, start_worker

FRACTION = 10_000  # Ray counts resources in ten-thousandths


@dataclass(frozen=True)
class Resources:
    """What one worker takes of its node: CPU cores, and GPUs (a fraction, or none)."""

    cpus: int
    gpus: float

    @classmethod
    def of(cls, cpus: int, per_gpu: int, use_gpus: bool) -> Resources:
        """``per_gpu`` workers share a GPU; rounded down, so that they all fit."""
        return cls(cpus, math.floor(FRACTION / per_gpu) / FRACTION if use_gpus else 0.0)

    def __str__(self) -> str:
        cpus = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        return f"{cpus} and {self.gpus:g} GPU" if self.gpus else cpus


@dataclass(frozen=True)
class JobSpec:
    """What a worker is to do, as it travels to its node.

    Attributes:
        command: what follows ``tuneoff worker``.
        storage: URL; it may hold a password, so it is on no command line and in no printed form.
        folder: the launcher's, to work in where it is there: a study's data.path may be relative.
        log: the file for what the worker prints.
        shared: must the folder of the logs be there on every node? Not if checkpoints go to an
            artifact store: then each node makes its own.
    """

    command: Sequence[str]
    storage: str = field(repr=False)
    folder: Path
    log: Path
    resources: Resources
    shared: bool = True


@dataclass(frozen=True)
class Location:
    """Where a worker is.

    Attributes:
        incarnation: another each time that Ray starts the actor again.
    """

    host: str
    incarnation: str


class WorkerActor:
    """A worker's life on its node: a ``tuneoff worker`` process and its log.

    A process of its own, because signals reach only the main thread of one, which here is Ray's.
    When this actor dies, Ray kills the process too; where it does not, the process notices that
    its parent is gone, checkpoints and leaves.
    """

    def __init__(self, job: JobSpec) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._draining = False
        self._incarnation = secrets.token_hex(8)

    def location(self) -> Location:
        """Where it is."""
        return Location(socket.gethostname(), self._incarnation)

    def run(self) -> Exit:
        """Run the worker to its end; Ray calls this again elsewhere if the node is lost."""
        job = self._job
        if not job.shared:
            job.log.parent.mkdir(parents=True, exist_ok=True)
        elif not job.log.parent.is_dir():
            # Checkpoints that one node alone sees are lost with it.
            return Exit(
                BAD_INPUT,
                f"node {socket.gethostname()} has no folder {job.log.parent}; choose a --work "
                "that every node shares, or give the study [workers] artifacts",
            )
        with job.log.open("ab") as output:
            begin = output.seek(0, os.SEEK_END)
            with self._lock:
                if self._draining:
                    return Exit(0)
                # Ray has told this process which GPUs it may see; the worker inherits that.
                self._process = start_worker(
                    job.command,
                    job.storage,
                    "cuda:0" if job.resources.gpus else "cpu",
                    job.resources.cpus,
                    output,
                    {},
                    job.folder if job.folder.is_dir() else None,
                )
        return exit_of(self._process.wait(), job.log, begin)

    def drain(self) -> None:
        """Ask the worker to checkpoint and leave."""
        with self._lock:
            self._draining = True
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
