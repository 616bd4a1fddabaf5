"""Commands that look at studies, and ask their workers to leave: list, status and stop."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn

import click

from tuneoff.search.cli import options
from tuneoff.search.cli.failures import remark

if TYPE_CHECKING:
    from tuneoff.search.results.status import Status
    from tuneoff.search.study.study import Study

WATCH_SECONDS = 2.0
"""Between readings of the database."""
LINE_SECONDS = 60.0
"""Between the statuses that are printed where there is no terminal."""


@click.command("list")
@options.storage_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(storage: str, as_json: bool) -> None:
    """List the studies of a database: state, arms and last answer.

    The answer is that of the last comparison: `run`, `compare` and `report` make one.

    \b
    Example:
      tuneoff list --storage postgresql://me@db/tuneoff
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.listing import studies_table
    from tuneoff.search.cli.storage import open_storage
    from tuneoff.search.results.studies import list_studies

    database = open_storage(storage)
    found = list_studies(database)
    if as_json:
        click.echo(json.dumps([asdict(line) for line in found]))
    elif found:
        console.print(studies_table(found))
    else:
        console.print(f"{database} has no studies yet; `tuneoff create` makes one.", soft_wrap=True)


@click.command()
@options.study_command
@click.option(
    "--watch",
    is_flag=True,
    help="Keep it on the screen, until Ctrl-C; without a terminal, once a minute.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(study: Study, watch: bool, as_json: bool) -> None:
    """Show arms, budgets, workers, the best so far and the time left.

    \b
    Example:
      tuneoff status digits --watch
    """
    if watch:
        _watch(study, as_json)
    _print(study, _read(study), as_json)


def _watch(study: Study, as_json: bool) -> NoReturn:
    """Show the status again and again: on a terminal in its place, elsewhere once a minute."""
    from rich.live import Live

    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.status_view import status_screen
    from tuneoff.search.store import outages

    on_screen = console.is_terminal and not as_json
    live, due = Live(console=console, auto_refresh=False, vertical_overflow="crop"), 0.0
    with live if on_screen else nullcontext():
        while True:
            try:
                now = _read(study)
                if on_screen:
                    live.update(status_screen(console, now, _closing(study, now)), refresh=True)
                elif as_json or time.monotonic() >= due:
                    _print(study, now, as_json)
                    due = time.monotonic() + LINE_SECONDS
            except outages.OUTAGES as error:
                # Whoever watches wants to see it come back, too.
                remark(f"database {study.database}: {outages.reason(error)}; trying again")
                due = 0.0
            time.sleep(WATCH_SECONDS)


def _read(study: Study) -> Status:
    from tuneoff.search.results.status import read_status

    _reclaim(study.refreshed())
    return read_status(study)


def _print(study: Study, now: Status, as_json: bool) -> None:
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.status_view import print_status

    if as_json:
        click.echo(json.dumps(asdict(now)))
        return
    print_status(console, now)
    for sentence in _closing(study, now):
        console.print(sentence)


def _closing(study: Study, now: Status) -> list[str]:
    """How a study that goes on until its arms are decided ended, or what that will cost."""
    if now.ended is not None:
        return [f"{now.ended[0].upper()}{now.ended[1:]}."]
    if study.spec.compare.until == "decided":
        from tuneoff.search.cli.until import forecast_sentence

        return [forecast_sentence(study.spec, now.repeats, now.outlook)]
    return []


def _reclaim(study: Study) -> None:
    """End what shows no progress, where this user may write and there is space."""
    import sqlalchemy as sa

    from tuneoff.search.errors import SearchError
    from tuneoff.search.store.outages import reason
    from tuneoff.search.work.reclaim import reclaim

    try:
        reclaim(study)
    except (sa.exc.DBAPIError, OSError, SearchError) as error:
        # Whether the database is away, the next reading says. Else this user may look, not write.
        remark(f"Attempts without a worker could not be ended: {reason(error)}")


@click.command()
@options.study_command
@click.option("--undo", is_flag=True, help="Take this back: let workers go on.")
def stop(study: Study, undo: bool) -> None:
    """Have every worker leave once it has finished its trial.

    \b
    Example:
      tuneoff stop digits
    """
    from tuneoff.search.cli.console import console

    study.drain(not undo)
    said = "workers may go on" if undo else "workers leave after their trials"
    console.print(f"{study.name}: {said}.", soft_wrap=True)
