"""Commands for what a study has come to: full training, exports, predictions, the comparison."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from tuneoff.files import write_text
from tuneoff.search.cli import options
from tuneoff.search.cli.terminal import console
from tuneoff.search.cli.trainers import choose_device, make_trainer
from tuneoff.search.errors import StudyError, UserError
from tuneoff.search.study.study import Study
from tuneoff.search.work.signals import Stop


@click.command()
@options.study_command
@options.workers_options
@click.option("--now", is_flag=True, help="Do so even if the search is not finished.")
@click.option(
    "--enqueue-only", is_flag=True, help="Only enqueue them, for workers that run elsewhere."
)
def promote(
    study: Study,
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
    now: bool,
    enqueue_only: bool,
) -> int:
    """Train the best configurations in full, then the ensemble.

    \b
    Example:
      tuneoff promote digits
    """
    from tuneoff.search.cli.launching import is_complete, launch_workers
    from tuneoff.search.work.done import is_searched
    from tuneoff.search.work.promote import enqueue_full

    if study.spec.promote is None:
        raise StudyError(f"study {study.name} has no [promote] section; create one that has")
    if not now and not is_searched(study):
        raise StudyError(f"study {study.name} is still searching; wait for it, or add --now")
    added = enqueue_full(study)
    console.print(f"{study.name}: {added} configurations enqueued for full training.")
    if enqueue_only or is_complete(study):
        return 0
    return launch_workers(study, "here", True, workers, per_gpu, {"gpus": gpus})


@click.command()
@options.study_command
@options.out_file_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["toml", "json", "yaml"]),
    help="[default: by the file's name, else toml]",
)
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="How many.")
def export(study: Study, out: Path | None, form: str | None, top: int) -> None:
    """Write the best configurations, to be trained again anywhere.

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
    console.print(f"wrote {out}", soft_wrap=True, markup=False)


@click.command()
@click.argument("export_file", type=click.Path(path_type=Path))
@options.work_option
@options.device_option
@click.option("--rank", type=click.IntRange(1), default=1, show_default=True,
              help="Which of the exported configurations: 1 is the best.")  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for checkpoints. [default: in --work]",
)  # fmt: skip
def train(
    export_file: Path, work: Path, device: str, threads: int | None, rank: int, out: Path | None
) -> int:
    """Train an exported configuration in full.

    Stopped at any point and started again, it goes on where it was. Under torchrun each process
    has a GPU of its own and trains on a part of each batch; the result is that of one process.

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
    with Stop() as stop, joined(choose_device(device)) as ranks:
        trainer = make_trainer(work, device, threads, ranks)
        speaker = console if ranks.leads else Console(quiet=True)
        train_exported(speaker, trainer, entry, folder, stop)
    return 128 + stop.signal if stop.signal else 0


@click.command()
@options.study_command
@click.argument("images", type=click.Path(path_type=Path))
@options.device_option
@options.out_file_option
@click.option(
    "--server-file",
    is_flag=True,
    help="Write what Tiny ImageNet's test server takes: NAME CLASS, without a header.",
)
def predict(
    study: Study,
    images: Path,
    device: str,
    threads: int | None,
    out: Path | None,
    server_file: bool,
) -> None:
    """Write the classes that the ensemble predicts for images, as CSV.

    IMAGES is an image, a folder of images, or a zip file of them.

    \b
    Example:
      tuneoff predict tiny-imagenet data/tiny-imagenet-200.zip --server-file -o submission.txt
    """
    from tuneoff.search.results.predict import predict_images, predictions_text

    predicted = predict_images(study, make_trainer(study.work, device, threads), images)
    text = predictions_text(predicted, server_file)
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    console.print(f"wrote {out}: {len(predicted.names)} images", soft_wrap=True, markup=False)


@click.command()
@options.study_command
@click.option("--reference", help="The arm to compare the others with. [default: bayes]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(study: Study, reference: str | None, as_json: bool) -> None:
    """Say which arm won, by how much, and at what cost.

    \b
    Example:
      tuneoff compare digits --json
    """
    from tuneoff.search.cli.summary import summary_table
    from tuneoff.search.results.compare import compare as compare_results
    from tuneoff.search.results.read import read_results
    from tuneoff.search.results.records import plain
    from tuneoff.search.study.snapshot import Snapshot

    results = read_results(Snapshot.of(study))
    comparison = compare_results(results, reference)
    if as_json:
        click.echo(json.dumps({**comparison.to_dict(), "results": plain(results)}, indent=2))
        return
    console.print(summary_table(results, comparison))


@click.command()
@options.study_command
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to. [default: in --work]",
)
@click.option("--reference", help="The arm to compare the others with. [default: bayes]")
@click.option(
    "--publish/--no-publish",
    default=True,
    help="Also show the comparison in the dashboard. [default: --publish]",
)
def report(study: Study, out: Path | None, reference: str | None, publish: bool) -> None:
    """Write the comparison as HTML, Markdown and JSON.

    \b
    Example:
      tuneoff report digits -o report/
    """
    page = report_on(study, out or study.folder / "report", reference, publish)
    console.print(f"Report: {page}", soft_wrap=True)


def report_on(study: Study, out: Path, reference: str | None, publish: bool) -> Path:
    """Write a study's report into a folder, and print its summary; the report's page.

    Args:
        reference: the arm to compare the others with; the default if None.
        publish: into the dashboard, too.
    """
    from tuneoff.search.cli.summary import summary_table
    from tuneoff.search.report.dashboard import publish as publish_report
    from tuneoff.search.report.write import write_report
    from tuneoff.search.results.compare import compare as compare_results
    from tuneoff.search.results.predictions.read import read_predictions
    from tuneoff.search.results.read import read_results, trial_curves
    from tuneoff.search.study.snapshot import Snapshot

    now = Snapshot.of(study)
    results = read_results(now)
    comparison = compare_results(results, reference)
    trials, predictions = trial_curves(now), read_predictions(now)
    page = write_report(results, comparison, out, trials=trials, predictions=predictions)
    if publish:
        publish_report(study.optuna_study(study.full), results, comparison)
    console.print(summary_table(results, comparison))
    return page


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another") from None
