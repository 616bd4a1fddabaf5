"""Workers on a Ray cluster: placed and restarted by Ray, followed from here."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneoff.messages import first_line, how_to_install
from tuneoff.search.errors import UserError
from tuneoff.search.launch.base import Exit, Fleet, Member, Restarts, counted, make_logs
from tuneoff.search.launch.launcher import (
    CPUS,
    GPUS,
    Launcher,
    LaunchRequest,
    Option,
    Terminal,
)
from tuneoff.search.launch.ray_actor import JobSpec, Location, Resources, WorkerActor

OBJECT_STORE_BYTES = 100 * 2**20  # nothing of ours is kept there
ANSWER_SECONDS = 30.0  # for a worker to hear that it is asked to leave
PLACE_SECONDS = 5.0  # the same, for one that was never seen: it most likely waits for a node
WAITING_SECONDS = 10.0  # before we say that nobody has found a place

ADDRESS = Option(
    "--address",
    "The cluster; auto for the one that runs here, local for one of our own. "
    "[default: RAY_ADDRESS, else auto]",
    metavar="HOST:PORT",
)


def launch_on_ray(request: LaunchRequest, terminal: Terminal) -> int:
    """Run workers on a Ray cluster until they are done, or until a signal; the exit code.

    Raises:
        UserError: there is no such cluster, or it cannot take such workers.
    """
    logs = request.logs.absolute()
    gpus, cpus, address = (request.options[key] for key in ("gpus", "cpus", "address"))
    if gpus not in (None, "all", "none"):
        raise UserError(f"--gpus {gpus}: Ray chooses the GPUs itself; write all or none")
    make_logs(logs)
    with connected(address, logs):
        if not serves_one_machine():
            request.check_reachable()
        use_gpus = gpus != "none" and has_gpus()
        resources = Resources.of(cpus, request.per_gpu, use_gpus)
        fleet = RayFleet(
            request.command, request.storage, logs, resources, request.workers, request.shared
        )
        if gpus == "all" and not use_gpus:
            terminal.say("No node of the cluster has a GPU: the workers run on CPUs.")
        terminal.begin()
        terminal.say(
            f"{request.study}: {counted(len(fleet))} with {resources} each; logs in {logs}"
        )
        return terminal.follow(fleet)


LAUNCHER = Launcher(launch_on_ray, (GPUS, CPUS, ADDRESS))


@contextmanager
def connected(address: str | None, folder: Path) -> Iterator[None]:
    """Join a Ray cluster, and leave it at the end.

    Args:
        address: HOST:PORT, "auto" for the one that runs here, "local" for one of our own; without
            it, what RAY_ADDRESS says, else "auto".
        folder: one without Python modules. Ray's processes look for modules in the folder that a
            program joins from, before they look anywhere else: a user's own queue.py or random.py
            would stand in for Python's.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise UserError(f"--on ray needs Ray; install it: {how_to_install('ray')}") from None

    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    # A study's cluster reports to nobody, and asks nothing on the terminal.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        with chdir(folder):
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        # ConnectionError, RuntimeError and ValueError, and at "ray://" whatever gRPC raises.
        why = first_line(error)[:200]
        raise UserError(
            f"--address {address}: no Ray cluster of this Ray can be reached ({why}); start one "
            "with `ray start --head`, or use --address local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(kw_only=True)
class _RayMember(Member):
    """A worker's actor, and references to what its methods will return.

    Attributes:
        exited: what ``run`` returns.
        looked: what ``location`` returns, while we wait for that.
        location: what it returned last.
        asked: what ``drain`` returns, while we wait for that.
        asked_at: when it was asked to drain, on the monotonic clock.
    """

    job: JobSpec
    actor: Any = None
    exited: Any = None
    looked: Any = None
    location: Location | None = None
    asked: Any = None
    asked_at: float = 0.0


class RayFleet(Fleet[_RayMember]):
    """The workers of one study on the Ray cluster that we are connected to.

    Ray chooses the nodes, spread out, and starts a worker again on another node when its own is
    lost.
    """

    def __init__(
        self,
        command: Sequence[str],
        storage: str,
        logs: Path,
        resources: Resources,
        workers: int | None = None,
        shared: bool = True,
    ) -> None:
        """
        Args:
            command: what follows ``tuneoff worker``; device and threads are added.
            storage: URL; it may hold a password.
            logs: folder for one log file a worker; it must exist.
            resources: what each worker takes.
            workers: how many (default: as many as the cluster has room for).
            shared: see ``JobSpec``.

        Raises:
            UserError: no node is big enough for a worker.
        """
        import ray

        count = workers or room(ray.nodes(), resources)
        if count < 1:
            raise UserError(
                f"no node of the Ray cluster has the {resources} that a worker takes; change "
                "--cpus or --gpus, or say how many workers are to wait for one with --workers"
            )
        label = f"ray-{ray.get_runtime_context().get_job_id()}"
        paths = [logs / f"{label}-{i}.log" for i in range(count)]
        jobs = [
            JobSpec(tuple(command), storage, Path.cwd(), log, resources, shared) for log in paths
        ]
        super().__init__([_RayMember(log=job.log, restarts=Restarts(), job=job) for job in jobs])
        self._ray = ray
        self._resources = resources
        self._begun = time.monotonic()
        self._placed = ""

    def poll(self) -> bool:
        """See ``Workers.poll``."""
        at_work = super().poll()
        self._tell_places()
        return at_work

    def _start(self, member: _RayMember) -> None:
        if member.actor is None:
            # Without end: a cluster of preemptible nodes loses them all the time.
            remote = self._ray.remote(WorkerActor).options(
                num_cpus=self._resources.cpus,
                num_gpus=self._resources.gpus,
                max_restarts=-1,
                max_task_retries=-1,
                max_concurrency=3,
                scheduling_strategy="SPREAD",
            )
            member.actor = remote.remote(member.job)
        member.exited = member.actor.run.remote()

    def _ended(self, member: _RayMember) -> Exit | None:
        if not self._is_there(member.exited):
            return None
        try:
            ended: Exit = self._ray.get(member.exited)
        except self._ray.exceptions.RayError as error:
            # The actor could not be made, or is gone for good: the next one is a new one.
            member.actor = member.looked = member.location = None
            return Exit(1, f"Ray: {first_line(error)[:200]}")
        return ended

    def _watch(self, member: _RayMember) -> None:
        if self._draining:
            self._dismiss(member)
        else:
            self._locate(member)

    def _locate(self, member: _RayMember) -> None:
        """Learn where a worker is, and whether Ray had to start it again."""
        if member.looked is None:
            member.looked = member.actor.location.remote()
        if not self._is_there(member.looked):
            return
        try:
            location: Location = self._ray.get(member.looked)
        except self._ray.exceptions.RayError:
            return  # what run() returns will say so, too
        finally:
            member.looked = None
        before = member.location
        if before is not None and before.incarnation != location.incarnation:
            why = f"its node or its Ray process on {before.host} was lost"
            member.restarts.died(why, member.log)
            member.restarts.started()
            self._news.append(f"a worker died ({why}); Ray started it again on {location.host}")
        member.location = location

    def _dismiss(self, member: _RayMember) -> None:
        """Have a worker leave, wherever Ray may have taken it in the meantime."""
        patience = ANSWER_SECONDS if member.location else PLACE_SECONDS
        if member.asked is None:
            member.asked, member.asked_at = member.actor.drain.remote(), time.monotonic()
        elif self._is_there(member.asked):
            member.asked = None  # ask again: Ray may have started it again in between
        elif time.monotonic() - member.asked_at > patience:
            self._finish(member)

    def _discard(self, member: _RayMember) -> None:
        if member.actor is not None:
            self._ray.kill(member.actor)
            member.actor = None

    def _is_there(self, reference: Any) -> bool:
        done, _ = self._ray.wait([reference], timeout=0)
        return bool(done)

    def _tell_places(self) -> None:
        working = [member for member in self._members if not member.finished]
        hosts = Counter(member.location.host for member in working if member.location)
        waiting = sum(not member.location for member in working)
        if self._draining or (not hosts and time.monotonic() - self._begun < WAITING_SECONDS):
            return
        parts = [f"{n} on {host}" for host, n in sorted(hosts.items())]
        parts += [f"{waiting} waiting for a node with {self._resources}"] * bool(waiting)
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


def room(nodes: Sequence[dict[str, Any]], resources: Resources) -> int:
    """How many workers fit on these nodes when nobody else is there."""
    count = 0
    for node in nodes:
        if node["Alive"]:
            there = node["Resources"]
            fit = there.get("CPU", 0) / resources.cpus
            if resources.gpus:
                fit = min(fit, there.get("GPU", 0) / resources.gpus)
            count += math.floor(fit)
    return count
