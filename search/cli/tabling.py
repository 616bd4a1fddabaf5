"""The command that trains a table of learning curves: table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneoff import references
from tuneoff.messages import counted
from tuneoff.search.cli import options

if TYPE_CHECKING:
    from tuneoff.search.spec.file import StudySpec
    from tuneoff.search.store.database import Database


@click.command()
@options.study_argument
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="File to write, such as table.json.gz.")  # fmt: skip
@click.option("--configs", type=click.IntRange(1, 100_000), default=150, show_default=True,
              help="How many configurations, besides the hand-tuned ones.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 1000), default=2, show_default=True,
              help="Trainings of each configuration.")  # fmt: skip
@click.option("--licence", default="", metavar="TEXT",
              help="Of the table, in words; it is kept in the file.")  # fmt: skip
@options.set_option
@options.storage_option
@options.work_option
@options.workers_options
def table(
    study_file: Path,
    out: Path,
    configs: int,
    seeds: int,
    licence: str,
    changes: tuple[str, ...],
    storage: str,
    work: Path,
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
) -> int:
    """Train learning curves all over a search space, into one file.

    Configurations that fill the space, and the study's hand-tuned ones, are trained to the study's
    [trial] epochs and scored on the test split. `tuneoff replay --table` then searches on the file,
    in seconds. The table is a study of its own, NAME-table: stopped at any point and started again,
    this goes on where it was; workers of other machines join with `tuneoff launch NAME-table`.

    \b
    Example:
      tuneoff table studies/digits.toml -o digits-table.json.gz --configs 50 --workers 2
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.launching import check_this_machine, launch_workers
    from tuneoff.search.cli.storage import open_storage, patience_of_workers
    from tuneoff.search.cli.terminal import print_notes
    from tuneoff.search.cli.trainers import make_check, weights_digest
    from tuneoff.search.results.curve_rows import curve_table
    from tuneoff.search.results.curve_table import write_table
    from tuneoff.search.spec.reading import (
        StudyFile,
        preflight,
        read_study_file,
        settle_weights,
    )
    from tuneoff.search.study.design import table_spec
    from tuneoff.search.study.opening import create_study
    from tuneoff.search.study.snapshot import Snapshot
    from tuneoff.search.work.done import is_searched

    check = make_check(work)
    given = read_study_file(study_file, changes)
    given.spec.our_recipe()  # a table is of our own trainer's runs
    references.allow(given.spec.references())
    read = settle_weights(given, check)
    file = replace(StudyFile.of(table_spec(read.spec, configs, seeds)), notes=read.notes)
    _check_out(out, file.spec.digest())
    check_this_machine(workers, gpus, per_gpu)
    task = preflight(file, check)
    print_notes(console, task)
    database = open_storage(storage, create=True, patience=patience_of_workers())
    _check_size(database, file.spec)
    study = create_study(database, file.spec, task, work)
    if not study.ledger.step(is_searched, study):
        if code := launch_workers(study, "here", False, workers, per_gpu, {"gpus": gpus}):
            return code
        if study.ledger.step(study.is_draining):
            return 0
    made = curve_table(
        study.ledger.step(Snapshot.of, study), weights_digest(file.spec.our_recipe()), licence
    )
    write_table(made, out)
    lost = f"; {counted(made.missing, 'training')} failed, see `tuneoff status {study.name}`"
    console.print(
        f"{out}: {counted(len(made.configs), 'configuration')}, "
        f"{counted(len(made.runs), 'training')} of {counted(made.epochs, 'epoch')}, "
        f"{out.stat().st_size / 1000:,.0f} kB{lost if made.missing else ''}.",
        soft_wrap=True,
    )
    return 0


def _check_out(out: Path, mark: str) -> None:
    """Make sure that the file can be written, before hours of training.

    Raises:
        UserError: its folder is missing, or it is there and is not this study's table.
    """
    import os

    from tuneoff.search.errors import UserError
    from tuneoff.search.results.curve_table import read_table

    folder = out.parent
    if not folder.is_dir():
        raise UserError(f"{out}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{out}: the folder {folder} cannot be written; choose another")
    if out.exists() and read_table(out).mark != mark:
        raise UserError(
            f"{out} is a table of another study, or of other settings; choose another file, or "
            "remove it"
        )


def _check_size(database: Database, spec: StudySpec) -> None:
    """Make sure that a table which is there has the size that is asked for (StudyError if not)."""
    from tuneoff.search.errors import StudyError
    from tuneoff.search.store.ledger import Ledger
    from tuneoff.search.study import table as studies

    row = Ledger(database).step(studies.find, database, spec.name)
    there = None if row is None else studies.spec_of(row)
    if there is None or (there.table, there.repeats) == (spec.table, spec.repeats):
        return
    if there.table is None:
        raise StudyError(f"study {spec.name} exists and is no table; use --set name=OTHER")
    raise StudyError(
        f"study {spec.name} exists with {there.table.filling} configurations besides the "
        f"hand-tuned ones and {there.repeats} seeds, not {spec.table.filling if spec.table else 0} "
        f"and {spec.repeats}; use --configs, --seeds and the hand-tuned arms as they were, or "
        "--set name=OTHER"
    )
