"""Commands on studies while they run: create, train, watch and stop them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuneoff.search.cli import options
from tuneoff.search.cli.launching import check_this_machine, is_complete, launch_workers
from tuneoff.search.cli.terminal import console
from tuneoff.search.cli.trainers import make_check, make_trainer
from tuneoff.search.spec.reading import preflight, read_study_file
from tuneoff.search.store.database import DEFAULT_URL, PATIENCE_SECONDS, open_database
from tuneoff.search.study.opening import check_artifacts, check_data, create_study, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.work.signals import Stop


@click.command()
@options.study_argument
@options.set_option
@options.storage_option
@options.work_option
@options.workers_options
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the report."
)
def run(
    study_file: Path,
    changes: tuple[str, ...],
    storage: str,
    work: Path,
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
    out: Path | None,
) -> int:
    """Do everything on this machine: search, train in full, report.

    This creates the study, searches, trains the best configurations in full, combines the ensemble
    and writes the report. Stopped at any point and started again, it goes on where it was.

    \b
    Example:
      tuneoff run studies/digits.toml --set seed=1
    """
    from tuneoff.search.cli.outcomes import report_on

    started = time.monotonic()
    file = read_study_file(study_file, changes)
    check_this_machine(workers, gpus, per_gpu)
    task = preflight(file, make_check(work))
    database = open_database(storage, create=True)
    study = create_study(database, file.spec, task, work)
    if is_complete(study):
        console.print(f"{study.name} is complete: nothing left to train.")
    else:
        words = {"gpus": gpus}
        if code := launch_workers(study, "here", True, workers, per_gpu, words):
            return code
        if study.is_draining():
            console.print("Stopped by `tuneoff stop`. The same command goes on from here.")
            return 0
    page = report_on(study, out or study.folder / "report", None, publish=True)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.print(f"Took {minutes} min {seconds} s.")
    console.print(f"Report:    {page}", soft_wrap=True)
    known = storage in (DEFAULT_URL, os.environ.get("TUNEOFF_STORAGE"))
    option = "" if known else f" --storage {database}"
    console.print(f"Dashboard: tuneoff dashboard{option}", soft_wrap=True)
    return 0


@click.command()
@options.study_argument
@options.set_option
@options.storage_option
@options.work_option
def create(study_file: Path, changes: tuple[str, ...], storage: str, work: Path) -> None:
    """Check a study file and its data, and make the study.

    For a study that exists and whose file has not changed, this does nothing.

    \b
    Example:
      tuneoff create studies/tiny-imagenet.toml --storage postgresql://me@db/tuneoff
    """
    file = read_study_file(study_file, changes)
    spec = file.spec
    task = preflight(file, make_check(work))
    study = create_study(open_database(storage, create=True), spec, task, work)
    sizes = ", ".join(f"{n} {split}" for split, n in study.task.sizes.items())
    console.print(
        f"{study.name}: {len(study.arms)} searches of {spec.budget.epochs} epochs "
        f"({len(spec.arms)} arms, {spec.repeats} repeats) on {sizes} images in "
        f"{len(study.task.classes)} classes."
    )


@click.command()
@click.argument("name")
@options.storage_option
@options.work_option
@options.device_option
@click.option("--promote", is_flag=True, help="When the search is done, go on to full training.")
@click.option("--patience", default=PATIENCE_SECONDS, show_default=True, metavar="SECONDS",
              envvar="TUNEOFF_PATIENCE", show_envvar=True, type=click.FloatRange(0),
              help="How long to wait for a lost database or artifact store.")  # fmt: skip
@click.option("--parent", type=int, hidden=True, help="Leave when this process is gone.")
def worker(
    name: str,
    storage: str,
    work: Path,
    device: str,
    threads: int | None,
    promote: bool,
    patience: float,
    parent: int | None,
) -> int:
    """Be one worker: train trials until the budgets are spent.

    At the first SIGTERM or Ctrl-C the worker saves a checkpoint and leaves; at the second it quits
    at once.

    \b
    Example:
      tuneoff worker digits --device cuda:0
    """
    from tuneoff.search.store.attempts import Worker
    from tuneoff.search.work.promote import advance
    from tuneoff.search.work.worker import work as work_loop

    # A launcher decides itself when its workers are to quit at once: it goes, and they notice.
    with Stop(parent, patient=parent is not None) as stop:
        study = open_study(open_database(storage, patience=patience), name, work)
        check_artifacts(study, stop)
        trainer = make_trainer(work, device, threads)
        check_data(study, trainer.check(study.spec.recipe()))
        me = Worker.here(trainer.describe()["device"])
        searches = study.searches if promote else study.arms
        step = (lambda: advance(study, trainer)) if promote else (lambda: False)
        summary = work_loop(study, searches, trainer, me, stop, step)
    click.echo(f"{summary.attempts} attempts made; {'stopped' if summary.stopped else 'all done'}")
    return 128 + stop.signal if stop.signal else 0


@click.command()
@options.study_command
@options.count_options
@options.launcher_option
@options.launcher_options
@click.option("--promote", is_flag=True, help="When the search is done, go on to full training.")
def launch(
    study: Study,
    workers: int | None,
    per_gpu: int,
    place: str,
    promote: bool,
    **others: Any,
) -> int:
    """Start workers here or on a cluster, and restart those that die.

    Without options there is one worker on every GPU of this machine, or on every core if it has no
    GPU. At Ctrl-C each worker saves a checkpoint and leaves. Slurm runs its jobs without us: there
    `tuneoff stop` makes the workers leave.

    On a cluster, --storage must be a database that every node reaches, and --work a folder that
    every node shares.

    \b
    Examples:
      tuneoff launch digits --gpus 0,1 --per-gpu 2
      tuneoff launch digits --on ray --workers 16 --per-gpu 2
      tuneoff launch digits --on slurm --workers 8 --gpus-per-node 4 --partition gpu --time 240
    """
    options.check_launcher(place)
    return launch_workers(study, place, promote, workers, per_gpu, others)


@click.command(
    "try",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@options.study_command
@click.option("--arm", help="The hand-tuned arm. [default: the only one]")
@click.option("--repeat", type=int, help="The only repeat to add it to. [default: every one]")
@click.option("--note", help="Why you chose it; kept with the trial.")
@click.pass_context
def try_(
    context: click.Context,
    study: Study,
    arm: str | None,
    repeat: int | None,
    note: str | None,
) -> None:
    """Add a configuration of your own to the hand-tuned arm.

    It costs epochs of the arm's budget, as any other.

    \b
    Example:
      tuneoff try digits --lr 0.03 --momentum 0.9 --weight_decay 1e-4 --note "as in the paper"
    """
    from tuneoff.search.work.manual import enqueue_by_hand, parse_params

    params = parse_params(study.space, context.args)
    for label in enqueue_by_hand(study, params, arm, repeat, note):
        console.print(f"waiting: {label}")


@click.command()
@options.study_command
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(study: Study, watch: bool, as_json: bool) -> None:
    """Show arms, budgets, workers, the best so far and the time left.

    \b
    Example:
      tuneoff status digits --watch
    """
    from tuneoff.search.cli.terminal import print_status
    from tuneoff.search.results.status import read_status
    from tuneoff.search.study.snapshot import Snapshot
    from tuneoff.search.work.claim import reclaim

    while True:
        reclaim(study)
        now = read_status(Snapshot.of(study))
        if as_json:
            click.echo(json.dumps(asdict(now)))
        else:
            if watch and console.is_terminal:
                console.clear()
            print_status(console, now)
        if not watch:
            return
        time.sleep(2)


@click.command()
@options.study_command
@click.option("--undo", is_flag=True, help="Take this back: let workers go on.")
def stop(study: Study, undo: bool) -> None:
    """Have every worker leave once it has finished its trial.

    \b
    Example:
      tuneoff stop digits
    """
    study.drain(not undo)
    console.print(
        f"{study.name}: {'workers may go on' if undo else 'workers leave after their trials'}."
    )
