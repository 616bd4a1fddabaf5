"""``tuneoff launch --on slurm``: real jobs on a cluster of one machine."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PASSWORD = "open-sesame"
ARMS = {
    "repeats": "1",
    "space__lr__high": "0.3",  # a rate that diverges would end trials early
    "ensemble__members": '[{ model = "proxy" }]',
}


@pytest.fixture
def cluster(slurm_cluster: Any) -> Any:
    """A Slurm cluster of our own, without a job."""
    return slurm_cluster


@pytest.fixture
def created(
    request: pytest.FixtureRequest,
    postgres_url: str,
    make_tuneoff: Callable[..., Any],
    digits: Callable[..., list[str]],
) -> Any:
    """``tuneoff`` on a database with a password, with a small study in it; or with budgets of so
    many epochs."""
    tuneoff = make_tuneoff(postgres_url.replace("postgres@", f"postgres:{PASSWORD}@"))
    tuneoff("create", *digits(**ARMS, budget__epochs=str(getattr(request, "param", 12))))
    return tuneoff


def submit(tuneoff: Any, cluster: Any, *words: str, code: int = 0) -> Any:
    return tuneoff("launch", "digits", "--on", "slurm", *words, code=code, **cluster.environment)


def trains(cluster: Any, job: str, ledger: Any) -> bool:
    """Does a worker of this job own a trial?"""
    pids = {str(process.pid) for process in cluster.step(job)}
    owners = {row.worker.rpartition("/")[2] for row in ledger.attempts() if row.end is None}
    return bool(pids & owners)


def all_files(folder: Path) -> str:
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def test_a_study_survives_time_limits_and_preemption(
    created: Any,
    cluster: Any,
    postgres_url: str,
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
) -> None:
    said = submit(created, cluster, "--workers", "2", "--partition", "long", "--time", "30",
                  "--slurm", "account=lab", "--slurm", "mem-per-cpu=2G")  # fmt: skip
    assert "2 workers in Slurm's jobs 101_[0-1]" in said.text
    assert "tuneoff status digits --watch" in said.text
    assert "tuneoff stop digits" in said.text
    script = cluster.script("101")
    for line in (
        "array=0-1%2",
        "partition=long",
        "time=30",
        "nodes=1",
        "cpus-per-task=1",
        "requeue",
        "signal=USR1@120",
        "open-mode=append",
        "account=lab",
        "mem-per-cpu=2G",
    ):
        assert f"#SBATCH --{line}" in script

    ledger, jobs = read_ledger(postgres_url), ("101_0", "101_1")
    # Their time is up; they are preempted: another turn each time.
    for turn, how in enumerate((signal.SIGUSR1, signal.SIGTERM), start=2):
        for job in jobs:
            until(lambda job=job: trains(cluster, job, ledger), f"a trial of {job}")
        commands = [process.cmdline() for job in jobs for process in cluster.step(job)]
        assert len(commands) >= 4
        assert PASSWORD not in str(commands)
        for job in jobs:
            cluster.signal(job, how)
        until(lambda turn=turn: all(cluster.runs(job) == turn for job in jobs), "another turn")
        assert {row.end for row in ledger.attempts()} <= {"finished", "paused", "released", None}
    until(lambda: all(cluster.told(job) == "ENDED 0" for job in jobs), "the end", 240)
    assert all(cluster.runs(job) == 3 for job in jobs)

    attempts, trials = ledger.attempts(), ledger.trials()
    assert all(trial["state"] in ("COMPLETE", "PRUNED") for trial in trials)
    assert {row.end for row in attempts} <= {"finished", "paused", "released"}
    # Nothing was lost, so nothing was trained twice.
    assert ledger.spent() == sum(trial["epochs"] for trial in trials)
    logs = {path.name for path in created.work.glob("digits-*/logs/*")}
    assert logs == {"slurm-101_0-0.log", "slurm-101_1-0.log"}
    assert PASSWORD not in all_files(created.work)
    assert PASSWORD not in said.text
    # Submitted again, it finds nothing to do, and so does a job that is requeued too late.
    submit(created, cluster)
    until(lambda: cluster.told("102") == "ENDED 0", "the end", 120)
    assert ledger.attempts() == attempts


@pytest.mark.parametrize("created", [60], indirect=True)  # not done before it is asked
def test_ends_when_asked(
    created: Any,
    cluster: Any,
    postgres_url: str,
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
) -> None:
    """A job that is cancelled does not come back, nor does any after ``tuneoff stop``."""
    submit(created, cluster, "--workers", "2")
    ledger = read_ledger(postgres_url)
    until(lambda: all(trains(cluster, f"101_{i}", ledger) for i in (0, 1)), "trials")
    cluster.cancel("101_0")
    created("stop", "digits")
    until(lambda: cluster.told("101_1") == "ENDED 0", "the end", 120)
    until(lambda: not created.leftovers(), "the end of all workers")
    assert cluster.told("101_0") == "CANCELLED"
    assert cluster.runs("101_0") == cluster.runs("101_1") == 1
    assert None not in {row.end for row in ledger.attempts()}
    assert any(trial["state"] == "RUNNING" for trial in ledger.trials())


def test_several_workers_in_a_job(created: Any, cluster: Any, until: Callable[..., Any]) -> None:
    """GPUs that the node does not have end the job at once, with the reason in its output."""
    submit(created, cluster, "--workers", "8", "--gpus-per-node", "2", "--per-gpu", "2",
           "--cpus", "3")  # fmt: skip
    assert "#SBATCH --array=0-1%2" in cluster.script("101")
    assert "#SBATCH --gpus-per-node=2" in cluster.script("101")
    assert "#SBATCH --cpus-per-task=12" in cluster.script("101")
    assert any("srun" in line and "--cpus-per-task=12" in line for line in cluster.script("101"))
    if shutil.which("nvidia-smi"):
        return
    until(lambda: cluster.told("101_0").startswith("ENDED"), "the end", 120)
    assert cluster.told("101_0") == "ENDED 2"
    assert cluster.runs("101_0") == 1
    (log,) = created.work.glob("digits-*/slurm/101_0_0_log.err")
    assert "--gpus 0,1: this machine has 0 GPUs" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_bad_input(
    created: Any, cluster: Any, digits: Callable[..., list[str]], make_tuneoff: Callable[..., Any]
) -> None:
    """One line, and nothing is submitted."""

    def refused(*words: str, on: Any = created, code: int = 2, **environment: str) -> str:
        environment = {**cluster.environment, **environment}
        said = on("launch", "digits", "--on", "slurm", *words, code=code, **environment)
        errors = [line for line in said.err if "password on the command line" not in line]
        assert len(errors) == 1, said.text
        assert said.out == []
        line: str = errors[0]
        return line

    line = refused("--partition", "lunch")
    assert "sbatch refuses the job: invalid partition specified: lunch" in line
    assert "Slurm cannot be reached" in refused("--partition", "away", code=1)
    assert "there is no sbatch here" in refused(PATH=os.defpath)
    on_sqlite = make_tuneoff()
    on_sqlite("create", *digits(**ARMS))
    assert "postgresql://" in refused(on=on_sqlite)
    assert list(cluster.state.iterdir()) == []
