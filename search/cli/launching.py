"""``tuneoff launch``: start workers here, on Ray or on Slurm, and follow them until they leave."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from tuneoff.search.cli.terminal import follow
from tuneoff.search.errors import UserError
from tuneoff.search.launch import ray as launch_ray
from tuneoff.search.launch import slurm as launch_slurm
from tuneoff.search.launch.base import Seat, Workers
from tuneoff.search.launch.local import Fleet, choose_gpus, seats, usable_cores
from tuneoff.search.study.study import Study
from tuneoff.search.work.signals import Stop

console = Console(soft_wrap=False)


def places(workers: int | None, gpus: str | None, per_gpu: int) -> list[Seat]:
    """This machine's places for workers, as the options of those names ask (UserError if bad)."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = choose_gpus(gpus, torch.cuda.device_count(), visible)
    return seats(usable_cores(), chosen, workers, per_gpu)


def launch_here(study: Study, places: Sequence[Seat], promote: bool) -> int:
    """Run workers on this machine until they are done, or until a signal; the exit code."""
    logs = study.folder / "logs"
    # Machines may share the folder.
    fleet = Fleet(
        _command(study, study.work, promote), _secret(study), places, logs, socket.gethostname()
    )
    study.drain(False)
    # Stop first: a signal that comes while workers start must drain them too.
    with Stop() as stop, fleet:
        console.print(f"{study.name}: {len(places)} workers; logs in {logs}")
        return _until_done(study, fleet, stop)


def launch_on_ray(
    study: Study,
    promote: bool,
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
    cpus: int,
    address: str | None,
) -> int:
    """Run workers on a Ray cluster until they are done, or until a signal; the exit code.

    Raises:
        UserError: there is no such cluster, or it cannot take such workers.
    """
    if gpus not in (None, "all", "none"):
        raise UserError(f"--gpus {gpus}: Ray chooses the GPUs itself; write all or none")
    with launch_ray.connected(address):
        if not launch_ray.serves_one_machine():
            _check_shared(study)
        share = launch_ray.Share.of(cpus, per_gpu, gpus != "none" and launch_ray.has_gpus())
        logs = study.folder.absolute() / "logs"
        command = _command(study, study.work.absolute(), promote)
        shared = study.artifacts is None
        fleet = launch_ray.RayFleet(command, _secret(study), logs, share, workers, shared)
        study.drain(False)
        with Stop() as stop, fleet:
            console.print(
                f"{study.name}: {len(fleet)} workers with {share} each; logs in {logs}",
                soft_wrap=True,
            )
            return _until_done(study, fleet, stop)


def launch_on_slurm(
    study: Study,
    promote: bool,
    request: launch_slurm.Request,
    folder: Path | None,
    main: Callable[[Sequence[str]], NoReturn],
) -> None:
    """Submit jobs to Slurm, and say what to do next.

    Args:
        folder: for submitit's files; in the study's unless given.
        main: runs the command line, in the jobs.

    Raises:
        UserError: there is no Slurm here, or it refuses the jobs, or nodes could not work.
    """
    _check_shared(study)
    words = ["launch", study.name, "--work", str(study.work.absolute())]
    words += ["--cpus", str(request.cpus)] + ["--promote"] * promote
    if request.gpus:
        numbers = ",".join(map(str, range(request.gpus)))
        words += ["--gpus", numbers, "--per-gpu", str(request.per_gpu)]
    else:
        words += ["--gpus", "none", "--workers", "1"]
    folder = (folder or study.folder / "slurm").absolute()
    study.drain(False)
    job = launch_slurm.Job(main, tuple(words))
    ids = launch_slurm.submit(job, request, _secret(study), folder)
    number = ids[0].partition("_")[0]
    jobs = f"jobs {number}_[0-{len(ids) - 1}]" if len(ids) > 1 else f"job {number}"
    console.print(f"{study.name}: {request.workers} workers in Slurm's {jobs}", markup=False)
    console.print(f"Output: {folder}; logs of the workers: {study.folder / 'logs'}", soft_wrap=True)
    console.print(f"Watch:  tuneoff status {study.name} --watch", soft_wrap=True)
    console.print(f"End:    tuneoff stop {study.name}", soft_wrap=True)


def launch_in_job(study: Study, promote: bool, job: str, places: Sequence[Seat], cpus: int) -> int:
    """What a job of ``launch_on_slurm`` does on its node; the exit code.

    Raises:
        SearchError: Slurm does not put the job back into the queue.
    """
    # Slurm keeps a job to its cores, so its workers need not be kept to theirs.
    places = [replace(place, threads=cpus, cores=()) for place in places]
    command = _command(study, study.work, promote)
    fleet = Fleet(command, _secret(study), places, study.folder / "logs", f"slurm-{job}")
    # A study that was drained in the meantime stays so: this job may have waited for days.
    with Stop(patient=True) as stop, fleet:
        code = _until_done(study, fleet, stop)
    if launch_slurm.is_requeued_after(stop.signal):
        launch_slurm.requeue(job)
    return code


def _command(study: Study, work: Path, promote: bool) -> list[str]:
    return [study.name, "--work", str(work)] + ["--promote"] * promote


def _until_done(study: Study, workers: Workers, stop: Stop) -> int:
    follow(study, workers, stop)
    if stop.signal:
        console.print("Stopped. The same command goes on from here.")
        return 128 + stop.signal
    return 0


def _check_shared(study: Study) -> None:
    """Make sure that the database can be reached from other machines."""
    if study.database.url.get_backend_name() == "sqlite":
        raise UserError(
            f"{study.database} serves the workers of one machine only; for a cluster create the "
            "study on Postgres: --storage postgresql://USER:PASSWORD@HOST/NAME"
        )


def _secret(study: Study) -> str:
    """The storage URL with its password, for workers in other folders too; never print it."""
    url = study.database.url
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith("file:"):
        url = url.set(database=str(Path(url.database).absolute()))
    return url.render_as_string(hide_password=False)
