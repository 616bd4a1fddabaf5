"""Workers on a Slurm cluster: an array of jobs, submitted through submitit and left to Slurm.

Each job runs ``tuneoff launch`` on its node, with the GPUs and cores that Slurm gave it. Slurm
sends SIGUSR1 before a job's time is up and SIGTERM when it is preempted. Either way the workers
checkpoint and leave within a batch, and the job goes back to the queue, to go on from there.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from tuneoff.search.errors import SearchError, UserError

SIGNAL_SECONDS = 120  # before a job's time is up
SCONTROL_SECONDS = 60
OFTEN = 1_000_000  # requeues that submitit allows


@dataclass(frozen=True)
class Request:
    """What to ask Slurm for.

    Attributes:
        workers: in all jobs together.
        gpus: in each job; 0 for the CPU alone, where a job is one worker.
        per_gpu: workers on each GPU.
        cpus: CPU cores for each worker.
        minutes: a job's time limit; it is requeued as often as it takes.
        others: what else sbatch is to be told: {"account": "lab"}.
    """

    workers: int
    gpus: int = 0
    per_gpu: int = 1
    cpus: int = 1
    minutes: int = 240
    partition: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def workers_per_job(self) -> int:
        """How many workers share a job's node."""
        return max(1, self.gpus * self.per_gpu)

    @property
    def jobs(self) -> int:
        """How many jobs that makes (UserError if workers are left over)."""
        jobs, over = divmod(self.workers, self.workers_per_job)
        if over:
            raise UserError(
                f"--workers {self.workers} do not fill jobs of {self.workers_per_job} (GPUs of a "
                f"node times --per-gpu); ask for {(jobs + 1) * self.workers_per_job}"
            )
        return jobs


@dataclass(frozen=True)
class Job:
    """What one job does: a launcher on its node, and back to the queue when it has to leave.

    submitit pickles it, so it holds no storage URL: that is in the job's environment.

    Attributes:
        main: runs the command line with these words and exits with its code.
        command: ``launch`` and what follows; ``--job`` and the job's id are added.
    """

    main: Callable[[Sequence[str]], NoReturn]
    command: tuple[str, ...]

    def __call__(self) -> None:
        """Run in the job, by submitit."""
        from submitit import JobEnvironment

        try:
            self.main([*self.command, "--job", JobEnvironment().job_id])
        except SystemExit as end:
            # Of a job that is requeued, or failed and said why, submitit is to keep no result.
            if end.code:
                raise

    def checkpoint(self) -> Any:
        """What submitit is to submit again, if the signal comes before the launcher listens."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(job: Job, request: Request, storage: str, folder: Path) -> list[str]:
    """Submit an array of jobs; their ids.

    Args:
        storage: URL, passed in the environment, because it may hold a password.
        folder: for submitit's files and the jobs' output, on a disk that every node shares.

    Raises:
        UserError: submitit is not installed, Slurm is not here, the folder cannot be made, or
            Slurm refuses such a job.
    """
    count = request.jobs
    try:
        import submitit
        from submitit.helpers import environment_variables
    except ImportError:
        raise UserError(
            '--on slurm needs submitit; install it: pip install "tuneoff[slurm]"'
        ) from None
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise UserError(
                f"--on slurm: there is no {program} here; run this on a login node of the cluster"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made ({error.strerror}); choose another --folder"
        ) from None
    # Until Python listens, SIGTERM is to end nothing: Slurm would take the job for finished, and
    # when it is preempted not put it back into the queue.
    python = shlex.join(["bash", "-c", 'trap "" TERM; exec "$@"', "tuneoff", sys.executable, "-P"])
    executor = submitit.SlurmExecutor(folder, max_num_timeout=OFTEN, python=python)
    executor.update_parameters(**parameters(request))
    # Slurm gives each job the environment that it was submitted from, on every requeue too.
    try:
        # submitit prints what sbatch complains of, and then raises it as well.
        with (
            redirect_stderr(StringIO()),
            environment_variables(TUNEOFF_STORAGE=storage),
            executor.batch(),
        ):
            jobs = [executor.submit(job) for _ in range(count)]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise UserError(f"sbatch refuses the job: {_sbatch_says(error)}") from None
    return [job.job_id for job in jobs]


def parameters(request: Request) -> dict[str, Any]:
    """A request as submitit's SlurmExecutor takes it."""
    cpus = request.cpus * request.workers_per_job
    given: dict[str, Any] = {
        "job_name": "tuneoff",
        "time": request.minutes,
        "nodes": 1,
        "cpus_per_task": cpus,
        # Since Slurm 22.05 srun no longer takes over what sbatch was told, and would use one core.
        "srun_args": [f"--cpus-per-task={cpus}"],
        "array_parallelism": request.jobs,
        # submitit's own choice is SIGUSR2, which our workers do not know.
        "setup": ["export SUBMITIT_PREEMPT_SIGNAL=USR1"],
        "additional_parameters": {
            "requeue": True,
            **request.others,
            "signal": f"USR1@{SIGNAL_SECONDS}",
        },
    }
    if request.partition is not None:
        given["partition"] = request.partition
    if request.gpus:
        given["gpus_per_node"] = request.gpus
    return given


def parse_options(words: Sequence[str]) -> dict[str, str]:
    """["account=lab"] as {"account": "lab"}.

    Raises:
        UserError: one is not KEY=VALUE, or is for an option of ours to say.
    """
    ours = {
        "array": "--workers",
        "time": "--time",
        "partition": "--partition",
        "cpus-per-task": "--cpus",
        "gpus-per-node": "--gpus-per-node",
    }
    fixed = "signal requeue no-requeue output error open-mode export nodes ntasks ntasks-per-node"
    found = {}
    for word in words:
        key, equals, value = word.removeprefix("--").partition("=")
        name = key.replace("_", "-")
        if not (name and equals and value) or not word.isprintable():
            raise UserError(f"--slurm {word!r}: write KEY=VALUE, as in --slurm account=lab")
        if name in ours:
            raise UserError(f"--slurm {word}: use {ours[name]} for that")
        if name in fixed.split():
            raise UserError(f"--slurm {word}: tuneoff sets {name} itself; leave it out")
        found[name] = value
    return found


def is_requeued_after(number: int) -> bool:
    """True for the signals after which a job is to go on: its time is up, or it is preempted."""
    return number in (signal.SIGUSR1, signal.SIGTERM)


def requeue(number: str) -> None:
    """Put this very job back into the queue, unless it was cancelled meanwhile.

    Raises:
        SearchError: Slurm does not do so.
    """
    # `scancel` sends SIGTERM, too; only with this word does Slurm look at the job's state first.
    command = ["scontrol", "requeue", "Incomplete", number]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=SCONTROL_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise SearchError(
            f"job {number} was stopped and could not be requeued ({said}); submit it again "
            "unless it was cancelled"
        ) from None


def _sbatch_says(error: Exception) -> str:
    """The lines that sbatch wrote, without its name before each."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line.partition("error:")[2].strip() for line in lines if "error:" in line]
    return "; ".join(said) or " ".join(lines)[-300:]
