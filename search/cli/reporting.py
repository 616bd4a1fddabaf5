"""The command that writes reports: of one study, or of several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneoff.search.cli import options
from tuneoff.search.cli.completion import complete_name
from tuneoff.search.store.defaults import COMMAND_PATIENCE_SECONDS

if TYPE_CHECKING:
    from tuneoff.search.study.study import Study

SEVERAL = "side-by-side"
"""The folder, in --work, of the page of several studies."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_name)
@options.storage_option
@options.work_option
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
    help="Also show the comparison in the dashboard; of one study only. [default: --publish]",
)
@click.option(
    "--figures",
    metavar="png,svg",
    help="Also write every figure as a file; needs the extra images and Chrome or Chromium.",
)
def report(
    names: tuple[str, ...],
    storage: str,
    work: Path,
    out: Path | None,
    reference: str | None,
    publish: bool,
    figures: str | None,
) -> None:
    """Write the comparison as HTML, Markdown and JSON.

    Of several studies, it is one page: the same question over data sets, models or horizons, with
    a row for each study and one for all of them together.

    \b
    Examples:
      tuneoff report digits -o report/
      tuneoff report digits cifar10 tiny-imagenet -o report/
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.failures import remark
    from tuneoff.search.cli.outcomes import report_on
    from tuneoff.search.cli.storage import open_storage
    from tuneoff.search.errors import UserError

    formats = [] if figures is None else figures.lower().split(",")
    if formats:
        from tuneoff.search.report.pictures import check_pictures

        check_pictures(formats)
    database = open_storage(storage, patience=COMMAND_PATIENCE_SECONDS)
    once = list(dict.fromkeys(names))
    for name in once:
        if names.count(name) > 1:
            remark(f"{name} is named {names.count(name)} times; it counts once")
    if len(once) < 2:
        study = options.open_named(database, once[0] if once else None, work)
        page = report_on(study, out or study.folder / "report", reference, publish, formats)
    else:
        if formats:
            raise UserError("--figures goes with one study; leave it out, or name one")
        studies = [options.open_named(database, name, work) for name in once]
        page = _write_side_by_side(studies, out or work / SEVERAL, reference)
    console.print(f"Report: {page}", soft_wrap=True)


def _write_side_by_side(studies: list[Study], out: Path, reference: str | None) -> Path:
    from tuneoff.search.cli.side_by_side import print_side_by_side
    from tuneoff.search.report.side_by_side.write import write_side_by_side
    from tuneoff.search.results.compare import compare
    from tuneoff.search.results.kept_answer import keep_answer
    from tuneoff.search.results.read import read_results
    from tuneoff.search.results.side_by_side.build import side_by_side
    from tuneoff.search.results.side_by_side.records import Member
    from tuneoff.search.study.snapshot import Snapshot

    members = []
    for study in studies:
        now = Snapshot.of(study)
        results = read_results(now)
        comparison = compare(results)
        keep_answer(now, comparison)
        members.append(Member(now.study.spec, results, comparison, study.task.digest))
    found = side_by_side(members, reference)
    page = write_side_by_side(found, out)
    print_side_by_side(found)
    return page
