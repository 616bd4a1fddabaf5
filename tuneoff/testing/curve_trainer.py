"""A trainer that trains nothing: its errors are a formula, its checkpoints are real files."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tuneoff.files import replacing
from tuneoff.trainer.contract import (
    TOP_1,
    EpochRecord,
    Judge,
    Predictions,
    RunSeed,
    Scores,
    Split,
    Task,
    Tick,
)
from tuneoff.trainer.errors import CheckpointError, Diverged, Interrupted
from tuneoff.trainer.recipe import HyperParams, Recipe

TEN_CLASSES = Task(
    classes=tuple("0123456789"), sizes={"train": 80, "validation": 20, "test": 30}, digest="d" * 64
)

Hook = Callable[[str, Path, int], None]
"""Called with the name of a point, the run's folder and the epoch (1-based). It may sleep, raise,
or end the process."""


def curve_error(params: HyperParams, seed: RunSeed, epoch: int) -> float:
    """A validation error, 0 to 1, that falls with the epoch; the best rate is 0.03.

    Equal arguments give equal errors; each seed has noise of its own, of up to 0.01.
    """
    miss = math.log10(params.lr / 0.03) ** 2 / 9
    noise = hashlib.sha256(f"{seed} {epoch}".encode()).digest()[0] / 255 * 0.01
    return 0.05 + 0.6 * min(1.0, miss) + 0.25 * math.exp(-epoch / 2) + noise


@dataclass
class CurveTrainer:
    """Implements ``Trainer`` with a formula for the error, and real checkpoints as JSON files.

    Attributes:
        error: validation error of (params, seed, epoch), 0 to 1.
        diverges: does the run with these parameters diverge in this epoch?
        at: called at "epoch" (before one begins), "batch" (before each tick of one), "checkpoint"
            (an epoch has ended, its checkpoint is to be written), "in checkpoint" (any checkpoint
            is written aside), "checkpoint written", and "evaluate SPLIT".
        batches: ticks in an epoch; a run that is stopped between two goes on there.
        seconds: that each epoch is said to have taken.
        task: what the data ask of a model.
        keeps: False to write no checkpoints, so that nothing but the search takes time.
        log: a file that gets a line "FOLDER EPOCH" for each epoch, at the moment when its
            checkpoint is durable or its run diverges: several processes may share it.
        root: FOLDER is relative to it.
        evaluated: (FOLDER, split) of each evaluation.
    """

    error: Callable[[HyperParams, RunSeed, int], float] = curve_error
    diverges: Callable[[HyperParams, int], bool] = lambda params, epoch: False
    at: Hook = lambda point, folder, epoch: None
    batches: int = 1
    seconds: float = 0.5
    task: Task = TEN_CLASSES
    keeps: bool = True
    log: Path | None = None
    root: Path | None = None
    evaluated: list[tuple[str, Split]] = field(default_factory=list)

    def describe(self) -> Mapping[str, str]:
        """See ``Trainer.describe``."""
        return {"device": "cpu", "trainer": "curves"}

    def resolve(self, recipe: Recipe) -> Recipe:
        """See ``Trainer.resolve``."""
        return replace(recipe, precision="fp32") if recipe.precision == "auto" else recipe

    def check(self, recipe: Recipe) -> Task:
        """See ``Trainer.check``."""
        return self.task

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """See ``Trainer.train``."""
        run = json.loads(json.dumps([recipe.to_dict(), asdict(params), asdict(seed)]))
        stored, batch = self.load(checkpoints, run)
        records = [EpochRecord(**record) for record in stored]
        yield from (replace(record, replayed=True) for record in records)

        def save() -> None:
            if self.keeps:
                self.save(checkpoints, run, [asdict(record) for record in records], batch)

        for epoch in range(len(records) + 1, recipe.epochs + 1):
            self.at("epoch", checkpoints, epoch)
            if self.diverges(params, epoch):
                self._enter(checkpoints, epoch)
                raise Diverged(epoch, self.seconds)
            while batch < self.batches:
                self.at("batch", checkpoints, epoch)
                batch += 1
                if tick():
                    tick()
                    save()
                    raise Interrupted(len(records))
            error, batch = self.error(params, seed, epoch), 0
            records.append(EpochRecord(epoch, error, error, error, params.lr, self.seconds))
            stop = tick()
            self.at("checkpoint", checkpoints, epoch)
            save()
            self._enter(checkpoints, epoch)
            self.at("checkpoint written", checkpoints, epoch)
            if stop:
                raise Interrupted(epoch)
            yield records[-1]

    def load(self, folder: Path, run: Any) -> tuple[list[dict[str, Any]], int]:
        """The records and the batches of the next epoch that a run's checkpoint has.

        Args:
            run: what was trained, as plain values; a checkpoint of another run is passed over.
        """
        newest = self.newest(folder)
        saved = json.loads(newest.read_text(encoding="utf-8")) if newest else None
        if saved is None or saved["run"] != run:
            return [], 0
        return saved["records"], saved["batch"]

    def save(self, folder: Path, run: Any, records: list[dict[str, Any]], batch: int) -> None:
        """Write a checkpoint, and remove those before it."""
        folder.mkdir(parents=True, exist_ok=True)
        before = list(folder.glob("[0-9]*.json"))
        path = folder / f"{len(records):06d}-{batch:08d}.json"
        with replacing(path) as file:
            file.write(json.dumps({"run": run, "records": records, "batch": batch}).encode())
            file.flush()
            self.at("in checkpoint", folder, len(records))
        for old in before:
            if old != path:
                old.unlink(missing_ok=True)

    def newest(self, checkpoints: Path) -> Path | None:
        """See ``Trainer.newest``."""
        return max(checkpoints.glob("[0-9]*.json"), default=None)

    def evaluate(self, recipe: Recipe, checkpoints: Path, split: Split) -> Scores:
        """Scores with the error of the checkpoint's last epoch; see ``Trainer.evaluate``."""
        self.at(f"evaluate {split}", checkpoints, 0)
        self.evaluated.append((self._name(checkpoints), split))
        newest = self.newest(checkpoints)
        records = json.loads(newest.read_text(encoding="utf-8"))["records"] if newest else []
        if len(records) < recipe.epochs:
            raise CheckpointError(f"{checkpoints} has no checkpoint of the end; train it first")
        error = records[-1]["validation_error"]
        images, classes = self.task.sizes[split], len(self.task.classes)
        labels = np.arange(images) % classes
        wrong = np.arange(images) < round(error * images)
        logits = np.zeros((images, classes), np.float32)
        logits[np.arange(images), np.where(wrong, (labels + 1) % classes, labels)] = 1
        return Scores(logits, labels)

    def predict(self, recipe: Recipe, checkpoints: Path, images: Path) -> Predictions:
        """Not part of this fake."""
        raise NotImplementedError

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
    ) -> tuple[Scores, tuple[float, ...]]:
        """The mean of the members' outputs, equally weighted."""
        logits = np.mean([scores.logits for scores in test], axis=0)
        return Scores(logits, test[0].labels), (1 / len(test),) * len(test)

    def trained(self) -> Counter[tuple[str, int]]:
        """How often each (FOLDER, epoch) stands in the log."""
        lines = self.log.read_text().splitlines() if self.log and self.log.exists() else []
        pairs = (line.rsplit(" ", 1) for line in lines)
        return Counter((folder, int(epoch)) for folder, epoch in pairs)

    def _enter(self, folder: Path, epoch: int) -> None:
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{self._name(folder)} {epoch}\n")

    def _name(self, folder: Path) -> str:
        return str(folder.relative_to(self.root) if self.root else folder)
