"""Commands on this machine and its database: the dashboard, and what works here."""

from __future__ import annotations

from pathlib import Path

import click

from tuneoff.search.cli import options
from tuneoff.search.cli.terminal import console
from tuneoff.search.cli.trainers import make_trainer
from tuneoff.search.store.database import open_database
from tuneoff.trainer.recipe import DataSource, Recipe


@click.command()
@options.storage_option
@options.work_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port."
)
def dashboard(storage: str, work: Path, host: str, port: int) -> None:
    """Serve optuna-dashboard on this storage to a browser.

    It has no passwords: whoever reaches it may delete studies. Keep it on 127.0.0.1, and put an
    authenticating proxy before it where others are to see it.

    \b
    Example:
      tuneoff dashboard --port 8080
    """
    from tuneoff.search.cli.dashboard import serve_dashboard

    serve_dashboard(open_database(storage), work / "artifacts", host, port)


@click.command()
@options.storage_option
@options.work_option
def doctor(storage: str, work: Path) -> int:
    """Say what works on this machine, and what to fix.

    This looks at devices, storage, weights, versions and memory. The exit code is 1 if something
    that studies need does not work.

    \b
    Example:
      tuneoff doctor --storage postgresql://me@db/tuneoff
    """
    from tuneoff.search.cli.doctor import examine
    from tuneoff.trainer.models.registry import pretrained
    from tuneoff.trainer.models.weights import imagenet_problem

    trainer = make_trainer(work)
    weights = {model: imagenet_problem(model) for model in pretrained()}
    # As in the paper: images scaled up to 224 pixels, the 200 classes of Tiny ImageNet.
    images = DataSource(image_size=224)
    recipes = {model: Recipe(data=images, model=model) for model in pretrained()}
    batches = {
        model: trainer.largest_batch(recipe, 200, 224, 224) for model, recipe in recipes.items()
    }
    precision = trainer.resolve(next(iter(recipes.values()))).precision
    findings = examine(storage, work, trainer.describe(), weights, batches, precision)
    for finding in findings:
        mark = (
            "[green]ok  [/]" if finding.ok else "[red]FIX [/]" if finding.needed else "[dim]-   [/]"
        )
        console.print(f"{mark} {finding.subject}: {finding.text}", soft_wrap=True, highlight=False)
    return 0 if all(finding.ok or not finding.needed for finding in findings) else 1
