"""The command line: the one place where parts are put together."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import optuna
from rich.console import Console

from tuneoff.search.cli import options
from tuneoff.search.errors import SearchError, StudyError, UserError
from tuneoff.search.spec.reading import preflight, read_study_file
from tuneoff.search.store.database import DEFAULT_URL, PATIENCE_SECONDS, open_database
from tuneoff.search.study.opening import check_artifacts, check_data, create_study, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.work.signals import Stop
from tuneoff.trainer.contract import Duplicates, Task
from tuneoff.trainer.data.registry import DATASETS, Remote
from tuneoff.trainer.errors import DataError, ModelError, TrainerError
from tuneoff.trainer.recipe import DataSource, Recipe

if TYPE_CHECKING:
    from tuneoff.trainer.distributed import Ranks
    from tuneoff.trainer.torch_trainer import TorchTrainer

F = TypeVar("F", bound=Callable[..., Any])

console = Console(soft_wrap=False)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: exit code 2 for bad input, 1 for a failure, 128 + n for a signal.

    ``words``: the process's own unless given.
    """
    try:
        code = cli.main(words, prog_name="tuneoff", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tuneoff"
        click.echo(f"Error: {error.format_message()} (see `{command} --help`)", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (UserError, DataError, ModelError) as error:
        _complain(error)
        sys.exit(2)
    except (SearchError, TrainerError) as error:
        _complain(error)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has gone; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: Exception) -> None:
    click.echo(f"Error: {' '.join(str(error).split())}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tuneoff", prog_name="tuneoff")
@click.option("-v", "--verbose", is_flag=True, help="Say what happens, on standard error.")
def cli(verbose: bool) -> None:
    """Does Bayesian optimisation beat your hand-tuned hyperparameters, by how much, at what cost?

    \b
    Start with:
      tuneoff run studies/digits.toml
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)


# Studies


@cli.command()
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
    """Everything on this machine: create, search, full training, ensemble, report.

    Stopped at any point and started again, it goes on where it was.

    \b
    Example:
      tuneoff run studies/digits.toml --set seed=1
    """
    from tuneoff.search.cli import launching as launcher

    started = time.monotonic()
    file = read_study_file(study_file, changes)
    places = launcher.places(workers, gpus, per_gpu)
    task = preflight(file, _check(work))
    database = open_database(storage, create=True)
    study = create_study(database, file.spec, task, work)
    if _is_complete(study):
        console.print(f"{study.name} is complete: nothing left to train.")
    else:
        if code := launcher.launch_here(study, places, promote=True):
            return code
        if study.is_draining():
            console.print("Drained by `tuneoff stop`. The same command goes on from here.")
            return 0
    page = _report(study, out or study.folder / "report", None, publish=True)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.print(f"Took {minutes} min {seconds} s.")
    console.print(f"Report:    {page}", soft_wrap=True)
    known = storage in (DEFAULT_URL, os.environ.get("TUNEOFF_STORAGE"))
    option = "" if known else f" --storage {database}"
    console.print(f"Dashboard: tuneoff dashboard{option}", soft_wrap=True)
    return 0


@cli.command()
@options.study_argument
@options.set_option
@options.storage_option
@options.work_option
def create(study_file: Path, changes: tuple[str, ...], storage: str, work: Path) -> None:
    """Check a study file and its data, and write the studies. Again is a no-op.

    \b
    Example:
      tuneoff create studies/tiny-imagenet.toml --storage postgresql://me@db/tuneoff
    """
    file = read_study_file(study_file, changes)
    spec = file.spec
    task = preflight(file, _check(work))
    study = create_study(open_database(storage, create=True), spec, task, work)
    sizes = ", ".join(f"{n} {split}" for split, n in study.task.sizes.items())
    console.print(
        f"{study.name}: {len(study.arms)} searches of {spec.budget.epochs} epochs "
        f"({len(spec.arms)} arms, {spec.repeats} repeats) on {sizes} images in "
        f"{len(study.task.classes)} classes."
    )


@cli.command()
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
    """One worker process: pulls trials until the budgets are spent.

    The first SIGTERM or Ctrl-C checkpoints and leaves; the second quits at once.

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
        trainer = _trainer(work, device, threads)
        check_data(study, trainer.check(study.spec.recipe()))
        me = Worker.here(trainer.describe()["device"])
        searches = study.searches if promote else study.arms
        step = (lambda: advance(study, trainer)) if promote else (lambda: False)
        summary = work_loop(study, searches, trainer, me, stop, step)
    click.echo(f"{summary.attempts} attempts made; {'stopped' if summary.stopped else 'all done'}")
    return 128 + stop.signal if stop.signal else 0


@cli.command()
@options.study_command
@options.workers_options
@options.place_options
@click.option("--promote", is_flag=True, help="When the search is done, go on to full training.")
@click.option("--job", hidden=True, help="Run as this job of Slurm, and be requeued by it.")
def launch(
    study: Study,
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
    on: str,
    cpus: int,
    address: str | None,
    partition: str | None,
    time: int,
    gpus_per_node: int,
    slurm: tuple[str, ...],
    folder: Path | None,
    promote: bool,
    job: str | None,
) -> int:
    """Workers on every GPU (or core) of this machine, or on a cluster; restarted when they die.

    Ctrl-C drains them: each checkpoints and leaves. On Slurm, which is not waited for,
    `tuneoff stop` does.

    On a cluster, --storage must be a database that every node reaches, and --work a folder that
    every node shares.

    \b
    Examples:
      tuneoff launch digits --gpus 0,1 --per-gpu 2
      tuneoff launch digits --on ray --workers 16 --per-gpu 2
      tuneoff launch digits --on slurm --workers 8 --gpus-per-node 4 --partition gpu --time 240
    """
    from tuneoff.search.cli import launching as launcher

    if job is not None:
        seats = launcher.places(workers, gpus, per_gpu)
        return launcher.launch_in_job(study, promote, job, seats, cpus)
    options.check_place(on)
    if on == "here":
        return launcher.launch_here(study, launcher.places(workers, gpus, per_gpu), promote)
    if on == "ray":
        return launcher.launch_on_ray(study, promote, workers, gpus, per_gpu, cpus, address)
    from tuneoff.search.launch.slurm import Request, parse_options

    request = Request(
        workers=workers or max(1, gpus_per_node * per_gpu),
        gpus=gpus_per_node,
        per_gpu=per_gpu,
        cpus=cpus,
        minutes=time,
        partition=partition,
        others=parse_options(slurm),
    )
    launcher.launch_on_slurm(study, promote, request, folder, main)
    return 0


@cli.command(
    "try",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@options.study_command
@click.option("--arm", help="The hand-tuned arm. [default: the only one]")
@click.option("--repeat", type=int, help="Into this repeat only. [default: every one]")
@click.option("--note", help="Why you think so.")
@click.pass_context
def try_(
    context: click.Context,
    study: Study,
    arm: str | None,
    repeat: int | None,
    note: str | None,
) -> None:
    """One hand-tuned configuration into the hand arm; it costs the arm's epochs as any other.

    \b
    Example:
      tuneoff try digits --lr 0.03 --momentum 0.9 --weight_decay 1e-4 --note "as in the paper"
    """
    from tuneoff.search.work.manual import enqueue_by_hand, parse_params

    params = parse_params(study.space, context.args)
    for label in enqueue_by_hand(study, params, arm, repeat, note):
        console.print(f"waiting: {label}")


@cli.command()
@options.study_command
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(study: Study, watch: bool, as_json: bool) -> None:
    """Arms, budgets, workers, the best so far, time left.

    \b
    Example:
      tuneoff status digits --watch
    """
    from tuneoff.search.cli.terminal import print_status
    from tuneoff.search.results.status import read_status
    from tuneoff.search.work.claim import reclaim

    while True:
        reclaim(study)
        now = read_status(study)
        if as_json:
            click.echo(json.dumps(asdict(now)))
        else:
            if watch and console.is_terminal:
                console.clear()
            print_status(console, now)
        if not watch:
            return
        time.sleep(2)


@cli.command()
@options.study_command
@click.option("--undo", is_flag=True, help="Let workers go on.")
def stop(study: Study, undo: bool) -> None:
    """Drain: every worker finishes the trial that it has and leaves.

    \b
    Example:
      tuneoff stop digits
    """
    study.drain(not undo)
    console.print(
        f"{study.name}: {'workers may go on' if undo else 'workers leave after their trials'}."
    )


# After the search


@cli.command()
@options.study_command
@options.workers_options
@click.option("--now", is_flag=True, help="Even if the search is not finished.")
@click.option("--enqueue-only", is_flag=True, help="Leave the training to workers elsewhere.")
def promote(
    study: Study,
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
    now: bool,
    enqueue_only: bool,
) -> int:
    """The best configurations into full training, then the ensemble.

    \b
    Example:
      tuneoff promote digits
    """
    from tuneoff.search.cli import launching as launcher
    from tuneoff.search.work.done import is_searched
    from tuneoff.search.work.promote import enqueue_full

    if study.spec.promote is None:
        raise StudyError(f"study {study.name} has no [promote] section; create one that has")
    if not now and not is_searched(study):
        raise StudyError(f"study {study.name} is still searching; wait for it, or add --now")
    with study.database.lock(study.full.name):
        added = enqueue_full(study)
    console.print(f"{study.name}: {added} configurations enqueued for full training.")
    if enqueue_only or _is_complete(study):
        return 0
    return launcher.launch_here(study, launcher.places(workers, gpus, per_gpu), promote=True)


@cli.command()
@options.study_command
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="File.")
@click.option("--format", "form", type=click.Choice(["toml", "json", "yaml"]))
@click.option("--top", type=click.IntRange(1), default=1, show_default=True)
def export(study: Study, out: Path | None, form: str | None, top: int) -> None:
    """The best configurations, with what is needed to train them again.

    \b
    Example:
      tuneoff export digits -o best.toml && tuneoff train best.toml
    """
    from tuneoff.search.results.export import best, dump, format_of

    text = dump(study.name, best(study, top), format_of(out, form))
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    console.print(f"wrote {out}")


@cli.command()
@click.argument("export_file", type=click.Path(path_type=Path))
@options.work_option
@options.device_option
@click.option("--rank", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for checkpoints. [default: in --work]",
)  # fmt: skip
def train(
    export_file: Path, work: Path, device: str, threads: int | None, rank: int, out: Path | None
) -> int:
    """Full training of an exported configuration; goes on if it was stopped.

    Under torchrun the processes share each batch, one GPU each; the result is that of one process.

    \b
    Examples:
      tuneoff train best.toml -o final/
      torchrun --nproc-per-node 4 --no-python tuneoff train best.toml -o final/
    """
    from tuneoff.search.cli.terminal import train_exported
    from tuneoff.search.results.export import load
    from tuneoff.trainer.distributed import joined

    found = {entry.rank: entry for entry in load(export_file)}
    if rank not in found:
        raise UserError(
            f"{export_file} has no configuration of rank {rank}; export more with --top"
        )
    entry = found[rank]
    if device == "auto" and entry.environment.get("device") == "cpu" and threads is None:
        # As many threads as then: the order of a sum depends on it, and so do its last bits.
        threads = int(entry.environment["threads"])
    folder = out or work / "train" / export_file.stem / str(rank)
    with Stop() as stop, joined(_device(device)) as ranks:
        trainer = _trainer(work, device, threads, ranks)
        speaker = console if ranks.leads else Console(quiet=True)
        train_exported(speaker, trainer, entry, folder, stop)
    return 128 + stop.signal if stop.signal else 0


@cli.command()
@options.study_command
@click.argument("images", type=click.Path(path_type=Path))
@options.device_option
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="File.")
@click.option(
    "--server-file",
    is_flag=True,
    help="In the form of Tiny ImageNet's test server: NAME CLASS, without a header.",
)
def predict(
    study: Study,
    images: Path,
    device: str,
    threads: int | None,
    out: Path | None,
    server_file: bool,
) -> None:
    """The ensemble's predictions for an image, a folder, or a zip of images, as CSV.

    \b
    Example:
      tuneoff predict tiny-imagenet data/tiny-imagenet-200.zip --server-file -o submission.txt
    """
    from tuneoff.search.results.predict import predict_images, predictions_text

    predicted = predict_images(study, _trainer(study.work, device, threads), images)
    text = predictions_text(predicted, server_file)
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    console.print(f"wrote {out}: {len(predicted.names)} images")


@cli.command()
@options.study_command
@click.option("--reference", help="The arm to compare the others with. [default: bayes]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compare(study: Study, reference: str | None, as_json: bool) -> None:
    """Who won, by how much, at what cost.

    \b
    Example:
      tuneoff compare digits --json
    """
    from tuneoff.search.cli.summary import summary_table
    from tuneoff.search.results.compare import compare as compare_results
    from tuneoff.search.results.read import read_results
    from tuneoff.search.results.records import plain

    results = read_results(study)
    comparison = compare_results(results, reference)
    if as_json:
        click.echo(json.dumps({**comparison.to_dict(), "results": plain(results)}, indent=2))
        return
    console.print(summary_table(results, comparison))


@cli.command()
@options.study_command
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder.")
@click.option("--reference", help="The arm to compare the others with. [default: bayes]")
@click.option("--publish/--no-publish", default=True, help="Also into the dashboard.")
def report(study: Study, out: Path | None, reference: str | None, publish: bool) -> None:
    """The comparison as HTML, Markdown and JSON; also into the dashboard.

    \b
    Example:
      tuneoff report digits -o report/
    """
    page = _report(study, out or study.folder / "report", reference, publish)
    console.print(f"Report: {page}", soft_wrap=True)


@cli.command()
@options.storage_option
@options.work_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
def dashboard(storage: str, work: Path, host: str, port: int) -> None:
    """optuna-dashboard on this storage, with artifacts.

    It has no passwords: whoever reaches it may delete studies. Keep it on 127.0.0.1, and put an
    authenticating proxy before it where others are to see it.

    \b
    Example:
      tuneoff dashboard --port 8080
    """
    from tuneoff.search.cli.terminal import serve_dashboard

    serve_dashboard(open_database(storage), work / "artifacts", host, port)


# Data and machine


@cli.group()
def data() -> None:
    """Datasets: decode them once, and look at them."""


@data.command("prepare")
@options.data_options
@options.work_option
def data_prepare(name: str, path: str | None, work: Path, **others: Any) -> None:
    """Verify a dataset and decode it into one packed array, which all workers share.

    Without --path, a dataset that is published as one file (Tiny ImageNet) is fetched into --work
    first. If that breaks off, the same command goes on from there.

    \b
    Examples:
      tuneoff data prepare tiny-imagenet
      tuneoff data prepare tiny-imagenet --path data/tiny-imagenet-200.zip
    """
    from tuneoff.search.cli.terminal import fetching_progress
    from tuneoff.trainer.data import decode, download

    remote = _remote(name)
    if path is None and remote is not None and not _fetched(work, remote).exists():
        with fetching_progress(console) as progress:
            download.fetch(remote.url, _fetched(work, remote), remote.md5, progress)
    clock = _Clock()
    source = _source(work, name, path, **others)
    task = _task(work, source, clock)
    sizes = ", ".join(f"{n} {split}" for split, n in task.sizes.items())
    console.print(
        f"{name}: {sizes} images; packed in {work}/cache; digest {task.digest[:12]}",
        soft_wrap=True,
    )
    if clock.seconds:
        console.print(
            f"Decoded {clock.images} images in {clock.seconds:.1f} s "
            f"({clock.images / clock.seconds:.0f} images/s) with {decode.decoder_name()}.",
            soft_wrap=True,
        )
    if task.duplicates is not None:
        console.print(_said_of(task.duplicates), soft_wrap=True, markup=False)
    if source.path is not None:
        console.print(f'In study files: path = "{source.path}"', soft_wrap=True, markup=False)


@data.command("info")
@options.data_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@options.work_option
def data_info(name: str, path: str | None, as_json: bool, work: Path, **others: Any) -> None:
    """What is in a dataset: classes, splits, duplicates, digest.

    \b
    Example:
      tuneoff data info digits
    """
    task = _task(work, _source(work, name, path, **others))
    found = task.duplicates
    facts: dict[str, Any] = {
        "name": name,
        "classes": list(task.classes),
        "sizes": dict(task.sizes),
        "chance_error": task.chance_error,
        "duplicates": None if found is None else asdict(found),
        "digest": task.digest,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    if found is not None:
        console.print(_said_of(found), soft_wrap=True, markup=False)


@cli.command()
@options.storage_option
@options.work_option
def doctor(storage: str, work: Path) -> int:
    """Devices, storage, weights, versions, memory: what works and what to fix.

    Exit code 1 if something that studies need does not work.

    \b
    Example:
      tuneoff doctor --storage postgresql://me@db/tuneoff
    """
    from tuneoff.search.cli.doctor import examine
    from tuneoff.trainer.models import PRETRAINED, imagenet_problem

    trainer = _trainer(work)
    weights = {model: imagenet_problem(model) for model in PRETRAINED}
    # As in the paper: images scaled up to 224 pixels, the 200 classes of Tiny ImageNet.
    images = DataSource(image_size=224)
    recipes = {model: Recipe(data=images, model=model) for model in PRETRAINED}
    batches = {
        model: trainer.largest_batch(recipe, 200, 224, 224) for model, recipe in recipes.items()
    }
    precision = trainer.resolve(recipes["resnet18"]).precision
    findings = examine(storage, work, trainer.describe(), weights, batches, precision)
    for finding in findings:
        mark = (
            "[green]ok  [/]" if finding.ok else "[red]FIX [/]" if finding.needed else "[dim]-   [/]"
        )
        console.print(f"{mark} {finding.subject}: {finding.text}", soft_wrap=True, highlight=False)
    return 0 if all(finding.ok or not finding.needed for finding in findings) else 1


# Parts


def _trainer(
    work: Path, device: str = "auto", threads: int | None = None, ranks: Ranks | None = None
) -> TorchTrainer:
    from tuneoff.trainer.distributed import ALONE
    from tuneoff.trainer.torch_trainer import TorchTrainer

    shared = ranks or ALONE
    return TorchTrainer(_device(device), cache=work / "cache", threads=threads, ranks=shared)


def _device(name: str) -> str:
    import torch

    from tuneoff.trainer.distributed import local_device

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return local_device(name)


def _check(work: Path) -> Callable[[Recipe], Task]:
    """Checks recipes on the CPU, with a progress bar while images are decoded."""
    from tuneoff.search.cli.terminal import decoding_progress
    from tuneoff.trainer.torch_trainer import TorchTrainer

    return TorchTrainer("cpu", cache=work / "cache", progress=decoding_progress(console)).check


def _task(work: Path, source: DataSource, clock: _Clock | None = None) -> Task:
    """What is in a data set, verified whole, with a progress bar while images are decoded."""
    from tuneoff.search.cli.terminal import decoding_progress
    from tuneoff.trainer.data import splits
    from tuneoff.trainer.data.load import load

    show = decoding_progress(console)

    def progress(done: int, total: int) -> None:
        show(done, total)
        if clock is not None:
            clock.note(done)

    return splits.describe(load(source, work / "cache", progress, verify=True), source)


class _Clock:
    """How many images were decoded, and in how many seconds; none if all were in the cache."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._started: float | None = None

    def note(self, images: int) -> None:
        now = time.monotonic()
        if self._started is None:
            self._started = now
        self.images, self.seconds = images, now - self._started


def _is_complete(study: Study) -> bool:
    from tuneoff.search.work.done import is_idle, is_searched
    from tuneoff.search.work.promote import is_promoted

    return (
        is_searched(study) and is_idle(study, (study.full, study.ensemble)) and is_promoted(study)
    )


def _report(study: Study, out: Path, reference: str | None, publish: bool) -> Path:
    from tuneoff.search.cli.summary import summary_table
    from tuneoff.search.report.dashboard import publish as publish_report
    from tuneoff.search.report.write import write_report
    from tuneoff.search.results.compare import compare as compare_results
    from tuneoff.search.results.predictions.read import read_predictions
    from tuneoff.search.results.read import read_results, trial_curves

    results = read_results(study)
    comparison = compare_results(results, reference)
    trials, predictions = trial_curves(study), read_predictions(study)
    page = write_report(results, comparison, out, trials=trials, predictions=predictions)
    if publish:
        publish_report(study.optuna_study(study.full), results, comparison)
    console.print(summary_table(results, comparison))
    return page


def _remote(name: str) -> Remote | None:
    """What `data prepare` fetches for a data set; None for those that come from elsewhere."""
    return DATASETS.entry(name).remote if name in DATASETS else None


def _fetched(work: Path, remote: Remote) -> Path:
    """Where `data prepare` puts what it fetches."""
    return (work / "data" / remote.file_name).absolute()


def _source(work: Path, name: str, path: str | None, **others: Any) -> DataSource:
    """The images that ``options.data_options`` name."""
    remote = _remote(name)
    if path is None and remote is not None and _fetched(work, remote).exists():
        path = str(_fetched(work, remote))
    try:
        return DataSource(name, path, **others)
    except ValueError as error:
        raise UserError(f"{error} (--path)" if "path" in str(error) else str(error)) from None


def _said_of(found: Duplicates) -> str:
    """A data set's duplicates, for people, with what to do about them."""
    if not found.groups:
        return "No two images have the same pixels."
    text = (
        f"{found.groups} groups of identical images: {found.crossing} across splits, "
        f"{found.conflicting} with conflicting labels"
    )
    if found.dropped:
        return f"{text}; {found.dropped} images are left out."
    if found.crossing or found.conflicting:
        return f'{text}. duplicates = "drop" in [data] keeps these out of training.'
    return f"{text}."


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another") from None
