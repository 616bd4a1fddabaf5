"""Runs on the kept outputs of frozen stages, and the same runs without them.

::

    python benchmarks/features.py [--data tiny-imagenet-20.zip] [--weights FOLDER] [--images 1000]

For each model, size and cut it trains once without the cache, computes the cache, and trains once
with it, in one process, with one thread. A trial is everything that ``TorchTrainer.train`` does:
the check, the model and its weights, all epochs with their evaluation, all checkpoints.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tuneoff.trainer.contract import EpochRecord, RunSeed
from tuneoff.trainer.models import factory
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

PARAMS = HyperParams(lr=0.003)


@dataclass(frozen=True)
class Timed:
    """A run: its records, and its seconds on the clock and on the processor."""

    records: list[EpochRecord]
    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="Tiny ImageNet's layout; scikit-learn's digits unless given")
    parser.add_argument("--weights", type=Path, help="folder with NAME-imagenet.pth; else random")
    parser.add_argument("--images", type=int, default=1000, help="training images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--models", nargs="+", default=["squeezenet1_1", "mobilenet_v2"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 96])
    parser.add_argument("--trained", nargs="+", type=int, default=[1, 2, 3], help="last stages")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| model | px | frozen | without, s | with, s | times as fast (CPU time) "
        "| cache, MB | made in, s | largest difference of a loss |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as made:
        for model in asked.models:
            for row in measured(asked, model, Path(made)):
                print(row, flush=True)


def measured(asked: argparse.Namespace, model: str, folder: Path) -> Iterator[str]:
    weights = asked.weights / f"{model}-imagenet.pth" if asked.weights else folder / f"{model}.pth"
    if not asked.weights:
        torch.save(factory.build(Recipe(model=model), 1000, seed=0).state_dict(), weights)
    stages = len(MODELS.entry(model).stages)
    for side in asked.sizes:
        data = DataSource(image_size=side)
        if asked.data:
            data = DataSource("tiny-imagenet", asked.data, image_size=side)
        for frozen in [stages - cut for cut in asked.trained]:
            recipe = Recipe(
                data=data,
                model=model,
                weights=str(weights),
                images=asked.images,
                epochs=asked.epochs,
                batch_size=asked.batch,
                frozen_stages=frozen,
                schedule="cosine",
                precision="fp32",
            )
            place = Path(tempfile.mkdtemp(dir=folder))
            trainer = TorchTrainer("cpu", cache=folder / "cache")
            trainer.check(recipe)
            slow = run(trainer, replace(recipe, cache_features="off"), place / "without")
            making = run(trainer, replace(recipe, epochs=1), place / "making")
            fast = run(trainer, recipe, place / "with")
            difference = max(
                abs(getattr(one, name) - getattr(other, name))
                for one, other in zip(slow.records, fast.records, strict=True)
                for name in ("train_loss", "validation_loss")
            )
            kept = max(
                (folder / "cache").glob("frozen-*/features.npy"), key=lambda p: p.stat().st_mtime
            )
            made_in = making.records[0].seconds - fast.records[0].seconds
            yield (
                f"| {model} | {side} | {frozen} of {stages} | {slow.wall:.2f} | {fast.wall:.2f} | "
                f"{slow.wall / fast.wall:.1f} ({slow.cpu / fast.cpu:.1f}) | "
                f"{kept.stat().st_size / 1e6:.0f} | {made_in:.1f} | {difference:.1g} |"
            )


def run(trainer: TorchTrainer, recipe: Recipe, folder: Path) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    records = list(trainer.train(recipe, PARAMS, RunSeed(), folder, lambda: False))
    return Timed(records, time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    main()
