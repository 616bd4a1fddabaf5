"""The trainer's benchmark on a CPU: input, whole epochs, packing, and the wait for a first step.

Both sides take turns on the same images, with one thread each. They are compared by CPU time where
a single thread works: other jobs on the machine disturb it less than wall time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
import trainer_latency
from trainer_data import SIDE, Pictures, repeated, write_folder, write_zip
from trainer_table import Rates, Row, compare, take_turns, times
from trainer_usual import Loaders, Usual, loaders, pack

from tuneoff.trainer import seeding
from tuneoff.trainer.contract import RunSeed, Split
from tuneoff.trainer.data import batches, splits
from tuneoff.trainer.data.load import load
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        per_class: images of each class.
        packed: images in the zip file that is packed.
        rounds: turns of each side.
        passes: epochs that our input pipeline makes in a turn, for one would be too short to time.
    """

    per_class: int
    packed: int
    rounds: int
    passes: int = 10


QUICK, FULL = Size(per_class=40, packed=4000, rounds=3), Size(150, 23_500, rounds=5)


@dataclass(frozen=True)
class Bench:
    """The images, in the form that each side needs.

    Attributes:
        folder: where the benchmark writes; nothing else is in it.
        source: Tiny ImageNet's layout in a folder.
        classes: their number.
        sizes: number of images in "train" and "validation".
        size: how much is measured.
    """

    folder: Path
    source: DataSource
    classes: int
    sizes: Mapping[Split, int]
    size: Size

    @classmethod
    def of(cls, folder: Path, images: Pictures, size: Size) -> Bench:
        source = write_folder(folder / "images", images)
        task = TorchTrainer("cpu", cache=folder / "cache", threads=1).check(Recipe(data=source))
        return cls(folder, source, len(task.classes), task.sizes, size)

    def loaders(self, size: int | None, batch_size: int, workers: int = 0) -> Loaders:
        """The usual trainer's loaders of training and of validation images, see ``loaders``."""
        root = Path(self.source.path or "") / "train"
        return loaders(root, size, batch_size, self.sizes["validation"], workers)


def input_rows(bench: Bench) -> Iterator[Row]:
    """Epochs of batches without any training: with one thread each, and against two workers."""
    ours = our_input(bench)
    found = take_turns({"ours": ours, "usual": usual_input(bench)}, bench.size.rounds)
    yield compare("CPU: input pipeline at 64 px, one thread", found, wanted=15)
    found = take_turns({"ours": ours, "usual": usual_input(bench, workers=2)}, bench.size.rounds)
    yield wall_row("CPU: input pipeline, by wall time, usual with 2 workers", found)


def our_input(bench: Bench) -> Callable[[], int]:
    """A function that makes some epochs of our batches and returns the number of images."""
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
    """A function that makes an epoch of the usual batches and returns the number of images."""
    train, _ = bench.loaders(None, 128, workers)
    return lambda: sum(len(labels) for _, labels in train)


def epoch_row(
    bench: Bench, what: str, model: str, size: int | None, batch_size: int, wanted: float
) -> Iterator[Row]:
    """Whole epochs: training, validation and the checkpoint, all in one thread.

    Args:
        what: names the row.
        model: a name of a recipe's.
        size: side in pixels to which images are scaled; None for their own.
        batch_size: images in a step.
        wanted: the ratio to be reached.
    """
    with sides(bench, model, size, batch_size) as both:
        found = take_turns(both, bench.size.rounds)
    yield compare(what, found, wanted)


@contextmanager
def sides(
    bench: Bench, model: str, size: int | None, batch_size: int, workers: int = 0
) -> Iterator[dict[str, Callable[[], int]]]:
    """Both trainers with a run begun; each call trains an epoch and returns its images."""
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
    """An epoch as the usual trainer is used: two processes load while one thread trains."""
    with sides(bench, "resnet18", None, 128, workers=2) as both:
        found = take_turns(both, 1)
    yield wall_row("CPU: ResNet18 epoch, by wall time, usual with 2 workers", found)


def wall_row(what: str, found: Mapping[str, Rates]) -> Row:
    """A row that compares wall time, with no ratio that is wanted."""
    ours, usual = found["ours"].wall, found["usual"].wall
    return Row(what, f"{median(ours):,.0f}/s", f"{median(usual):,.0f}/s", times(ours, usual))


def packing_row(bench: Bench, images: Pictures) -> Iterator[Row]:
    """From a zip file to one array on disk; ours includes its digest and hashes of all images."""
    path = bench.folder / "packed.zip"
    source = write_zip(path, repeated(images, bench.size.packed))
    array = bench.size.packed * SIDE * SIDE * 3  # bytes

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
    """All rows that need no GPU."""
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
