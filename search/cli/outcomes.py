"""Commands for what a study has come to: full training, exports, predictions, the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneoff import references
from tuneoff.files import write_text
from tuneoff.messages import counted
from tuneoff.search.cli import options
from tuneoff.search.errors import StudyError, UserError

if TYPE_CHECKING:
    from tuneoff.search.study.study import Study


@click.command()
@options.launching_command
@options.workers_options
@options.allow_option
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
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.launching import is_complete, launch_workers
    from tuneoff.search.study.selection import outdated_ensemble
    from tuneoff.search.study.snapshot import Snapshot
    from tuneoff.search.work.done import is_searched
    from tuneoff.search.work.members import check_members
    from tuneoff.search.work.promote import enqueue_full

    if not enqueue_only:
        references.require_allowed(study.spec.references())
    if study.spec.promote is None and study.spec.horizon is None:
        raise StudyError(
            f"study {study.name} has no [promote] section; create one that has, or add [horizon]"
        )
    if not now and not is_searched(study):
        raise StudyError(f"study {study.name} is still searching; wait for it, or add --now")
    added = enqueue_full(study)
    console.print(
        f"{study.name}: {counted(added, 'full training')} added to the queue.", soft_wrap=True
    )
    if (outdated := outdated_ensemble(Snapshot.of(study))) is not None:
        console.print(outdated, soft_wrap=True)
    if enqueue_only:
        return 0
    if is_complete(study):
        check_members(Snapshot.of(study))
        console.print(f"{study.name} is complete: nothing left to train.", soft_wrap=True)
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
@click.option("--diverged", is_flag=True, help="Also those of which every run diverged.")
def export(study: Study, out: Path | None, form: str | None, top: int, diverged: bool) -> None:
    """Write the best configurations, to be trained again anywhere.

    Those that were trained in full go first, by the error to be expected of them, then the others
    by their search runs. Each comes with what is known of it: `evidence` in the file.

    \b
    Example:
      tuneoff export digits -o best.toml && tuneoff train best.toml
    """
    from tuneoff.search.cli.console import console, print_data
    from tuneoff.search.cli.failures import remark
    from tuneoff.search.results.export import best
    from tuneoff.search.results.export_file import dump, format_of

    found = best(study, top, diverged)
    text = dump(study.name, found.configurations, format_of(out, form))
    for note in found.notes:
        remark(note)
    if out is None:
        print_data(text)
        return
    _write(out, text)
    console.print(f"wrote {out}", soft_wrap=True)


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
    from tuneoff.search.cli.console import PlainConsole, console
    from tuneoff.search.cli.terminal import train_exported
    from tuneoff.search.cli.trainers import choose_device, make_trainer
    from tuneoff.search.results.export_file import load
    from tuneoff.search.spec.named_code import named_code
    from tuneoff.search.work.signals import Stop
    from tuneoff.trainer.distributed import joined

    found = {entry.rank: entry for entry in load(export_file)}
    if rank not in found:
        raise UserError(
            f"{export_file} has no configuration of rank {rank}; export more with --top"
        )
    entry = found[rank]
    recipe = entry.recipe.to_dict()
    references.allow(named_code({"trial": recipe, "data": recipe.get("data")}))
    if device == "auto" and entry.environment.get("device") == "cpu" and threads is None:
        # As many threads as then: the order of a sum depends on it, and so do its last bits.
        said = entry.environment.get("threads")
        threads = int(said) if said is not None else None
    folder = out or work / "train" / export_file.stem / str(rank)
    with Stop() as stop, joined(choose_device(device)) as ranks:
        trainer = make_trainer(entry.recipe, work, device, threads, ranks)
        speaker = console if ranks.leads else PlainConsole(quiet=True)
        train_exported(speaker, trainer, entry, folder, stop)
    return 128 + stop.signal if stop.signal else 0


@click.command()
@options.study_command
@options.images_argument
@options.device_option
@options.allow_option
@options.out_file_option
@click.option(
    "--server-file",
    is_flag=True,
    help="Write what Tiny ImageNet's test server takes: NAME CLASS, without a header.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Leave names as they are that a spreadsheet would take for formulas (=, +, -, @); "
    "without it they begin with an apostrophe.",
)
def predict(
    study: Study,
    images: Path,
    device: str,
    threads: int | None,
    out: Path | None,
    server_file: bool,
    raw: bool,
) -> None:
    """Write the classes that the ensemble predicts for images, as CSV.

    IMAGES is an image, a folder of images, or a zip file of them.

    The columns are the image's name, its `class` by the rule of combination in the study file, and
    a `probability`: how likely that class is by the mean of the models' probabilities, calibrated
    on the validation images, so that of those with 0.9 about nine in ten are right. With the
    paper's rule, which decides but is never sure of anything, another class may have a higher one.

    \b
    Example:
      tuneoff predict tiny-imagenet data/tiny-imagenet-200.zip --server-file -o submission.txt
    """
    from tuneoff.search.cli.console import console, print_data
    from tuneoff.search.cli.trainers import make_trainer
    from tuneoff.search.results.predict import predict_images, predictions_text

    references.require_allowed(study.spec.references())
    trainer = make_trainer(study.spec.recipe(), study.work, device, threads)
    predicted = predict_images(study, trainer, images)
    text = predictions_text(predicted, server_file, raw)
    if out is None:
        print_data(text)
        return
    _write(out, text)
    calibrated = (
        f", probabilities calibrated on {counted(predicted.calibrated_on, 'validation image')}"
        if predicted.calibrated_on
        else ""
    )
    written = counted(len(predicted.names), "image")
    console.print(f"wrote {out}: {written}{calibrated}", soft_wrap=True)


@click.command()
@options.study_command
@click.option("--reference", help="The arm to compare the others with. [default: bayes]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; see docs/json.md.")
@click.option("--summary", is_flag=True, help="With --json: outcomes and settings to use alone.")
def compare(study: Study, reference: str | None, as_json: bool, summary: bool) -> None:
    """Say which arm won, by how much, and at what cost.

    \b
    Examples:
      tuneoff compare digits
      tuneoff compare digits --json --summary
    """
    from tuneoff.search.cli.summary import print_summary
    from tuneoff.search.report.commands import export_and_train, storage_words, work_words
    from tuneoff.search.report.documents import compare_document, document
    from tuneoff.search.results.compare import compare as compare_results
    from tuneoff.search.results.export import best_or_none
    from tuneoff.search.results.horizon.findings import find
    from tuneoff.search.results.horizon.read import read_horizon
    from tuneoff.search.results.kept_answer import keep_answer
    from tuneoff.search.results.read import read_results
    from tuneoff.search.results.summary import summarise
    from tuneoff.search.study.snapshot import Snapshot

    if summary and not as_json:
        raise UserError("--summary goes with --json; add that, or leave it out")
    now = Snapshot.of(study)
    results = read_results(now)
    comparison = compare_results(results, reference)
    if reference is None:
        keep_answer(now, comparison)
    if summary:
        command = export_and_train(study.name, storage_words(study), work_words(study))
        short = summarise(comparison, best_or_none(now), command)
        click.echo(document("summary", short), nl=False)
        return
    horizon = find(read_horizon(now))
    if as_json:
        click.echo(compare_document(comparison, results, horizon), nl=False)
        return
    print_summary(results, comparison, horizon)


def report_on(
    study: Study,
    out: Path,
    reference: str | None,
    publish: bool,
    pictures: Sequence[str] = (),
) -> Path:
    """Write a study's report into a folder, and print its summary; the report's page.

    Args:
        reference: the arm to compare the others with; the default if None.
        publish: into the dashboard, too.
        pictures: formats in which every figure is written as a file, too.
    """
    from tuneoff.search.cli.failures import remark
    from tuneoff.search.cli.summary import print_next, print_summary
    from tuneoff.search.report.dashboard.publisher import publish_now
    from tuneoff.search.report.data import read_report_data
    from tuneoff.search.report.write import write_report
    from tuneoff.search.results.kept_answer import keep_answer
    from tuneoff.search.study.snapshot import Snapshot

    now = Snapshot.of(study)
    data = read_report_data(now, reference)
    page = write_report(data, out)
    if pictures:
        from tuneoff.search.report.pictures import write_pictures

        write_pictures(data, out, pictures)
    if reference is None:
        keep_answer(now, data.comparison)
    if publish:
        publish_now(study, remark)
    print_summary(data.results, data.comparison, data.horizon)
    print_next(data)
    return page


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another") from None
