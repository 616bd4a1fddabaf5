"""Worker processes on a Ray cluster: placed and restarted by Ray, followed from here."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.launch.base import BAD_INPUT, Restarts, last_words, make_logs, start_worker

FRACTION = 10_000  # Ray counts resources in ten-thousandths
OBJECT_STORE_BYTES = 100 * 2**20  # nothing of ours is kept there
ANSWER_SECONDS = 30.0  # for a worker to hear that it is asked to leave
PLACE_SECONDS = 5.0  # the same, for one that was never seen: it most likely waits for a node
LEAVING_SECONDS = 60.0  # for all of them to leave
WAITING_SECONDS = 10.0  # before we say that nobody has found a place


@dataclass(frozen=True)
class Share:
    """What one worker takes of its node: CPU cores, and GPUs (a fraction, or none)."""

    cpus: int
    gpus: float

    @classmethod
    def of(cls, cpus: int, per_gpu: int, use_gpus: bool) -> Share:
        """``per_gpu`` workers share a GPU; rounded down, so that they all fit."""
        return cls(cpus, math.floor(FRACTION / per_gpu) / FRACTION if use_gpus else 0.0)

    def __str__(self) -> str:
        cpus = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        return f"{cpus} and {self.gpus:g} GPU" if self.gpus else cpus


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Join a Ray cluster, and leave it at the end.

    Args:
        address: HOST:PORT, "auto" for the one that runs here, "local" for one of our own; without
            it, what RAY_ADDRESS says, else "auto".

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise UserError('--on ray needs Ray; install it: pip install "tuneoff[ray]"') from None

    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    # A study's cluster reports to nobody, and asks nothing on the terminal.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        # ConnectionError, RuntimeError and ValueError, and at "ray://" whatever gRPC raises.
        raise UserError(
            f"--address {address}: no Ray cluster of this Ray can be reached ({_line(error)}); "
            "start one with `ray start --head`, or use --address local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Left:
    """How a worker process ended: its exit code, and the last line that it wrote."""

    code: int
    why: str


@dataclass(frozen=True)
class Whereabouts:
    """Where a worker is; ``life`` is another each time that Ray starts it again."""

    host: str
    life: str


@dataclass(frozen=True)
class Errand:
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
    share: Share
    shared: bool = True


class _Actor:
    """A worker's life on its node: a ``tuneoff worker`` process and its log.

    A process of its own, because signals reach only the main thread of one, which here is Ray's.
    When this actor dies, Ray kills the process too; where it does not, the process notices that
    its parent is gone, checkpoints and leaves.
    """

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._draining = False
        self._life = secrets.token_hex(8)

    def whereabouts(self) -> Whereabouts:
        """Where it is."""
        return Whereabouts(socket.gethostname(), self._life)

    def run(self) -> Left:
        """Run the worker to its end; Ray calls this again elsewhere if the node is lost."""
        errand = self._errand
        if not errand.shared:
            errand.log.parent.mkdir(parents=True, exist_ok=True)
        elif not errand.log.parent.is_dir():
            # Checkpoints that one node alone sees are lost with it.
            return Left(
                BAD_INPUT,
                f"node {socket.gethostname()} has no folder {errand.log.parent}; choose a --work "
                "that every node shares, or give the study [workers] artifacts",
            )
        with errand.log.open("ab") as output:
            begin = output.seek(0, os.SEEK_END)
            with self._lock:
                if self._draining:
                    return Left(0, "")
                # Ray has told this process which GPUs it may see; the worker inherits that.
                self._process = start_worker(
                    errand.command,
                    errand.storage,
                    "cuda:0" if errand.share.gpus else "cpu",
                    errand.share.cpus,
                    output,
                    {},
                    errand.folder if errand.folder.is_dir() else None,
                )
        code = self._process.wait()
        return Left(code, last_words(errand.log, begin, code) if code else "")

    def drain(self) -> None:
        """Ask the worker to checkpoint and leave."""
        with self._lock:
            self._draining = True
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)


@dataclass
class _Member:
    errand: Errand
    restarts: Restarts = field(default_factory=Restarts)
    actor: Any = None
    left: Any = None  # reference to what run() returns
    looked: Any = None  # reference to what whereabouts() returns
    where: Whereabouts | None = None
    asked: Any = None  # reference to what drain() returns
    asked_at: float = 0.0
    wake: float = 0.0
    finished: bool = False


class RayFleet:
    """The workers of one study on the Ray cluster that we are connected to (see ``Workers``).

    Ray chooses the nodes, spread out, and starts a worker again on another node when its own is
    lost. Use as a context manager: leaving it ends every worker.
    """

    def __init__(
        self,
        command: Sequence[str],
        storage: str,
        logs: Path,
        share: Share,
        workers: int | None = None,
        shared: bool = True,
    ) -> None:
        """
        Args:
            command: what follows ``tuneoff worker``; device and threads are added.
            storage: URL; it may hold a password.
            logs: folder for one log file a worker.
            workers: how many (default: as many as the cluster has room for).
            shared: see ``Errand``.

        Raises:
            UserError: the folder cannot be made, or no node is big enough for a worker.
        """
        import ray

        make_logs(logs)
        self._ray = ray
        self._share = share
        count = workers or room(ray.nodes(), share)
        if count < 1:
            raise UserError(
                f"no node of the Ray cluster has the {share} that a worker takes; change --cpus "
                "or --gpus, or say how many to wait for with --workers"
            )
        label = f"ray-{ray.get_runtime_context().get_job_id()}"
        self._members = [
            _Member(
                Errand(
                    tuple(command), storage, Path.cwd(), logs / f"{label}-{i}.log", share, shared
                )
            )
            for i in range(count)
        ]
        self._begun = time.monotonic()
        self._draining = False
        self._placed = ""
        self._news: list[str] = []

    def __len__(self) -> int:
        """How many workers there are to be."""
        return len(self._members)

    def __enter__(self) -> RayFleet:
        for member in self._members:
            self._start(member)
        return self

    def __exit__(self, *_: object) -> None:
        self.drain()
        deadline = time.monotonic() + LEAVING_SECONDS
        while time.monotonic() < deadline:
            with suppress(SearchError):
                if not self.poll():
                    break
            time.sleep(0.1)
        for member in self._members:
            self._finish(member)

    def poll(self) -> bool:
        """See ``Workers.poll``."""
        for member in self._members:
            if not member.finished:
                self._tend(member)
        self._tell_places()
        return any(not member.finished for member in self._members)

    def news(self) -> list[str]:
        """See ``Workers.news``: where the workers are, and which died or were lost."""
        news, self._news = self._news, []
        return news

    def drain(self) -> None:
        """See ``Workers.drain``."""
        self._draining = True
        for member in self._members:
            if not member.finished:
                self._press(member)

    def _start(self, member: _Member) -> None:
        if member.actor is None:
            # Without end: a cluster of preemptible nodes loses them all the time.
            remote = self._ray.remote(_Actor).options(
                num_cpus=self._share.cpus,
                num_gpus=self._share.gpus,
                max_restarts=-1,
                max_task_retries=-1,
                max_concurrency=3,
                scheduling_strategy="SPREAD",
            )
            member.actor = remote.remote(member.errand)
        member.left = member.actor.run.remote()
        member.restarts.started()

    def _tend(self, member: _Member) -> None:
        if member.left is None:
            if self._draining:
                self._finish(member)
            elif time.monotonic() >= member.wake:
                self._start(member)
            return
        if self._is_there(member.left):
            self._ended(member, self._result(member))
        elif self._draining:
            self._press(member)
        else:
            self._look(member)

    def _result(self, member: _Member) -> Left:
        try:
            left: Left = self._ray.get(member.left)
        except self._ray.exceptions.RayError as error:
            # The actor could not be made, or is gone for good: the next one is a new one.
            member.actor = member.looked = member.where = None
            return Left(1, f"Ray: {_line(error)}")
        return left

    def _ended(self, member: _Member, left: Left) -> None:
        member.left = None
        if left.code == 0 or self._draining:
            self._finish(member)
            return
        pause = member.restarts.died(left.why, member.errand.log, left.code)
        self._news.append(f"a worker died ({left.why}) and starts again in {pause:.0f} s")
        member.wake = time.monotonic() + pause

    def _look(self, member: _Member) -> None:
        """Learn where a worker is, and whether Ray had to start it again."""
        if member.looked is None:
            member.looked = member.actor.whereabouts.remote()
        if not self._is_there(member.looked):
            return
        try:
            where: Whereabouts = self._ray.get(member.looked)
        except self._ray.exceptions.RayError:
            return  # what run() returns will say so, too
        finally:
            member.looked = None
        if member.where is not None and member.where.life != where.life:
            why = f"its node or its Ray process on {member.where.host} was lost"
            member.restarts.died(why, member.errand.log)
            member.restarts.started()
            self._news.append(f"a worker died ({why}); Ray started it again on {where.host}")
        member.where = where

    def _press(self, member: _Member) -> None:
        """Have a worker leave, wherever Ray may have taken it in the meantime."""
        patience = ANSWER_SECONDS if member.where else PLACE_SECONDS
        if member.left is None:
            self._finish(member)  # it waits to be started again
        elif member.asked is None:
            member.asked, member.asked_at = member.actor.drain.remote(), time.monotonic()
        elif self._is_there(member.asked):
            member.asked = None  # ask again: Ray may have started it again in between
        elif time.monotonic() - member.asked_at > patience:
            self._finish(member)

    def _finish(self, member: _Member) -> None:
        member.finished = True
        if member.actor is not None:
            self._ray.kill(member.actor)
            member.actor = None

    def _is_there(self, reference: Any) -> bool:
        done, _ = self._ray.wait([reference], timeout=0)
        return bool(done)

    def _tell_places(self) -> None:
        hosts = Counter(m.where.host for m in self._members if m.where and not m.finished)
        waiting = sum(not m.where and not m.finished for m in self._members)
        if self._draining or (not hosts and time.monotonic() - self._begun < WAITING_SECONDS):
            return
        parts = [f"{n} on {host}" for host, n in sorted(hosts.items())]
        parts += [f"{waiting} waiting for a node with {self._share}"] * bool(waiting)
        placed = f"workers: {', '.join(parts)}"
        if parts and placed != self._placed:
            self._news.append(placed)
            self._placed = placed


def serves_one_machine() -> bool:
    """True if every node of the cluster that we are connected to is on this machine."""
    import ray

    here = ray.util.get_node_ip_address()
    return all(node["NodeManagerAddress"] == here for node in ray.nodes() if node["Alive"])


def has_gpus() -> bool:
    """True if any node of the cluster that we are connected to has a GPU."""
    import ray

    return bool(ray.cluster_resources().get("GPU", 0))


def room(nodes: Sequence[dict[str, Any]], share: Share) -> int:
    """How many workers fit on these nodes when nobody else is there."""
    count = 0
    for node in nodes:
        if node["Alive"]:
            there = node["Resources"]
            fit = there.get("CPU", 0) / share.cpus
            if share.gpus:
                fit = min(fit, there.get("GPU", 0) / share.gpus)
            count += math.floor(fit)
    return count


def _line(error: Exception) -> str:
    """The first line of a message that is worth reading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
