"""Commands that make studies and work on them: run, create, worker, launch and try."""

from __future__ import annotations

import os
import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneoff import references
from tuneoff.messages import counted
from tuneoff.search.cli import options
from tuneoff.search.cli.until import settings_of, until_options
from tuneoff.search.store.defaults import DEFAULT_URL, PATIENCE_SECONDS

if TYPE_CHECKING:
    from tuneoff.search.study.study import Study


@click.command()
@options.study_argument
@options.set_option
@options.storage_option
@options.work_option
@options.workers_options
@until_options
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
    **until: Any,
) -> int:
    """Do everything on this machine: search, train in full, report.

    This creates the study, searches, trains the best configurations in full, combines the ensemble
    and writes the report. Stopped at any point and started again, it goes on where it was.

    \b
    Examples:
      tuneoff run studies/digits.toml --set name=digits-1 --set seed=1
      tuneoff run studies/digits.toml --until-decided --max-repeats 15
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.failures import complain
    from tuneoff.search.cli.launching import check_this_machine, is_complete, launch_workers
    from tuneoff.search.cli.outcomes import report_on
    from tuneoff.search.cli.storage import open_storage, patience_of_workers
    from tuneoff.search.cli.terminal import print_notes
    from tuneoff.search.cli.trainers import make_check
    from tuneoff.search.cli.until import beforehand, end_of, judge_of
    from tuneoff.search.policies.tried import try_references
    from tuneoff.search.results.status import read_status
    from tuneoff.search.spec.reading import preflight, read_study_file, settle_weights
    from tuneoff.search.study.opening import create_study
    from tuneoff.search.work.growth import grow

    started = time.monotonic()
    file = read_study_file(study_file, (*changes, *settings_of(**until)))
    references.allow(file.spec.references())
    check_this_machine(workers, gpus, per_gpu)
    check = make_check(work)
    file = settle_weights(file, check)
    task = preflight(file, check)
    print_notes(console, task, try_references(file.spec, file.space))
    database = open_storage(storage, create=True, patience=patience_of_workers())
    study = create_study(database, file.spec, task, work)
    if study.ledger.step(is_complete, study):
        console.print(f"{study.name} is complete: nothing left to train.")
        if (judge := judge_of(study)) is not None:
            study.ledger.step(grow, study, judge, "")  # adds nothing, and notes why
    else:
        if (sentence := beforehand(study)) is not None:
            console.print(sentence, soft_wrap=True)
        words = {"gpus": gpus}
        if code := launch_workers(study, "here", True, workers, per_gpu, words, publish=False):
            return code
        if study.ledger.step(study.is_draining):
            return 0
    if (reason := study.ledger.step(end_of, study)) is not None:
        console.print(f"{study.name}: {reason}.", soft_wrap=True)
    page = report_on(study, out or study.folder / "report", None, publish=True)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.print(f"Took {minutes} min {seconds} s.")
    console.print(f"Report:    {page}", soft_wrap=True)
    known = storage in (DEFAULT_URL, os.environ.get("TUNEOFF_STORAGE"))
    option = "" if known else f" --storage {shlex.quote(str(database))}"
    console.print(f"Dashboard: tuneoff dashboard{option}", soft_wrap=True)
    status = read_status(study)
    if status.all_failed:
        complain(f"every trial failed; the last: {'; '.join(status.failures[-1:])}")
        return 1
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
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.storage import open_storage
    from tuneoff.search.cli.terminal import print_notes
    from tuneoff.search.cli.trainers import make_check
    from tuneoff.search.policies.tried import try_references
    from tuneoff.search.spec.reading import preflight, read_study_file, settle_weights
    from tuneoff.search.study.opening import create_study

    check = make_check(work)
    read = read_study_file(study_file, changes)
    references.allow(read.spec.references())
    file = settle_weights(read, check)
    spec = file.spec
    task = preflight(file, check)
    print_notes(console, task, try_references(file.spec, file.space))
    study = create_study(open_storage(storage, create=True), spec, task, work)
    sizes = ", ".join(f"{n} {split}" for split, n in study.task.sizes.items())
    where = f"on {sizes} images in {counted(len(study.task.classes), 'class', 'classes')}"
    if spec.is_own:
        where = f"of {spec.trial.own_training().code}"
    console.print(
        f"{study.name}: {counted(len(study.arms), 'search', 'searches')} of {spec.budget.words} "
        f"(arms: {len(spec.arms)}, repeats: {spec.repeats}) {where}.",
        soft_wrap=True,
    )


@click.command()
@options.name_argument
@options.storage_option
@options.work_option
@options.device_option
@options.allow_option
@click.option("--promote", is_flag=True, help="When the search is done, go on to full training.")
@click.option("--patience", default=PATIENCE_SECONDS, show_default=True, metavar="SECONDS",
              envvar="TUNEOFF_PATIENCE", show_envvar=True, type=click.FloatRange(0),
              help="How long to wait for a database or artifact store that is away.")  # fmt: skip
@click.option("--parent", type=int, hidden=True, help="Leave when this process is gone.")
def worker(
    name: str | None,
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

    A study that names code of your own needs --allow with the names of its modules, and is started
    in the folder that has them.

    \b
    Examples:
      tuneoff worker digits --device cuda:0
      tuneoff worker mine --allow mytrain,mynet
    """
    from tuneoff.search.cli.failures import complain
    from tuneoff.search.cli.storage import open_storage
    from tuneoff.search.cli.trainers import make_trainer, threads_of
    from tuneoff.search.cli.until import judge_of
    from tuneoff.search.errors import ArtifactOutage, StorageOutage
    from tuneoff.search.store.attempts import Worker
    from tuneoff.search.study.folder import check_folder
    from tuneoff.search.study.opening import check_artifacts, check_data
    from tuneoff.search.work.growth import grow
    from tuneoff.search.work.promote import advance
    from tuneoff.search.work.signals import Stop
    from tuneoff.search.work.worker import work as work_loop

    # A launcher decides itself when its workers are to quit at once: it goes, and they notice.
    with Stop(parent, patient=parent is not None) as stop:
        try:
            database = open_storage(storage, patience=patience, stop=stop)
            study = options.open_named(database, name, work)
            references.require_allowed(study.spec.references())
            check_artifacts(study, stop)
            study.ledger.step(check_folder, study)
            recipe = study.spec.recipe()
            trainer = make_trainer(
                recipe,
                work,
                device,
                threads_of(study, device, threads),
                hung_seconds=study.spec.workers.epoch_seconds,
            )
            check_data(study, trainer.check(recipe))
            me = Worker.here(trainer.describe()["device"])
            searches = study.searches if promote else study.arms
            judge = judge_of(study)
            more = None if judge is None else partial(grow, study, judge, me.name)
            step = partial(advance, study, trainer, more) if promote else (lambda: False)
            summary = work_loop(study, searches, trainer, me, stop, step)
        except (StorageOutage, ArtifactOutage) as error:
            if not stop.signal:
                raise
            complain(f"asked to leave, and not waiting any longer: {error}")
            return 128 + stop.signal
    end = "stopped" if summary.stopped else "all done"
    click.echo(f"{counted(summary.attempts, 'attempt')} made; {end}")
    return 128 + stop.signal if stop.signal else 0


@click.command()
@options.launching_command
@options.count_options
@options.launcher_option
@options.launcher_options
@options.allow_option
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
    every node shares. Modules of your own are found where this is started, in a folder that every
    node has too, or are installed on each.

    \b
    Examples:
      tuneoff launch digits --gpus 0,1 --per-gpu 2
      tuneoff launch digits --on ray --workers 16 --per-gpu 2
      tuneoff launch digits --on slurm --workers 8 --gpus-per-node 4 --partition gpu --time 240
    """
    from tuneoff.search.cli.launching import launch_workers

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

    Each parameter that the study searches is an option of its name, and all of them are needed.
    It costs epochs of the arm's budget, as any other.

    \b
    Example:
      tuneoff try digits --lr 0.03 --momentum 0.9 --weight_decay 1e-4 --note "as in the paper"
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.store import attempts
    from tuneoff.search.work.manual import enqueue_by_hand, parse_params

    params = parse_params(study.space, context.args)
    for label in enqueue_by_hand(study, params, arm, repeat, note):
        console.print(f"waiting: {label}")
    totals = attempts.totals(study.database, [search.name for search in study.searches])
    if not sum(each.made - each.ended for each in totals.values()):
        said = f"No worker has a trial: `tuneoff launch {study.name}` trains it."
        console.print(said, soft_wrap=True)
