"""How fast training is, against the usual trainer (``trainer_usual``) on the same machine.

Both sides take turns on the same images, so that other jobs on the machine disturb both alike. A
ratio is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import torch
from rich.console import Console
from trainer_cpu import FULL, QUICK, Bench, cpu_rows
from trainer_data import pictures
from trainer_gpu import CARD, STAND_IN, gpu_rows
from trainer_table import Row, keep, machine, markdown, show

from tuneoff.trainer.errors import TrainerError

RESULTS = Path(__file__).with_name("RESULTS.md")


@click.command()
@click.option("--quick", is_flag=True, help="Fewer images and rounds: less than 3 minutes.")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Tiny ImageNet, a zip file or a folder.  [default: made-up images, or those of "
    "../shared/data if they are there]",
)
@click.option("--device", default="cuda", show_default=True, help="The GPU of the GPU part.")
@click.option("--part", type=click.Choice(["all", "cpu", "gpu"]), default="all", show_default=True)
@click.option("--stand-in", is_flag=True, help="Run the GPU part on the CPU, tiny, to test it.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    default=RESULTS,
    help="The file to which the table is added.  [default: benchmarks/RESULTS.md]",
)
def command(
    quick: bool, data: Path | None, device: str, part: str, stand_in: bool, results: Path
) -> None:
    """How fast training is, against the usual trainer, as one table.

    \b
    Example:
      python benchmarks/trainer.py --quick
    """
    torch.set_num_threads(1)
    console = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 200)
    size = QUICK if quick else FULL
    if not device.startswith("cuda"):
        raise click.BadParameter(
            f"{device!r} is not a GPU; --stand-in runs the GPU part on the CPU, tiny",
            param_hint="--device",
        )
    notes = [f"Machine: {machine(device)}.", "Rates are images a second; medians of turns."]
    rows: list[Row] = []
    try:
        images = pictures(data, size.per_class)
        notes.append(f"Images: {images.about}.")
        with tempfile.TemporaryDirectory(prefix="tuneoff-trainer-") as folder:
            parts: list[Iterator[Row]] = []
            if part != "gpu":
                bench = Bench.of(Path(folder), images, size)
                parts.append(cpu_rows(bench, images))
            if part != "cpu":
                plan = STAND_IN if stand_in else replace(CARD, device=device)
                parts.append(gpu_rows(plan, images, Path(folder)))
            for row in (row for rows_ in parts for row in rows_):
                console.print(" | ".join(row.cells))
                rows.append(row)
    except TrainerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    show(console, rows, notes)
    # Only the names of files are written down: their folders on this machine matter to nobody.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    written = " ".join(["python benchmarks/trainer.py", *words])
    keep(results, markdown(rows, notes, written))


if __name__ == "__main__":
    command()
