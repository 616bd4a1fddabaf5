"""``tuneoff launch --on ray``: a real cluster of two nodes, of which one is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PASSWORD = "open-sesame"
STUDY = {
    "repeats": "1",
    "space__lr__high": "0.3",  # a rate that diverges would end trials early
    "ensemble__members": '[{ model = "proxy" }]',
}
# However pytest ends, the cluster ends with it: its processes are this shell's group.
GUARD = '"$@" & cat > /dev/null; kill -KILL 0'


@dataclass(frozen=True)
class Cluster:
    """Two nodes.

    Attributes:
        raylets: the process that each node consists of, with its children.
    """

    address: str
    raylets: tuple[psutil.Process, ...]

    def workers(self, node: int) -> list[psutil.Process]:
        """The ``tuneoff worker`` processes of a node."""
        found = []
        for process in self.raylets[node].children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                found += [process] * ("worker" in words and "tuneoff" in words)
        return found

    def processes(self, node: int) -> list[psutil.Process]:
        """All that runs on a node."""
        return [self.raylets[node], *self.raylets[node].children(recursive=True)]

    def lose(self, node: int) -> None:
        """Cut a node off, with all that runs there."""
        for process in self.processes(node):
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def cluster(ray_folder: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """Two Ray nodes of two cores each; none of their processes outlives the test."""
    pytest.importorskip("ray", reason="ray is not installed")
    script = Path(__file__).with_name("ray_cluster.py")
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, "sh", sys.executable, str(script)],
        env=environment | {"RAY_TMPDIR": str(ray_folder), "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    try:
        told = json.loads(guard.stdout.readline())
        yield Cluster(told["address"], tuple(map(psutil.Process, told["raylets"])))
    finally:
        guard.stdin.close()
        guard.wait(30)
        guard.stdout.close()


def ray_processes(folder: Path) -> list[psutil.Process]:
    """Every process alive that names this folder of Ray's."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(folder) in str(process.cmdline()) and process.pid != os.getpid():
                found.append(process)
    return found


def owned(ledger: Any, workers: list[psutil.Process]) -> list[Any]:
    """The live attempts of these workers."""
    pids = {str(worker.pid) for worker in workers}
    return [
        row
        for row in ledger.attempts()
        if row.end is None and row.worker.rpartition("/")[2] in pids
    ]


def check(ledger: Any) -> None:
    """Every trial was finished once, by attempts each of which went on where the last had been."""
    attempts = defaultdict(list)
    for row in sorted(ledger.attempts(), key=lambda row: row.number):
        attempts[row.search, row.trial].append(row)
    trials = ledger.trials()
    assert set(attempts) == {(trial["search"], trial["number"]) for trial in trials}
    for trial in trials:
        mine = attempts[trial["search"], trial["number"]]
        ended = {"COMPLETE": "finished", "PRUNED": "paused"}
        assert mine[-1].end == ended[trial["state"]]
        assert {row.end for row in mine[:-1]} <= {"lost", "released", "paused"}
        assert [row.number for row in mine] == list(range(len(mine)))
        reached = [row.from_epoch + row.epochs for row in mine]
        assert [row.from_epoch for row in mine] == [0, *reached[:-1]]
        assert reached[-1] == trial["epochs"]
    assert ledger.spent() == sum(trial["epochs"] for trial in trials)
    budgets: defaultdict[str, int] = defaultdict(int)
    for row in ledger.attempts():
        budgets[row.search] += row.epochs
    assert all(spent <= 12 for spent in budgets.values())
    assert set(budgets) == {f"digits/{arm}/0" for arm in ("bayes", "hand", "random")}


def test_a_node_is_lost(
    cluster: Cluster,
    ray_folder: Path,
    postgres_url: str,
    make_tuneoff: Callable[..., Any],
    digits: Callable[..., list[str]],
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
) -> None:
    tuneoff = make_tuneoff(postgres_url.replace("postgres@", f"postgres:{PASSWORD}@"))
    tuneoff("create", *digits(**STUDY))
    ledger = read_ledger(postgres_url)
    outputs = []

    def launch() -> Any:
        running = tuneoff.start(
            "launch", "digits", "--on", "ray", "--address", cluster.address, "--workers", "2"
        )
        outputs.append(running)
        until(
            lambda: (
                running.process.poll() is not None
                or all(owned(ledger, cluster.workers(node)) for node in (0, 1))
            ),
            "a trial on each node",
            500,  # Ray's processes and ours start at once, on few cores
        )
        assert running.process.poll() is None, running.text
        return running

    # Asked to leave: the workers checkpoint and release before the launcher goes.
    running = launch()
    assert [len(cluster.workers(node)) for node in (0, 1)] == [1, 1]
    commands = [process.cmdline() for node in (0, 1) for process in cluster.processes(node)]
    assert PASSWORD not in str(commands)
    running.signal(signal.SIGINT)
    assert running.wait() == 128 + signal.SIGINT, running.text
    assert tuneoff.leftovers() == []
    assert {row.end for row in ledger.attempts()} <= {"finished", "paused", "released"}
    assert "The same command goes on from here." in running.text

    # The launcher is killed, and Ray ends what it had started.
    running = launch()
    running.signal(signal.SIGKILL)
    running.wait()
    until(lambda: not tuneoff.leftovers(), "the end of all workers")

    # A worker is killed, and then a node.
    running = launch()
    cluster.workers(0)[0].kill()
    until(lambda: "a worker died (signal 9)" in running.text, "word of it")
    (lost,) = until(lambda: owned(ledger, cluster.workers(1)), "a trial to lose")
    cluster.lose(1)
    assert running.wait(400) == 0, running.text
    assert "Ray started it again" in running.text
    assert tuneoff.leftovers() == []
    check(ledger)
    others = [r for r in ledger.attempts() if (r.search, r.trial) == (lost.search, lost.trial)]
    taken_over = [row for row in others if row.number > lost.number]
    assert taken_over
    assert all(row.worker != lost.worker for row in taken_over)
    assert next(row.end for row in others if row.token == lost.token) == "lost"

    logs = list(tuneoff.work.glob("digits-*/logs/ray-*.log"))
    assert len(logs) == 6  # two for each launch
    kept = [path for path in (*logs, *ray_folder.rglob("*")) if path.is_file()]
    assert len(kept) > 20
    texts = [*(path.read_bytes().decode("latin-1") for path in kept), *(o.text for o in outputs)]
    assert PASSWORD not in "".join(texts)


def test_a_cluster_of_its_own(
    ray_folder: Path,
    tuneoff: Any,
    digits: Callable[..., list[str]],
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
) -> None:
    """``--address local``, on SQLite; what nobody can offer is refused; nothing is left over."""
    pytest.importorskip("ray", reason="ray is not installed")
    tuneoff("create", *digits(**STUDY))
    words = ("launch", "digits", "--on", "ray", "--address", "local")
    said = tuneoff(*words, "--cpus", "4096", code=2, RAY_TMPDIR=str(ray_folder))
    assert len(said.err) == 1, said.text
    assert "4096 CPUs" in said.text
    done = tuneoff(*words, "--workers", "2", "--gpus", "all", RAY_TMPDIR=str(ray_folder), limit=400)
    assert "workers with 1 CPU each" in done.text
    assert "No node of the cluster has a GPU: the workers run on CPUs." in done.text
    check(read_ledger(tuneoff.storage))
    until(lambda: not ray_processes(ray_folder), "the end of Ray", 60)


def test_bad_input(
    ray_folder: Path,
    tuneoff: Any,
    digits: Callable[..., list[str]],
    tiny_files: dict[str, bytes],
    write_zip: Callable[..., Path],
    until: Callable[..., Any],
) -> None:
    """One line, from the launcher or from a worker, and nothing is left over."""
    pytest.importorskip("ray", reason="ray is not installed")
    path = write_zip(tiny_files)
    data = ("--set", 'data.name="tiny-imagenet"', "--set", f'data.path="{path}"')
    tuneoff("create", *digits(**STUDY), *data)
    write_zip({name: file for name, file in tiny_files.items() if not name.endswith("_7.JPEG")})

    def refused(*words: str) -> str:
        said = tuneoff("launch", "digits", "--on", "ray", *words, code=2,
                       RAY_TMPDIR=str(ray_folder), limit=400)  # fmt: skip
        assert len(said.err) == 1, said.text
        line: str = said.err[0]
        return line

    assert "images are not those" in refused("--address", "local", "--workers", "2")
    assert "--address auto: no Ray cluster" in refused("--address", "auto")
    assert "--address nowhere" in refused("--address", "nowhere")
    assert "--partition goes with --on slurm" in refused("--partition", "gpu")
    assert "--gpus 0: Ray chooses" in refused("--gpus", "0")
    until(lambda: not ray_processes(ray_folder), "the end of Ray", 60)
    assert tuneoff.leftovers() == []
