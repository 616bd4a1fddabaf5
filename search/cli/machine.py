"""Commands on this machine and its database: the dashboard, and what works here."""

from __future__ import annotations

from pathlib import Path

import click

from tuneoff.search.cli import options


@click.command()
@options.storage_option
@options.work_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port."
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    envvar="TUNEOFF_ALLOW_HOST",
    show_envvar=True,
    help="Another name that browsers reach it by, as behind a proxy; may be repeated.",
)
def dashboard(storage: str, work: Path, host: str, port: int, names: tuple[str, ...]) -> None:
    """Serve optuna-dashboard on this storage to a browser.

    It has no passwords: whoever reaches it may delete studies. Keep it on 127.0.0.1, and put an
    authenticating proxy before it where others are to see it. Pages of other sites are refused.

    \b
    Example:
      tuneoff dashboard --port 8080
    """
    from tuneoff.search.cli.dashboard import serve_dashboard
    from tuneoff.search.cli.storage import open_storage, patience_of_workers

    database = open_storage(storage, patience=patience_of_workers())
    serve_dashboard(database, work / "artifacts", host, port, names)


@click.command()
@options.storage_option
@options.work_option
@click.option(
    "--full",
    is_flag=True,
    help="Also check pretrained weights, and find the largest batches; takes up to a minute.",
)
def doctor(storage: str, work: Path, full: bool) -> int:
    """Say what works on this machine, and what to fix.

    This looks at devices, versions, storage, artifact stores and disk space. The exit code is 1 if
    something that studies need does not work.

    \b
    Example:
      tuneoff doctor --storage postgresql://me@db/tuneoff
    """
    from tuneoff.search.cli.console import console, styled
    from tuneoff.search.cli.doctor import examine, examine_models
    from tuneoff.search.cli.trainers import our_trainer

    trainer = our_trainer(work)
    findings = examine(storage, work, trainer.describe())
    if full:
        findings += examine_models(trainer)
    marks = {True: styled("FIX ", "red"), False: styled("-   ", "dim")}
    for finding in findings:
        mark = styled("ok  ", "green") if finding.ok else marks[finding.needed]
        console.print(mark, f"{finding.subject}: {finding.text}", soft_wrap=True)
    return 0 if all(finding.ok or not finding.needed for finding in findings) else 1
