"""How fast training is, against the usual trainer (``trainer_usual``) in the same run.

Both sides take turns on the same images, with one thread each, and the ratio is the median over
the rounds of the ratio within a round. CPU time decides where one thread works: it says more than
wall time on a machine that others use.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import click
import torch
import trainer_latency
from rich.console import Console
from trainer_data import Pictures, pictures, repeated, write_folder, write_zip
from trainer_gpu import CARD, STAND_IN, gpu_rows
from trainer_table import (
    Rates,
    Row,
    compare,
    keep,
    machine,
    markdown,
    show,
    take_turns,
    times,
)
from trainer_usual import Usual, loaders, pack

from tuneoff.trainer import seeding
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.data import batches, splits
from tuneoff.trainer.data.load import load
from tuneoff.trainer.errors import TrainerError
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        per_class: images of each class.
        packed: images in the zip file that is packed.
        rounds: turns of each side.
        passes: of our input pipeline over the images in a turn; it is that much faster.
    """

    per_class: int
    packed: int
    rounds: int
    passes: int = 10


QUICK, FULL = Size(per_class=40, packed=4000, rounds=3), Size(150, 23_500, rounds=5)


@dataclass(frozen=True)
class Bench:
    """The images, as both sides want them.

    Attributes:
        folder: for what is written; of this benchmark alone.
        source: Tiny ImageNet's layout in a folder.
        classes: how many there are.
        sizes: images in "train" and "validation".
    """

    folder: Path
    source: DataSource
    classes: int
    sizes: Mapping[str, int]
    size: Size

    @classmethod
    def of(cls, folder: Path, images: Pictures, size: Size) -> Bench:
        source = write_folder(folder / "images", images)
        task = TorchTrainer("cpu", cache=folder / "cache", threads=1).check(Recipe(data=source))
        return cls(folder, source, len(task.classes), task.sizes, size)

    def loaders(self, size: int | None, batch_size: int, workers: int = 0) -> tuple:
        """The usual trainer's loaders of training and of validation images."""
        root = Path(self.source.path or "") / "train"
        return loaders(root, size, batch_size, self.sizes["validation"], workers)


def input_rows(bench: Bench) -> Iterator[Row]:
    """An epoch of batches that nobody trains on: with one thread, and against two workers."""
    ours = our_input(bench)
    found = take_turns({"ours": ours, "usual": usual_input(bench)}, bench.size.rounds)
    yield compare("CPU: input pipeline at 64 px, one thread", found, wanted=15)
    found = take_turns({"ours": ours, "usual": usual_input(bench, workers=2)}, bench.size.rounds)
    yield wall_row("CPU: input pipeline, by wall time, usual with 2 workers", found)


def our_input(bench: Bench) -> Callable[[], int]:
    """Makes some epochs of our batches when called; returns how many images that were."""
    found = load(bench.source, bench.folder / "cache")
    train = splits.split(found, bench.source)["train"]
    data = batches.resident(found, None, torch.device("cpu"))

    def turn() -> int:
        count = 0
        for epoch in range(1, bench.size.passes + 1):
            order = train[seeding.order(RunSeed(), epoch, len(train))]
            flips = seeding.flips(RunSeed(), epoch, len(order))
            for _, labels in batches.training_batches(data, batches.Epoch(order, flips), 128):
                count += len(labels)
        return count

    return turn


def usual_input(bench: Bench, workers: int = 0) -> Callable[[], int]:
    """Makes an epoch of the usual batches when called."""
    train, _ = bench.loaders(None, 128, workers)
    return lambda: sum(len(labels) for _, labels in train)


def epoch_row(
    bench: Bench, what: str, model: str, size: int | None, batch_size: int, wanted: float
) -> Iterator[Row]:
    """Whole epochs: training, validation and the checkpoint; one thread, nobody else loads."""
    with sides(bench, model, size, batch_size) as both:
        found = take_turns(both, bench.size.rounds)
    yield compare(what, found, wanted)


@contextmanager
def sides(
    bench: Bench, model: str, size: int | None, batch_size: int, workers: int = 0
) -> Iterator[dict[str, Callable[[], int]]]:
    """Both trainers in mid-run; to call one is to train an epoch."""
    recipe = Recipe(
        data=replace(bench.source, image_size=size),
        model=model,
        epochs=bench.size.rounds + 1,
        batch_size=batch_size,
        schedule="constant",
    )
    trainer = TorchTrainer("cpu", cache=bench.folder / "cache", threads=1)
    train, validation = bench.loaders(size, batch_size, workers)
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        records = trainer.train(recipe, HyperParams(), RunSeed(), Path(folder), lambda: False)
        usual = Usual(
            model=model,
            classes=bench.classes,
            train=train,
            validation=validation,
            checkpoint=Path(folder, "usual.pt"),
        )

        def ours() -> int:
            next(records)
            return bench.sizes["train"]

        with closing(records):
            yield {"ours": ours, "usual": usual.epoch}


def two_workers_row(bench: Bench) -> Iterator[Row]:
    """As the usual trainer is used: two processes load while one thread trains."""
    with sides(bench, "resnet18", None, 128, workers=2) as both:
        found = take_turns(both, 1)
    yield wall_row("CPU: ResNet18 epoch, by wall time, usual with 2 workers", found)


def wall_row(what: str, found: Mapping[str, Rates]) -> Row:
    """A row for the record, of wall time."""
    ours, usual = found["ours"].wall, found["usual"].wall
    return Row(what, f"{median(ours):,.0f}/s", f"{median(usual):,.0f}/s", times(ours, usual))


def packing_row(bench: Bench, images: Pictures) -> Iterator[Row]:
    """From a zip file to one array on disk; ours with its digest, and read back to check it."""
    path = bench.folder / "packed.zip"
    source = write_zip(path, repeated(images, bench.size.packed))
    array = bench.size.packed * 64 * 64 * 3

    def ours() -> int:
        with tempfile.TemporaryDirectory(dir=bench.folder) as cache:
            return len(load(source, Path(cache)).labels)

    def usual() -> int:
        return pack(path, bench.folder / "usual.npy")

    def disk() -> int:
        path.read_bytes()
        (bench.folder / "disk.npy").write_bytes(bytes(array))
        return bench.size.packed

    found = take_turns({"ours": ours, "usual": usual, "disk": disk}, bench.size.rounds)
    what = f"CPU: packing {bench.size.packed:,} images of a zip, by wall time"
    yield compare(what, found, wanted=3, by="wall")
    yield Row("the disk alone: reading the zip, writing as many bytes", str(found["disk"]))


def cpu_rows(bench: Bench, images: Pictures) -> Iterator[Row]:
    """Everything that needs no GPU."""
    yield from input_rows(bench)
    what = "CPU: ResNet18 epoch at 64 px, batch 128, one thread"
    yield from epoch_row(bench, what, "resnet18", None, 128, wanted=1.8)
    yield from two_workers_row(bench)
    yield from packing_row(bench, images)
    for batch_size in (128, 32):
        what = f"CPU: proxy net epoch at 32 px, batch {batch_size}, one thread"
        yield from epoch_row(bench, what, "proxy", 32, batch_size, wanted=2)
    for model in ("proxy", "resnet18"):
        yield trainer_latency.row(bench.source, model, "cpu", bench.folder, wanted=0.2)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer images and rounds: less than 3 minutes.")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Tiny ImageNet, a zip file or a folder.  [default: the shared one, or made-up images]",
)
@click.option("--device", default="cuda", show_default=True, help="Of the GPU part.")
@click.option("--part", type=click.Choice(["all", "cpu", "gpu"]), default="all", show_default=True)
@click.option("--stand-in", is_flag=True, help="The GPU part on the CPU, tiny: does it run?")
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
        raise click.BadParameter("the GPU part needs a GPU; --stand-in runs it on the CPU, tiny")
    notes = [f"Machine: {machine(device)}.", "Rates are images a second; medians of turns."]
    rows: list[Row] = []
    try:
        images = pictures(data, size.per_class)
        notes.append(f"Images: {images.about}.")
        with tempfile.TemporaryDirectory(prefix="tuneoff-speed-") as folder:
            bench = Bench.of(Path(folder), images, size)
            found: list[Iterator[Row]] = []
            if part != "gpu":
                found.append(cpu_rows(bench, images))
            if part != "cpu":
                plan = STAND_IN if stand_in else replace(CARD, device=device)
                found.append(gpu_rows(plan, images, Path(folder)))
            for row in (row for rows_ in found for row in rows_):
                console.print(" | ".join(row.cells))
                rows.append(row)
    except TrainerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    show(console, rows, notes)
    # Where files lie on this machine is nobody's business.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    written = " ".join(["python benchmarks/trainer.py", *words])
    keep(results, markdown(rows, notes, written))
