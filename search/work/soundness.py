"""Whether a study's training is fit for a search: it repeats, it resumes, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneoff.metric import Metric
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.study.judging import full_trainings
from tuneoff.search.work.scoring import as_stored
from tuneoff.trainer.contract import AnyRecipe, EpochRecord, RunSeed, Trainer
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

LOOKED_AT = 2
"""Epochs of the run that is examined, if it has so many: it is stopped after the first."""


@dataclass(frozen=True)
class Soundness:
    """What two runs of one configuration with one seed came to; values are stored ones.

    Attributes:
        params: what played a part of the configuration, the middle of the search space.
        whole: values of the run that was not stopped, by epoch.
        stopped: values of the run that was stopped after its first epoch and begun again.
        resumed: True if the second start went on from what the first had saved; None if the run has
            a single epoch and was not stopped.
        seconds: wall time of each epoch of the first run.
    """

    params: Mapping[str, Any]
    whole: tuple[float, ...]
    stopped: tuple[float, ...]
    resumed: bool | None
    seconds: tuple[float, ...]

    @property
    def repeats(self) -> float:
        """How far the first epochs of the two runs are apart; 0 if the seed decides all."""
        return abs(self.whole[0] - self.stopped[0])

    @property
    def goes_on(self) -> float:
        """How far the runs are apart at the end, one of which was stopped and resumed."""
        return abs(self.whole[-1] - self.stopped[-1])

    @property
    def is_finite(self) -> bool:
        """False if some value is no number, or infinite."""
        return all(map(math.isfinite, (*self.whole, *self.stopped)))

    @property
    def is_sound(self) -> bool:
        """Whether equal runs are equal, and a run that is resumed is the one that was stopped."""
        return self.is_finite and self.repeats == 0 and self.goes_on == 0

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch: of the last one, as the first also prepares what it needs."""
        return self.seconds[-1]


def examine(spec: StudySpec, space: SearchSpace, trainer: Trainer, folder: Path) -> Soundness:
    """Train the middle of the search space twice with one seed, the second time with a stop.

    Args:
        folder: for the checkpoints of both runs; empty.

    Raises:
        TrainerError: as ``Trainer.train``; ``Diverged`` if the middle of the space breaks down,
            ``OwnCodeError`` also for what the file's [metric] cannot be.
    """
    params = middle(space)
    recipe, hyper = space.apply(spec.recipe(), params)
    metric = spec.metric.metric()
    run = _Run(trainer, trainer.resolve(recipe), hyper, RunSeed(spec.seed), metric, folder)
    last = min(LOOKED_AT, recipe.epochs)
    whole = run.until(last, "whole")
    if last > 1:
        run.until(1, "stopped")
    stopped = run.until(last, "stopped")
    return Soundness(
        space.in_effect(params),
        tuple(record.validation_error for record in whole),
        tuple(record.validation_error for record in stopped),
        stopped[0].replayed if last > 1 else None,
        tuple(record.seconds for record in whole),
    )


def middle(space: SearchSpace) -> dict[str, Any]:
    """The middle of each range, on its scale, and the middle one of each list of choices."""
    return space.at([0.5] * len(space.distributions))


@dataclass(frozen=True)
class _Run:
    trainer: Trainer
    recipe: AnyRecipe
    params: HyperParams
    seed: RunSeed
    metric: Metric
    folder: Path

    def until(self, epoch: int, name: str) -> list[EpochRecord]:
        """The records of the epochs up to this one, after which the run is left.

        Args:
            name: of its own folder.
        """
        found = []
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        records = self.trainer.train(self.recipe, self.params, self.seed, folder, lambda: False)
        with closing(records):
            for record in records:
                found.append(as_stored(self.metric, self.recipe, record))
                if record.epoch >= epoch:
                    break
        return found


@dataclass(frozen=True)
class Part:
    """What a part of a study takes.

    Attributes:
        name: "search", "full training", "ensemble" or "longer runs".
        epochs: None for a search whose budget is in seconds.
        seconds: on one worker.
    """

    name: str
    epochs: int | None
    seconds: float


def price(spec: StudySpec, seconds: float, train_images: int = 0) -> list[Part]:
    """What a study takes, part by part.

    Full training is counted as if every arm recommended another configuration in every repeat, and
    the [promote] ``top`` were among them; epochs on more images than the search has take longer
    as there are more.

    Args:
        seconds: that an epoch of a search run takes.
        train_images: that there are; 0 if that is not known.
    """
    budget, searches = spec.budget, len(spec.arms) * spec.repeats
    if budget.epochs is None:
        found = [Part("search", None, searches * (budget.time or 0.0))]
    else:
        of_arms = [arm.takes(budget.epochs, spec.trial.epochs) for arm in spec.arms.values()]
        found = [_part("search", spec.repeats * int(sum(of_arms)), seconds)]

    def later(name: str, count: int, *recipes: AnyRecipe) -> None:
        epochs = [count * recipe.epochs for recipe in recipes]
        times = [_times_the_images(spec, recipe, train_images) for recipe in recipes]
        taken = sum(n * more * seconds for n, more in zip(epochs, times, strict=True))
        found.append(Part(name, sum(epochs), taken))

    if spec.promote is not None:
        picks = {
            (arm, repeat): f"{arm}/{repeat}" for arm in spec.arms for repeat in range(spec.repeats)
        }
        later("full training", full_trainings(spec, picks, picks.values()), spec.full_recipe())
    if members := spec.member_recipes():
        later("ensemble", 1, *members)
    if (horizon := spec.horizon) is not None:
        recipes = [spec.recipe().override(horizon.changes(epochs)) for epochs in horizon.epochs]
        later("longer runs", horizon.configurations * horizon.seeds, *recipes)
    return found


def _part(name: str, epochs: int, seconds: float) -> Part:
    return Part(name, epochs, epochs * seconds)


def _times_the_images(spec: StudySpec, recipe: AnyRecipe, train_images: int) -> float:
    """How many times the images of a search run another training has."""
    if isinstance(recipe, OwnTraining) or spec.is_own or not train_images:
        return 1.0
    ours = min(spec.trial.images or train_images, train_images)
    theirs = min(recipe.images or train_images, train_images)
    return theirs / ours
