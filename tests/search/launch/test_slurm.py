"""What Slurm is asked for, and what is refused before it is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.launch.slurm import Job, JobArray, parameters, parse_options, requeue, submit


def test_array() -> None:
    array = JobArray(workers=16, gpus=4, per_gpu=2, cpus=3, minutes=90, others={"qos": "low"})
    assert array.jobs == 2
    asked = parameters(array)
    assert asked["cpus_per_task"] == 24
    assert asked["gpus_per_node"] == 4
    assert asked["time"] == 90
    assert asked["additional_parameters"] == {"requeue": True, "qos": "low", "signal": "USR1@120"}
    assert "partition" not in asked
    on_cpu = JobArray(workers=5, cpus=2)
    assert on_cpu.jobs == 5
    assert parameters(on_cpu)["cpus_per_task"] == 2
    assert "gpus_per_node" not in parameters(on_cpu)


def test_workers_that_fill_no_job() -> None:
    with pytest.raises(UserError, match=r"--workers 9 is not a multiple of the 4 .*; ask for 12"):
        _ = JobArray(workers=9, gpus=2, per_gpu=2).jobs


def test_options() -> None:
    assert parse_options(["account=lab", "--mem_per_cpu=2G", "constraint=a100|h100"]) == {
        "account": "lab",
        "mem-per-cpu": "2G",
        "constraint": "a100|h100",
    }
    assert parse_options([]) == {}


@pytest.mark.parametrize(
    ("word", "needle"),
    [
        ("account", "KEY=VALUE"),
        ("account=", "KEY=VALUE"),
        ("=lab", "KEY=VALUE"),
        ("comment=a\n#SBATCH --uid=0", "KEY=VALUE"),
        ("time=3", "use --time"),
        ("cpus_per_task=3", "use --cpus"),
        ("--gpus-per-node=1", "use --gpus-per-node"),
        ("array=0-3", "use --workers"),
        ("signal=USR2@3", "leave it out"),
        ("no-requeue=1", "leave it out"),
    ],
)
def test_options_that_are_refused(word: str, needle: str) -> None:
    with pytest.raises(UserError, match=needle):
        parse_options([word])


def test_no_submitit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r'pip install -c \S+ -e "\.\[slurm\]"'):
        submit(Job(()), JobArray(1), "sqlite://", tmp_path / "slurm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["echo it is over >&2; exit 1", None])
def test_a_job_that_cannot_be_requeued(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if content is not None:
        program = tmp_path / "scontrol"
        program.write_text(f"#!/bin/sh\n{content}\n")
        program.chmod(0o700)
    why = "it is over" if content else "scontrol"
    with pytest.raises(SearchError, match=rf"job 7_1 .* requeued \(.*{why}.*\); submit it again"):
        requeue("7_1")
