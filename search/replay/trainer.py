"""A trainer that trains nothing: what a run comes to is looked up in a simulated world."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tuneoff.search.replay.world import World
from tuneoff.search.spec.sections import HYPERPARAMS
from tuneoff.search.study.study import FULL_RUN
from tuneoff.trainer.contract import (
    TOP_1,
    AnyRecipe,
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
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import DOTTED, HyperParams, Recipe, dotted

DEVICE = "simulation"


@dataclass
class _Run:
    params: Mapping[str, Any]
    seed: RunSeed
    reached: int = 0


@dataclass
class SimulatedTrainer:
    """Implements ``Trainer``; how far runs have come is kept in memory, and no file is written.

    Attributes:
        names: the searched parameters.
        seconds: that each epoch is said to have taken.
    """

    world: World
    names: Sequence[str]
    task: Task
    seconds: float = 0.0
    _runs: dict[Path, _Run] = field(default_factory=dict, repr=False)

    def describe(self) -> Mapping[str, str]:
        """See ``Trainer.describe``."""
        return {"device": DEVICE}

    def resolve(self, recipe: AnyRecipe) -> AnyRecipe:
        """See ``Trainer.resolve``."""
        if isinstance(recipe, Recipe) and recipe.precision == "auto":
            return replace(recipe, precision="fp32")
        return recipe

    def check(self, recipe: AnyRecipe) -> Task:
        """See ``Trainer.check``."""
        return self.task

    def train(
        self, recipe: AnyRecipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """See ``Trainer.train``; every epoch of full training has the error of its end."""
        searched = searched_params(recipe, params, self.names)
        run = self._runs.setdefault(checkpoints, _Run(searched, seed))
        full = seed.trial >= FULL_RUN
        ends = None if full else self.world.diverges_in(searched, seed)
        for epoch in range(1, recipe.epochs + 1):
            replayed = epoch <= run.reached
            stop = False if replayed else tick()
            if not full and ends is not None and epoch >= min(ends, recipe.epochs):
                raise Diverged(epoch, self.seconds)
            error = (
                self.world.full_error(searched, seed)
                if full
                else self.world.search_error(searched, seed, epoch)
            )
            run.reached = max(run.reached, epoch)
            yield EpochRecord(
                epoch, error, error, error, params.lr, self.seconds, replayed=replayed
            )
            if stop:
                raise Interrupted(epoch)

    def newest(self, checkpoints: Path) -> Path | None:
        """See ``Trainer.newest``: there are no files."""
        return None

    def evaluate(self, recipe: AnyRecipe, checkpoints: Path, split: Split) -> Scores:
        """Scores that have the simulated error; see ``Trainer.evaluate``."""
        run = self._runs.get(checkpoints)
        if run is None or run.reached < recipe.epochs:
            raise CheckpointError(f"{checkpoints} was not simulated to its end")
        of = self.world.test_error if split == "test" else self.world.full_error
        images = max(1, self.task.sizes[split])
        value = of(run.params, run.seed)
        if isinstance(recipe, Recipe) and recipe.metric != "error":
            return Scores(np.zeros((images, 2), np.float32), np.zeros(images, np.int64), value)
        wrong = np.arange(images) < round(value * images)
        return Scores(np.eye(2, dtype=np.float32)[wrong.astype(int)], np.zeros(images, np.int64))

    def predict(self, recipe: AnyRecipe, checkpoints: Path, images: Path) -> Predictions:
        """No part of a simulation."""
        raise NotImplementedError

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
    ) -> tuple[Scores, tuple[float, ...]]:
        """No part of a simulation."""
        raise NotImplementedError


def searched_params(recipe: AnyRecipe, params: HyperParams, names: Sequence[str]) -> dict[str, Any]:
    """The searched parameters of a run, from what its trainer is handed."""
    if isinstance(recipe, OwnTraining):
        return {name: recipe.params[name] for name in names}

    def value(name: str) -> Any:
        if name in HYPERPARAMS:
            return getattr(params, name)
        if name.startswith(tuple(DOTTED)):
            table, key = dotted(name)
            return getattr(recipe, table)[key]
        return getattr(recipe, name)

    return {name: value(name) for name in names}
