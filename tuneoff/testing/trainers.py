"""A trainer that trains nothing, and what every trainer must do."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tuneoff.files import replacing
from tuneoff.trainer.contract import (
    EpochRecord,
    Predictions,
    RunSeed,
    Scores,
    Split,
    Task,
    Tick,
    Trainer,
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
                raise Diverged(epoch)
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
        if newest is None:
            raise CheckpointError(f"{checkpoints} has no checkpoint; train it first")
        error = json.loads(newest.read_text(encoding="utf-8"))["records"][-1]["validation_error"]
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
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores]
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


class TrainerConformance:
    """What the search relies on in a trainer.

    A run of ``recipe`` must not diverge. Give it two epochs or more.
    """

    recipe = Recipe(epochs=3)
    params = HyperParams(lr=0.03)

    def make_trainer(self, tmp_path: Path) -> Trainer:
        """A trainer, as a new process would have it; called several times in a test."""
        raise NotImplementedError

    def test_it_says_what_it_runs_on(self, tmp_path: Path) -> None:
        about = self.make_trainer(tmp_path).describe()
        assert about["device"]
        assert all(isinstance(v, str) for pair in about.items() for v in pair)

    def test_a_resolved_recipe_is_resolved(self, tmp_path: Path) -> None:
        trainer = self.make_trainer(tmp_path)
        resolved = trainer.resolve(self.recipe)
        assert resolved.precision != "auto"
        assert trainer.resolve(resolved) == resolved

    def test_the_task_is_the_same_when_it_is_asked_again(self, tmp_path: Path) -> None:
        one = self.make_trainer(tmp_path).check(self.recipe)
        other = self.make_trainer(tmp_path).check(self.recipe)
        assert one == other
        assert len(one.classes) >= 2
        assert one.sizes["train"] > 0
        assert one.sizes["validation"] > 0

    def test_every_epoch_comes_once_in_order(self, tmp_path: Path) -> None:
        records = self._train(tmp_path, "run")
        assert [record.epoch for record in records] == list(range(1, self.recipe.epochs + 1))
        assert not any(record.replayed for record in records)
        assert all(0 <= record.validation_error <= 1 for record in records)
        assert all(record.seconds >= 0 for record in records)

    def test_equal_seeds_give_equal_runs(self, tmp_path: Path) -> None:
        assert _results(self._train(tmp_path, "one")) == _results(self._train(tmp_path, "other"))

    def test_a_run_that_was_closed_goes_on(self, tmp_path: Path) -> None:
        whole = self._train(tmp_path, "whole")
        trainer = self.make_trainer(tmp_path)
        run = self._run(trainer, tmp_path / "closed", lambda: False)
        next(run)
        run.close()
        again = self._train(tmp_path, "closed")
        assert again[0].replayed
        assert not any(record.replayed for record in again[1:])
        assert _results(again) == _results(whole)

    def test_a_run_that_was_stopped_within_an_epoch_goes_on(self, tmp_path: Path) -> None:
        whole = self._train(tmp_path, "whole")
        for stop_at in (1, 2, 5):
            folder = tmp_path / f"stopped-{stop_at}"
            ticks = 0

            def tick(stop_at: int = stop_at) -> bool:
                nonlocal ticks
                ticks += 1
                return ticks >= stop_at

            with suppress(Interrupted):
                list(self._run(self.make_trainer(tmp_path), folder, tick))
            assert self.make_trainer(tmp_path).newest(folder) is not None
            assert _results(self._train(tmp_path, folder.name)) == _results(whole)

    def test_a_finished_run_is_replayed(self, tmp_path: Path) -> None:
        first, again = self._train(tmp_path, "run"), self._train(tmp_path, "run")
        assert all(record.replayed for record in again)
        assert _results(again) == _results(first)

    def test_the_newest_file_alone_is_enough(self, tmp_path: Path) -> None:
        whole = self._train(tmp_path, "whole")
        trainer = self.make_trainer(tmp_path)
        run = self._run(trainer, tmp_path / "here", lambda: False)
        next(run)
        run.close()
        newest = trainer.newest(tmp_path / "here")
        assert newest is not None
        (tmp_path / "there").mkdir()
        shutil.copy(newest, tmp_path / "there")
        again = self._train(tmp_path, "there")
        assert again[0].replayed
        assert _results(again) == _results(whole)

    def test_more_progress_has_another_name(self, tmp_path: Path) -> None:
        trainer, names = self.make_trainer(tmp_path), []
        for _ in self._run(trainer, tmp_path / "run", lambda: False):
            newest = trainer.newest(tmp_path / "run")
            assert newest is not None  # it is there before its epoch is given out
            names.append(newest.name)
        assert len(set(names)) == self.recipe.epochs

    def test_a_checkpoint_of_another_run_is_passed_over(self, tmp_path: Path) -> None:
        self._train(tmp_path, "run")
        other = replace(self.params, lr=self.params.lr / 2)
        trainer = self.make_trainer(tmp_path)
        records = list(
            trainer.train(self.recipe, other, RunSeed(), tmp_path / "run", lambda: False)
        )
        assert not any(record.replayed for record in records)

    def test_what_the_tick_raises_passes_through(self, tmp_path: Path) -> None:
        class Lost(Exception):
            pass

        def tick() -> bool:
            raise Lost

        try:
            list(self._run(self.make_trainer(tmp_path), tmp_path / "run", tick))
        except Lost:
            pass
        else:
            raise AssertionError("the tick was not called, or its error was swallowed")
        assert self.make_trainer(tmp_path).newest(tmp_path / "run") is None

    def test_a_trained_model_is_scored(self, tmp_path: Path) -> None:
        last = self._train(tmp_path, "run")[-1]
        trainer = self.make_trainer(tmp_path)
        task = trainer.check(self.recipe)
        scores = trainer.evaluate(trainer.resolve(self.recipe), tmp_path / "run", "validation")
        assert scores.logits.shape == (task.sizes["validation"], len(task.classes))
        assert abs(scores.error - last.validation_error) < 1.5 / task.sizes["validation"]

    def test_a_model_that_was_not_trained_is_not_scored(self, tmp_path: Path) -> None:
        trainer = self.make_trainer(tmp_path)
        try:
            trainer.evaluate(trainer.resolve(self.recipe), tmp_path / "nothing", "validation")
        except CheckpointError:
            return
        raise AssertionError("a model without a checkpoint was scored")

    def _run(
        self, trainer: Trainer, folder: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        return trainer.train(
            trainer.resolve(self.recipe), self.params, RunSeed(1, 2, 3), folder, tick
        )

    def _train(self, tmp_path: Path, name: str) -> list[EpochRecord]:
        return list(self._run(self.make_trainer(tmp_path), tmp_path / name, lambda: False))


def _results(records: Sequence[EpochRecord]) -> list[tuple[int, float, float]]:
    """What must be equal in equal runs; how long they took need not be."""
    return [(r.epoch, r.train_loss, r.validation_error) for r in records]
