"""Workers on a Slurm cluster: an array of jobs, submitted through submitit and left to Slurm.

Each job runs ``tuneoff launch`` on its node, with the GPUs and cores that Slurm gave it. Slurm
sends SIGUSR1 before a job's time is up and SIGTERM when it is preempted. Either way the workers
checkpoint and leave within a batch, and the job goes back to the queue, to go on from there.
"""

from __future__ import annotations

import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from tuneoff.messages import how_to_install
from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.launch.base import counted
from tuneoff.search.launch.launcher import CPUS, Launcher, LaunchRequest, Option, Terminal
from tuneoff.search.launch.local import LocalFleet, slots_here

SIGNAL_SECONDS = 120  # before a job's time is up
SCONTROL_SECONDS = 60
OFTEN = 1_000_000  # requeues that submitit allows

OPTIONS = (
    CPUS,
    Option("--partition", "The partition to run in.", metavar="NAME"),
    Option(
        "--time",
        "A job's time limit. The study goes on in another turn when it is over.",
        kind=int,
        metavar="MINUTES",
        default=240,
        least=5,
    ),
    Option("--gpus-per-node", "GPUs of each job.", kind=int, metavar="N", default=0, least=0),
    Option(
        "--slurm",
        "Any other option of sbatch: --slurm account=lab",
        metavar="KEY=VALUE",
        multiple=True,
    ),
    Option("--folder", "Folder for scripts and output. [default: in --work]", kind=Path),
    Option("--job", "Be this job of the array, on its node.", hidden=True),
)


def launch_on_slurm(request: LaunchRequest, terminal: Terminal) -> int:
    """Submit jobs to Slurm, and say what to do next; or be one of these jobs. The exit code.

    Raises:
        UserError: there is no Slurm here, or it refuses the jobs, or nodes could not work.
        SearchError: Slurm does not put this job back into the queue.
    """
    options = request.options
    if options["job"] is not None:
        return _work_in_job(request, terminal, options["job"])
    array = JobArray(
        workers=request.workers or max(1, options["gpus_per_node"] * request.per_gpu),
        gpus=options["gpus_per_node"],
        per_gpu=request.per_gpu,
        cpus=options["cpus"],
        minutes=options["time"],
        partition=options["partition"],
        others=parse_options(options["slurm"]),
    )
    request.check_reachable()
    folder = (options["folder"] or request.folder / "slurm").absolute()
    terminal.begin()
    ids = submit(Job(job_command(request)), array, request.storage, folder)
    number = ids[0].partition("_")[0]
    jobs = f"jobs {number}_[0-{len(ids) - 1}]" if len(ids) > 1 else f"job {number}"
    terminal.say(f"{request.study}: {counted(array.workers)} in Slurm's {jobs}")
    terminal.say(f"Output: {folder}; logs of the workers: {request.logs}")
    terminal.say(f"Watch:  tuneoff status {request.study} --watch")
    terminal.say(f"End:    tuneoff stop {request.study}")
    return 0


LAUNCHER = Launcher(launch_on_slurm, OPTIONS)


def job_command(request: LaunchRequest) -> tuple[str, ...]:
    """The words after ``tuneoff`` by which a job does its part of a request."""
    words = ["launch", *request.command, "--on", "slurm", "--per-gpu", str(request.per_gpu)]
    for key in ("cpus", "gpus_per_node"):
        words += [f"--{key.replace('_', '-')}", str(request.options[key])]
    return tuple(words)


def _work_in_job(request: LaunchRequest, terminal: Terminal, job: str) -> int:
    """What a job does on its node; the exit code."""
    gpus = ",".join(map(str, range(request.options["gpus_per_node"])))
    count = terminal.count_gpus() if gpus else 0
    slots = slots_here(count, None if gpus else 1, gpus or "none", request.per_gpu)
    # Slurm keeps a job to its cores, so its workers need not be kept to theirs.
    slots = [replace(slot, threads=request.options["cpus"], cores=()) for slot in slots]
    fleet = LocalFleet(request.command, request.storage, slots, request.logs, f"slurm-{job}")
    # A study that was drained in the meantime stays so: this job may have waited for days.
    code = terminal.follow(fleet, patient=True)
    if is_requeued_after(code - 128):
        requeue(job)
    return code


@dataclass(frozen=True)
class JobArray:
    """An array of equal jobs, as it is asked of Slurm.

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
                f"--workers {self.workers} is not a multiple of the {self.workers_per_job} workers "
                "of a job (--gpus-per-node times --per-gpu); ask for "
                f"{(jobs + 1) * self.workers_per_job}"
            )
        return jobs


@dataclass(frozen=True)
class Job:
    """What one job does: a launcher on its node, and back to the queue when it has to leave.

    submitit pickles it, so it holds no storage URL: that is in the job's environment.

    Attributes:
        command: the words after ``tuneoff``; ``--job`` and the job's id are added.
    """

    command: tuple[str, ...]

    def __call__(self) -> None:
        """Run in the job, by submitit."""
        from submitit import JobEnvironment

        # As `python -m tuneoff`, in the very process to which Slurm sends its signals.
        sys.argv = ["tuneoff", *self.command, "--job", JobEnvironment().job_id]
        try:
            runpy.run_module("tuneoff", run_name="__main__")
        except SystemExit as end:
            # Of a job that is requeued, or failed and said why, submitit is to keep no result.
            if end.code:
                raise

    def checkpoint(self) -> Any:
        """What submitit is to submit again, if the signal comes before the launcher listens."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(job: Job, array: JobArray, storage: str, folder: Path) -> list[str]:
    """Submit an array of jobs; their ids.

    Args:
        job: what each of them does.
        storage: URL, passed in the environment, because it may hold a password.
        folder: for submitit's files and the jobs' output, on a disk that every node shares.

    Raises:
        UserError: submitit is not installed, Slurm is not here, the folder cannot be made, or
            Slurm refuses such a job.
    """
    count = array.jobs
    try:
        import submitit
        from submitit.helpers import environment_variables
    except ImportError:
        raise UserError(
            f"--on slurm needs submitit; install it: {how_to_install('slurm')}"
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
    executor.update_parameters(**parameters(array))
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
        said = _sbatch_says(error)
        if any(words in said for words in _SLURM_IS_AWAY):
            raise SearchError(
                f"Slurm cannot be reached ({said}); try again when it is back"
            ) from None
        raise UserError(f"sbatch refuses the job: {said}") from None
    return [job.job_id for job in jobs]


def parameters(array: JobArray) -> dict[str, Any]:
    """An array as submitit's SlurmExecutor takes it."""
    cpus = array.cpus * array.workers_per_job
    given: dict[str, Any] = {
        "job_name": "tuneoff",
        "time": array.minutes,
        "nodes": 1,
        "cpus_per_task": cpus,
        # Since Slurm 22.05 srun no longer takes over what sbatch was told, and would use one core.
        "srun_args": [f"--cpus-per-task={cpus}"],
        "array_parallelism": array.jobs,
        # submitit's own choice is SIGUSR2, which our workers do not know.
        "setup": ["export SUBMITIT_PREEMPT_SIGNAL=USR1"],
        "additional_parameters": {
            "requeue": True,
            **array.others,
            "signal": f"USR1@{SIGNAL_SECONDS}",
        },
    }
    if array.partition is not None:
        given["partition"] = array.partition
    if array.gpus:
        given["gpus_per_node"] = array.gpus
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


_SLURM_IS_AWAY = ("Unable to contact slurm controller", "Socket timed out", "temporarily unable")


def _sbatch_says(error: Exception) -> str:
    """The lines that sbatch wrote, without its name before each."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line.partition("error:")[2].strip() for line in lines if "error:" in line]
    return "; ".join(said) or " ".join(lines)[-300:]
