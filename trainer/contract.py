"""The narrow contract between searching and training. No torch import, so that it is cheap.

``search`` sees a trainer only through this module: it hands over a Recipe, HyperParams and a
RunSeed, reads EpochRecords, and closes the iterator when it has seen enough.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneoff.trainer.recipe import HyperParams, Recipe, at_least

Split = Literal["train", "validation", "test"]

Tick = Callable[[], bool]
"""Called after every batch, between batches of validation, and immediately before every
checkpoint write.

Returning True asks the trainer to write a checkpoint and raise Interrupted; during validation,
as soon as that is done. What it raises passes through the trainer, which then writes nothing more.
"""


@dataclass(frozen=True, slots=True)
class RunSeed:
    """Names a run's random streams; equal seeds give equal runs.

    Attributes:
        study: the study's seed.
        trial: the trial's number.
        replica: the repeat, or which of several equal runs this is.
    """

    study: int = 0
    trial: int = 0
    replica: int = 0

    def __post_init__(self) -> None:
        for name in ("study", "trial", "replica"):
            at_least(name, getattr(self, name), 0)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch of training came to.

    Attributes:
        epoch: 1-based number of the epoch that ended.
        train_loss: mean over the epoch's images of what is minimised, but for weight decay:
            cross entropy, nats, of smoothed labels and mixed images where the recipe says so.
        validation_loss: mean cross entropy on the validation split, nats.
        validation_error: top-1 error on the validation split, 0 to 1.
        lr: learning rate of the epoch's last step.
        seconds: wall time of the epoch with its evaluation.
        accumulation: parts into which each batch was divided: more than the recipe says where
            memory did not suffice, see ``Recipe.halve_on_oom``.
        replayed: True if this epoch was trained by an earlier, interrupted call and is read
            back from its checkpoint.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_error: float
    lr: float
    seconds: float
    accumulation: int = 1
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Images with the same pixels.

    Attributes:
        groups: sets of two or more of them.
        crossing: of these, how many have images in several splits, before any is dropped.
        conflicting: of these, how many have images with several labels.
        dropped: images left out by ``DataSource.duplicates = "drop"``.
    """

    groups: int
    crossing: int
    conflicting: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Task:
    """What a recipe's data asks of a model.

    Attributes:
        classes: names of the classes, in label order.
        sizes: number of images in each split; "test" is 0 where there is none.
        digest: SHA-256 of the packed images and labels, hexadecimal.
        duplicates: None where nobody has counted them.
    """

    classes: tuple[str, ...]
    sizes: Mapping[Split, int]
    digest: str
    duplicates: Duplicates | None = None

    @property
    def chance_error(self) -> float:
        """Top-1 error of guessing, 0 to 1: what a diverged run is worth."""
        return 1.0 - 1.0 / len(self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A model's outputs on one split.

    Attributes:
        logits: float32 array of shape (images, classes).
        labels: int64 array of shape (images,).
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.labels.shape != self.logits.shape[:1]:
            raise ValueError(
                f"logits of shape {self.logits.shape} and labels of shape {self.labels.shape} "
                "do not belong together"
            )

    @property
    def error(self) -> float:
        """Top-1 error, 0 to 1."""
        return float(np.mean(self.logits.argmax(axis=1) != self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A model's outputs on images without labels.

    Attributes:
        names: the images' file names.
        logits: float32 array of shape (images, classes).
        classes: names of the classes.
    """

    names: tuple[str, ...]
    logits: NDArray[np.float32]
    classes: tuple[str, ...]


class Trainer(Protocol):
    """What ``search`` asks of a trainer."""

    def describe(self) -> Mapping[str, str]:
        """Device, threads and library versions of this trainer, for the record."""

    def resolve(self, recipe: Recipe) -> Recipe:
        """The recipe with every "auto" replaced by what it means on this trainer's device."""

    def check(self, recipe: Recipe) -> Task:
        """Prepare the data, make sure that the model and its weights can be built, and describe
        the task. Cheap when called again.

        Raises:
            DataError, ModelError: with one line that says what is wrong and how to fix it.
        """

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """One run, epoch by epoch, resumed from the newest good checkpoint in ``checkpoints``.

        Epochs done by an earlier call come first, marked ``replayed``. A checkpoint is durable
        before its epoch is yielded. Closing the iterator stops the run.

        Raises:
            Diverged: the loss became non-finite.
            Interrupted: ``tick`` returned True; a checkpoint was written, mid-epoch if need be.
            CheckpointError: a checkpoint could not be written.
            DataError, ModelError: as ``check``.
        """

    def newest(self, checkpoints: Path) -> Path | None:
        """The file of the newest checkpoint in a folder; None if there is none.

        That file alone, under its name in a folder elsewhere, is all that is needed to go on with
        the run or to evaluate its model. One of more progress has another name.
        """

    def evaluate(self, recipe: Recipe, checkpoints: Path, split: Split) -> Scores:
        """The outputs of the newest checkpointed model on a split.

        Raises:
            CheckpointError: there is no good checkpoint.
            DataError: the split is empty.
        """

    def predict(self, recipe: Recipe, checkpoints: Path, images: Path) -> Predictions:
        """The outputs of the newest checkpointed model on images without labels.

        Args:
            recipe: what was trained; its data need not be there.
            checkpoints: the run's folder.
            images: an image, a folder or zip file of images, or Tiny ImageNet, of which these
                are the official test images. Images of another size are fitted to the model's.

        Raises:
            CheckpointError: there is no good checkpoint.
            DataError: there are no images, or one cannot be decoded.
        """

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores]
    ) -> tuple[Scores, tuple[float, ...]]:
        """The ensemble's scores on the test split, and each member's weight.

        Args:
            how: a name from COMBINATIONS. "weighted" and "greedy" choose their weights on
                ``validation``; the others give equal weights.
            validation: each member's scores on the validation split.
            test: each member's scores on the test split, in the same order.

        Returns:
            Scores whose ``logits`` are log-probabilities, and weights that add up to 1.

        Raises:
            ValueError: the members do not score the same images.
        """
