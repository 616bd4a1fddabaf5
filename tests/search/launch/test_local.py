"""Workers on this machine: who gets what of it, and what becomes of those that die."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.launch.base import Exit, Restarts, Slot, Workers, exit_of, make_logs
from tuneoff.search.launch.launcher import LaunchRequest
from tuneoff.search.launch.local import (
    LocalFleet,
    choose_gpus,
    launch_here,
    share_out,
    usable_cores,
)
from tuneoff.testing import FakeClock


class TestSlots:
    """Sharing a machine."""

    def test_each_worker_has_cores_of_its_own(self) -> None:
        found = share_out([0, 2, 4, 6, 8, 10, 12], [], workers=3)
        assert [slot.cores for slot in found] == [(0, 2), (4, 6), (8, 10, 12)]
        assert [slot.threads for slot in found] == [2, 2, 3]
        assert {slot.device for slot in found} == {"cpu"}

    def test_one_worker_a_core_unless_told(self) -> None:
        assert [slot.cores for slot in share_out([3, 5], [])] == [(3,), (5,)]

    def test_more_workers_than_cores(self) -> None:
        found = share_out([3, 5], [], workers=5)
        assert [slot.cores for slot in found] == [(3,), (5,), (3,), (5,), (3,)]
        assert {slot.threads for slot in found} == {1}

    def test_gpus(self) -> None:
        found = share_out(range(16), ["0", "GPU-8f1c"], workers=9, per_gpu=2)
        visible = [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found]
        assert visible == ["0", "0", "GPU-8f1c", "GPU-8f1c"]
        assert {(slot.device, slot.threads, slot.cores) for slot in found} == {("cuda:0", 4, ())}

    @pytest.mark.parametrize("numbers", [{"workers": 0}, {"per_gpu": 0}])
    def test_nobody(self, numbers: dict[str, int]) -> None:
        with pytest.raises(UserError, match="at least 1"):
            share_out([0], [], **numbers)

    @pytest.mark.parametrize("gpus", [[], ["0"]])
    def test_more_than_a_machine_holds(self, gpus: list[str]) -> None:
        assert len(share_out([0, 1], gpus, workers=32, per_gpu=32)) == 32
        with pytest.raises(UserError, match=r"33 workers are too many for 2 CPU cores; .* most 32"):
            share_out([0, 1], gpus, workers=33, per_gpu=33)


class TestGpus:
    """Naming GPUs."""

    @pytest.mark.parametrize(
        ("wanted", "visible", "names"),
        [
            (None, None, ["0", "1", "2"]),
            ("all", None, ["0", "1", "2"]),
            ("none", None, []),
            ("2,0", None, ["2", "0"]),
            (None, "5,3,7", ["5", "3", "7"]),
            ("1", "5,3,7", ["3"]),
            ("0,2", "GPU-a, GPU-b, MIG-c", ["GPU-a", "MIG-c"]),
            ("all", "GPU-a,GPU-b,MIG-c,-1,4", ["GPU-a", "GPU-b", "MIG-c"]),
        ],
    )
    def test_as_this_process_sees_them(
        self, wanted: str | None, visible: str | None, names: list[str]
    ) -> None:
        assert choose_gpus(wanted, 3, visible) == names

    def test_none_there(self) -> None:
        assert choose_gpus(None, 0, None) == choose_gpus("all", 0, "") == []

    @pytest.mark.parametrize("wanted", ["3", "-1", "0,9", "one", "", "0,0"])
    def test_what_is_refused(self, wanted: str) -> None:
        with pytest.raises(UserError, match=f"--gpus {wanted}: "):
            choose_gpus(wanted, 3, None)


class TestRestarts:
    """When a worker starts again."""

    def test_longer_pauses_then_the_end(self, tmp_path: Path) -> None:
        restarts = Restarts((1.0, 5.0))
        for pause in (1.0, 5.0):
            restarts.started()
            assert restarts.died("signal 9", tmp_path) == pause
        restarts.started()
        with pytest.raises(SearchError, match=r"3 times in a row \(signal 9\); see "):
            restarts.died("signal 9", tmp_path)

    def test_bad_input_ends_it_at_first_only(self, tmp_path: Path) -> None:
        restarts = Restarts()
        restarts.started()
        with pytest.raises(UserError, match="no such study"):
            restarts.died("no such study", tmp_path, 2)
        restarts.started()
        assert restarts.died("the database is away", tmp_path, 2) == 1.0

    def test_a_steady_worker_is_forgiven(self, tmp_path: Path) -> None:
        clock = FakeClock()
        restarts = Restarts((1.0, 5.0), clock)
        restarts.started()
        assert restarts.died("signal 9", tmp_path) == 1.0
        restarts.started()
        clock.now += 1000
        assert restarts.died("signal 9", tmp_path) == 1.0


@dataclass
class FakeTerminal:
    """Keeps what it is told, and follows nobody."""

    gpus: int
    told: list[str] = field(default_factory=list)

    def count_gpus(self) -> int:
        return self.gpus

    def begin(self) -> None:
        self.told.append("begin")

    def say(self, line: str) -> None:
        self.told.append(line)

    def follow(self, workers: Workers, patient: bool = False) -> int:
        self.told.append("follow")
        return 0


@pytest.mark.parametrize(
    ("wanted", "gpus", "says_so"), [("all", 0, True), ("all", 1, False), (None, 0, False)]
)
def test_it_says_so_when_all_gpus_are_none(
    wanted: str | None, gpus: int, says_so: bool, tmp_path: Path
) -> None:
    """``--gpus all`` took the CPU without a word."""
    request = LaunchRequest(
        study="digits",
        work=tmp_path,
        folder=tmp_path / "digits-1",
        storage="sqlite:///secret",
        database="sqlite:///x.db",
        one_machine=True,
        shared=True,
        promote=False,
        workers=1,
        per_gpu=1,
        options={"gpus": wanted},
    )
    terminal = FakeTerminal(gpus)
    assert launch_here(request, terminal) == 0
    line = "No GPU is visible on this machine: the workers run on its CPU."
    assert terminal.told == [
        *([line] if says_so else []),
        "begin",
        f"digits: 1 worker; logs in {tmp_path}/digits-1/logs",
        "follow",
    ]
    assert "secret" not in repr(request)


@pytest.fixture
def fleet(tmp_path: Path, sqlite_url: str) -> Iterator[LocalFleet]:
    """Two workers on a database that is not there: each dies of it, as often as it is started."""
    cores = usable_cores()
    slots = [Slot("cpu", 1, cores=(cores[0],)), Slot("cpu", 1, cores=(cores[-1],))]
    with LocalFleet(["digits"], sqlite_url, slots, tmp_path / "logs", "me", (0.1, 0.2)) as made:
        yield made


def processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if {"tuneoff", "worker"} <= set(child.cmdline())]


def follow(fleet: LocalFleet, meanwhile: Callable[[], None]) -> None:
    """Until its workers have left."""
    deadline = time.monotonic() + 90
    while fleet.poll():
        assert time.monotonic() < deadline
        meanwhile()
        time.sleep(0.01)


class TestFleet:
    """Real processes."""

    def test_each_is_kept_to_its_cores(self, fleet: LocalFleet) -> None:
        cores = usable_cores()
        found = sorted(tuple(worker.cpu_affinity()) for worker in processes())
        assert found == sorted([(cores[0],), (cores[-1],)])

    @pytest.mark.slow
    def test_bad_input_is_the_workers_own_line(self, fleet: LocalFleet) -> None:
        with pytest.raises(UserError, match=r"^sqlite.*run `tuneoff create` first"):
            follow(fleet, lambda: None)

    @pytest.mark.slow
    def test_a_crash_loop_is_reported_and_stopped(self, fleet: LocalFleet, tmp_path: Path) -> None:
        killed: set[int] = set()

        def kill_all() -> None:
            for worker in processes():
                worker.kill()
                killed.add(worker.pid)

        with pytest.raises(SearchError, match=r"died 3 times in a row \(signal 9\); see .*me-\d"):
            follow(fleet, kill_all)
        assert len(killed) >= 3
        assert "a worker died (signal 9) and starts again in 0 s" in fleet.news()
        assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
            "me-0.log",
            "me-1.log",
        ]

    @pytest.mark.slow
    def test_one_that_keeps_dying_is_given_up_and_the_others_go_on(self, tmp_path: Path) -> None:
        class Mixed(LocalFleet):
            """The first dies at once, the second works for a while."""

            def _start(self, member: Any) -> None:
                script = "exit 1" if member.log.name == "me-0.log" else "sleep 1.5"
                member.process = subprocess.Popen(["sh", "-c", script])

        slots = share_out([0], [], 2)
        news: list[str] = []
        with Mixed(["digits"], "sqlite://", slots, tmp_path, "me", pauses=(0.0, 0.0)) as fleet:
            while fleet.poll():
                news += fleet.news()
                time.sleep(0.01)
        assert sum("starts again" in line for line in news) == 2
        assert re.search(r"died 3 times in a row .* is given up, and the others go on$", news[-1])

    def test_the_last_that_keeps_dying_is_an_error(self, tmp_path: Path) -> None:
        class Broken(LocalFleet):
            def _start(self, member: Any) -> None:
                member.process = subprocess.Popen(["sh", "-c", "exit 1"])

        slots = share_out([0], [], 2)
        with (
            Broken(["digits"], "sqlite://", slots, tmp_path, "me", pauses=(0.0,)) as fleet,
            pytest.raises(SearchError, match="died 2 times in a row"),
        ):
            follow(fleet, lambda: None)

    def test_who_could_not_say_why_it_died(self, tmp_path: Path) -> None:
        log = tmp_path / "me-0.log"
        log.touch()
        assert exit_of(3, log, 0) == Exit(3, "exit code 3, no output")
        assert exit_of(3, tmp_path / "none.log", 0).why.startswith("exit code 3; its log cannot")

    @pytest.mark.slow
    def test_a_full_disk_under_the_logs(self, make_disk: Callable[[str, str], Path]) -> None:
        logs = make_disk("logs", "64k")
        log = logs / "me-0.log"
        log.touch()
        with pytest.raises(OSError, match="No space left"):
            (logs / "filler").write_bytes(bytes(2**17))
        assert exit_of(1, log, 0) == Exit(1, "exit code 1, no space for its log")
        with pytest.raises(UserError, match="No space left on device"):
            make_logs(logs)

    def test_nobody_is_left(self, tmp_path: Path, sqlite_url: str) -> None:
        with LocalFleet(["digits"], sqlite_url, share_out([0], [], 2), tmp_path):
            mine = [worker.pid for worker in processes()]
            assert len(mine) == 2
        for pid in mine:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
