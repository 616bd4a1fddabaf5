"""Studies of every awkward kind, and their reports: what people must be able to read, too.

To look at them all, or at some, with a browser or a terminal:

    .venv/bin/python tests/support/gallery.py /tmp/gallery            # all but the large ones
    .venv/bin/python tests/support/gallery.py /tmp/gallery --large    # all of them
    .venv/bin/python tests/support/gallery.py /tmp/gallery hostile one-trial
    .venv/bin/python tests/support/gallery.py --list

This writes /tmp/gallery/CASE/report.html (and .md, .json), and leaves the studies in
/tmp/gallery/gallery.db, where every command finds them by the name of their case:

    tuneoff status hostile --storage sqlite:////tmp/gallery/gallery.db --work /tmp/gallery/work

``looking.py`` beside this looks at such pages in a browser, says what is wrong with them, and takes
pictures. A test imports this module by its name::

    from gallery import CASES, build, open_gallery
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from gallery_cases import SMALL
from gallery_cases_hostile import HOSTILE
from gallery_cases_large import LARGE
from gallery_cases_metric import METRICS
from gallery_study import Case, Place

from tuneoff.search.report.data import read_report_data
from tuneoff.search.report.write import write_report
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study

CASES: Mapping[str, Case] = {case.name: case for case in (*SMALL, *METRICS, *HOSTILE, *LARGE)}


def open_gallery(folder: Path) -> Database:
    """The database of a gallery in this folder; empty before its first case is built."""
    folder.mkdir(parents=True, exist_ok=True)
    return open_database(f"sqlite:///{folder / 'gallery.db'}", create=True)


def build(database: Database, folder: Path, name: str) -> Study:
    """Write the study of a case, which must not be there yet.

    Args:
        folder: the gallery's; the study's work folder is ``work`` in it.
    """
    return CASES[name].build(Place(database, folder / "work", name))


def show(study: Study, folder: Path) -> Path:
    """Write a study's report into the gallery; the path of its page."""
    return write_report(read_report_data(Snapshot.of(study)), folder / study.name)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.argument("names", nargs=-1)
@click.option("--large", is_flag=True, help="Also the cases that take longer than two seconds.")
@click.option("--list", "listed", is_flag=True, help="Only list the cases.")
def main(folder: Path | None, names: Sequence[str], large: bool, listed: bool) -> None:
    """Build the studies of the gallery in FOLDER, and write their reports."""
    if listed or folder is None:
        for case in CASES.values():
            click.echo(f"{case.name:22} {case.about}{' (large)' if case.large else ''}")
        return
    if unknown := sorted(set(names) - set(CASES)):
        raise click.ClickException(f"there is no case {unknown[0]}; see --list")
    (folder / "gallery.db").unlink(missing_ok=True)
    database = open_gallery(folder)
    for case in CASES.values():
        if case.name in names or (not names and (large or not case.large)):
            page, took = _timed(database, folder, case.name)
            size = page.stat().st_size / 1e6
            click.echo(f"{page}: {size:.2f} MB, built in {took[0]:.1f} s, read and written in "
                       f"{took[1]:.1f} s")  # fmt: skip
    database.close()


def _timed(database: Database, folder: Path, name: str) -> tuple[Path, tuple[float, float]]:
    begun = time.perf_counter()
    study = build(database, folder, name)
    built = time.perf_counter()
    page = show(study, folder)
    return page, (built - begun, time.perf_counter() - built)


if __name__ == "__main__":
    sys.exit(main())
