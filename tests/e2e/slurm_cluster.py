"""One machine as a Slurm cluster, as far as an array of jobs sees it: sbatch, srun, scontrol.

This file is each of these programs, by the name of the link to it, and ``slurmd``, which runs one
job of an array. The cluster's state is a folder with a file for each fact, named by the job:
JOB.state, JOB.pid (of the step's process) and JOB.runs (how often it was started).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

AWAY = "away"  # as if the controller could not be reached
AWAY_SAYS = "Unable to contact slurm controller (connect failure)"
PARTITIONS = ("short", "long")


def main() -> int:
    """Be the program that we are called as."""
    program, words = Path(sys.argv[0]).name, sys.argv[1:]
    state = Path(os.environ["SLURM_CLUSTER"])
    return {"sbatch": sbatch, "srun": srun, "scontrol": scontrol, "slurmd": slurmd}[program](
        state, words
    )


def note(file: Path, fact: str) -> None:
    """Write a fact down whole."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(fact)
    part.replace(file)


def sbatch(state: Path, words: list[str]) -> int:
    """Take a script, and have each job of its array run."""
    script = Path(words[0]).read_text()
    wanted = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", script, flags=re.MULTILINE))
    if wanted.get("partition") == AWAY:
        print(f"sbatch: error: Batch job submission failed: {AWAY_SAYS}", file=sys.stderr)
        return 1
    if wanted.get("partition", PARTITIONS[0]) not in PARTITIONS:
        print(f"sbatch: error: invalid partition specified: {wanted['partition']}", file=sys.stderr)
        print("sbatch: error: Batch job submission failed: Invalid partition", file=sys.stderr)
        return 1
    number = 101 + len(list(state.glob("*.sh")))
    (state / f"{number}.sh").write_text(script)
    # A job's environment is that of its submission, on every run of it.
    (state / f"{number}.environment").write_text(json.dumps(dict(os.environ)))
    last = int(wanted["array"].split("%")[0].split("-")[1]) if "array" in wanted else None
    for task in [None] if last is None else range(last + 1):
        job = str(number) if task is None else f"{number}_{task}"
        output = shlex.split(wanted["output"])[0].replace("%A_%a", job).replace("%j", job)
        note(state / f"{job}.state", "PENDING")
        subprocess.Popen(
            [str(Path(sys.argv[0]).with_name("slurmd")), job, output, str(Path.cwd())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    print(f"Submitted batch job {number}")
    return 0


def slurmd(state: Path, words: list[str]) -> int:
    """Run a job, again for as long as it is requeued."""
    job, output, folder = words
    number, _, task = job.partition("_")
    environment = json.loads((state / f"{number}.environment").read_text())
    environment |= {"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NODELIST": "here"}
    if task:
        environment["SLURM_JOB_ID"] = str(1000 + int(task))  # each job of an array has its own
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    runs = 0
    while True:
        note(state / f"{job}.state", "RUNNING")
        note(state / f"{job}.runs", str(runs := runs + 1))
        with Path(output).open("ab") as file:
            process = subprocess.Popen(
                ["bash", str(state / f"{number}.sh")],
                cwd=folder,
                env=environment | {"SLURM_RESTART_COUNT": str(runs - 1)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
            code = wait(process, state / f"{job}.state")
        if (state / f"{job}.state").read_text() != "REQUEUED":
            break
    if (state / f"{job}.state").read_text() != "CANCELLED":
        note(state / f"{job}.state", f"ENDED {code}")
    return 0


def wait(process: subprocess.Popen[bytes], state: Path) -> int:
    """Wait for a job's end; what is requeued is killed first."""
    children: list[psutil.Process] = []
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(process.pid).children(recursive=True)
        if state.read_text() == "REQUEUED":
            doomed: list[psutil.Process | subprocess.Popen[bytes]] = [*children, process]
            for one in doomed:
                with contextlib.suppress(psutil.Error):
                    one.kill()
        time.sleep(0.05)
    return process.wait()


def srun(state: Path, words: list[str]) -> int:
    """Become a job's step."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            name = words.pop(0).replace("%A_%a", job).replace("%j", job).replace("%t", "0")
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(file, 1 if option == "--output" else 2)
    note(state / f"{job}.pid", str(os.getpid()))
    os.environ |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    os.execvp(words[0], words)


def scontrol(state: Path, words: list[str]) -> int:
    """``requeue Incomplete JOB``: only of a job that runs."""
    what, which, job = words
    assert (what, which) == ("requeue", "Incomplete")
    file = state / f"{job}.state"
    if file.read_text() != "RUNNING":
        print(f"slurm_requeue error: {job}: Job is not running", file=sys.stderr)
        return 1
    note(file, "REQUEUED")
    return 0


class Cluster:
    """The cluster as its administrator sees it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.state, self.bin = folder / "state", folder / "bin"
        self.state.mkdir(parents=True)
        self.bin.mkdir()
        for program in ("sbatch", "srun", "scontrol", "slurmd"):
            start = self.bin / program
            start.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
            start.chmod(0o700)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must know to be on this cluster."""
        return {"SLURM_CLUSTER": str(self.state), "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def script(self, number: str) -> list[str]:
        """The lines of a script that was submitted."""
        return (self.state / f"{number}.sh").read_text().splitlines()

    def told(self, job: str) -> str:
        """A job's state."""
        return (self.state / f"{job}.state").read_text()

    def runs(self, job: str) -> int:
        """How often a job was started."""
        file = self.state / f"{job}.runs"
        return int(file.read_text()) if file.exists() else 0

    def step(self, job: str) -> list[psutil.Process]:
        """Every process of a job's step."""
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            first = psutil.Process(int((self.state / f"{job}.pid").read_text()))
            return [first, *first.children(recursive=True)]
        return []

    def signal(self, job: str, number: int) -> None:
        """Signal every process of a job's step, as slurmstepd does."""
        for process in self.step(job):
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def cancel(self, job: str) -> None:
        """``scancel``."""
        note(self.state / f"{job}.state", "CANCELLED")
        self.signal(job, signal.SIGTERM)

    def close(self) -> None:
        """End every process of the cluster."""
        daemons = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.bin / "slurmd") in process.cmdline():
                    daemons += [process, *process.children(recursive=True)]
        for process in daemons:
            with contextlib.suppress(psutil.Error):
                process.kill()


if __name__ == "__main__":
    sys.exit(main())
