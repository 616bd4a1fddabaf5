"""How long a worker that has trained before takes from asking for a trial to its first step."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import torch
from trainer_table import Row

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import create_study
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import EpochRecord, RunSeed, Tick
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

TRIALS, EPOCHS = 5, 1
WAIT = "from ask to the first step, worker that has trained before"


@dataclass
class Timeline:
    """When things happened in one trial, in seconds of the monotonic clock.

    Attributes:
        asked: the worker began to look for the trial.
        ticks: a batch of training or of validation had ended.
    """

    asked: float
    ticks: list[float] = field(default_factory=list)


class Recorder(TorchTrainer):
    """The trainer, which notes when the worker asked and when each batch ended.

    Attributes:
        trials: in the order in which they were trained.
    """

    def __init__(self, device: str, cache: Path) -> None:
        super().__init__(device, cache=cache, threads=1)
        self.trials: list[Timeline] = []
        self._asked = 0.0

    def stop(self) -> bool:
        """The worker's ``stop``, which it calls right before it looks for a trial: never."""
        self._asked = time.monotonic()
        return False

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """As ``TorchTrainer.train``, with a note of each batch."""
        timeline = Timeline(self._asked)
        self.trials.append(timeline)

        def noted() -> bool:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            timeline.ticks.append(time.monotonic())
            return tick()

        yield from super().train(recipe, params, seed, checkpoints, noted)


def timelines(
    source: DataSource, model: str, device: str, batch_size: int, folder: Path
) -> list[Timeline]:
    """The trials of a random search on SQLite, by the worker's own loop in this process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    values: dict[str, Any] = {
        "name": "latency",
        "repeats": 1,
        "data": {"name": source.name, "path": source.path},
        "trial": {
            "model": model,
            "epochs": EPOCHS,
            "batch_size": batch_size,
            "schedule": "constant",
        },
        "space": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}},
        "budget": {"epochs": TRIALS * EPOCHS},
        "arms": {"random": {"sampler": "random"}},
    }
    with tempfile.TemporaryDirectory(dir=folder) as made:
        recorder = Recorder(device, folder / "cache")
        spec = StudySpec.parse(values, "benchmark")
        database = open_database(f"sqlite:///{made}/tuneoff.db", create=True)
        task = recorder.check(Recipe(source, model))
        study = create_study(database, spec, task, Path(made))
        work(study, study.arms, recorder, Worker.here(device), recorder.stop)
        database.close()
    return recorder.trials


def row(source: DataSource, model: str, device: str, folder: Path, wanted: float) -> Row:
    """The wait of all trials but the worker's first, as a median.

    On the CPU it lasts until the first step begins. On a GPU it lasts until that step ends, since
    the step is short and may have to be compiled first.
    """
    cpu = device == "cpu"
    trials = timelines(source, model, device, 64 if cpu else 128, folder)
    waits = [wait(trial, whole=not cpu) for trial in trials]
    later = median(waits[1:])
    return Row(
        f"{'CPU' if cpu else 'GPU'}: {WAIT}, {model}",
        f"{later:.3f} s (its first trial: {waits[0]:.3f} s)",
        wanted=f"< {wanted:g} s",
        met=later < wanted,
    )


def wait(trial: Timeline, whole: bool) -> float:
    """Seconds from asking to the end of the first step if ``whole``, else to its start.

    Its start is not seen: a step's usual duration is taken off its end.
    """
    steps = [after - before for before, after in itertools.pairwise(trial.ticks)]
    # Validation and saving are among the intervals, but are too few to move the median.
    step = 0.0 if whole else median(steps)
    return trial.ticks[0] - trial.asked - step
