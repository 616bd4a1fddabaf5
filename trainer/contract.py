"""The narrow contract between searching and training; no torch import, so that it is cheap.

``search`` knows a trainer only through this module: it hands over a Recipe, HyperParams and a
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
"""A function with which the caller of a trainer follows a run, and can stop it.

The trainer calls it after every batch of training, between batches of validation, and immediately
before it writes a checkpoint. If it returns True, the trainer writes a checkpoint and raises
Interrupted; between batches of validation it returns True in vain, and is asked again after
validation. If it raises an exception, that leaves the trainer unchanged, and nothing more is
written.
"""


@dataclass(frozen=True, slots=True)
class RunSeed:
    """Names a run's random streams; runs with equal seeds are equal.

    Attributes:
        study: the study's seed.
        trial: the trial's number.
        replica: the repeat, or the number of this one among runs that are equal otherwise.
    """

    study: int = 0
    trial: int = 0
    replica: int = 0

    def __post_init__(self) -> None:
        for name in ("study", "trial", "replica"):
            at_least(name, getattr(self, name), 0)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """The results of one epoch of training.

    Attributes:
        epoch: 1-based number of the epoch that ended.
        train_loss: the loss without weight decay, mean over the epoch's images, nats: cross
            entropy, with smoothed labels and mixed images where the recipe asks for them.
        validation_loss: mean cross entropy on the validation split, nats.
        validation_error: top-1 error on the validation split, 0 to 1.
        lr: learning rate of the epoch's last step.
        seconds: wall time of the epoch with its evaluation.
        accumulation: parts into which each batch was divided: more than in the recipe if memory
            did not suffice, see ``Recipe.halve_on_oom``.
        replayed: True if an earlier, interrupted call trained this epoch, and its record was read
            from a checkpoint.
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
        groups: sets of two or more images that are equal.
        crossing: sets with images in several splits, before any is dropped.
        conflicting: sets with images of several labels.
        dropped: images left out by ``DataSource.duplicates = "drop"``.
    """

    groups: int
    crossing: int
    conflicting: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Task:
    """The task that a recipe's data set a model.

    Attributes:
        classes: names of the classes, in label order.
        sizes: number of images in each split; "test" is 0 where there is none.
        digest: SHA-256 of the packed images and labels, hexadecimal.
        duplicates: None if they were not counted.
    """

    classes: tuple[str, ...]
    sizes: Mapping[Split, int]
    digest: str
    duplicates: Duplicates | None = None

    @property
    def chance_error(self) -> float:
        """Top-1 error of guessing, 0 to 1; a run that diverges is given this error."""
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
                f"logits of shape {self.logits.shape} and labels of shape {self.labels.shape} do "
                "not go together; logits need a row for each label"
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
    """The protocol by which ``search`` uses a trainer."""

    def describe(self) -> Mapping[str, str]:
        """Device, threads and library versions of this trainer, which are stored with results."""

    def resolve(self, recipe: Recipe) -> Recipe:
        """The recipe with every "auto" replaced by what that is on this trainer's device."""

    def check(self, recipe: Recipe) -> Task:
        """Prepare the data, make sure that the model can be built with its weights, and describe
        the task. Cheap when called again.

        Raises:
            DataError, ModelError: the message is one line that says what is wrong and what to do.
        """

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """One run, epoch by epoch, resumed from the newest good checkpoint in ``checkpoints``.

        Epochs that an earlier call trained come first, marked ``replayed``. When an epoch is
        yielded, its checkpoint already survives a power cut. Closing the iterator stops the run.

        Raises:
            Diverged: the loss became non-finite.
            Interrupted: ``tick`` returned True; a checkpoint was written, even within an epoch.
            CheckpointError: a checkpoint could not be written.
            DataError, ModelError: as ``check``.
        """

    def newest(self, checkpoints: Path) -> Path | None:
        """The file of the newest checkpoint in a folder; None if there is none.

        A copy of this one file, under the same name in another folder, is enough to go on with the
        run or to evaluate its model. A checkpoint written later in the run has another name.
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
            images: an image, a folder or zip file of images, or Tiny ImageNet, whose official
                test images are then meant. They are scaled to the size of the training images.

        Raises:
            CheckpointError: there is no good checkpoint.
            DataError: there are no images, or one cannot be decoded.
        """

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores]
    ) -> tuple[Scores, tuple[float, ...]]:
        """The ensemble's scores on the test split, and each member's weight.

        Args:
            how: a name from ``registry.COMBINATIONS``, where it says whether the weights depend
                on ``validation`` or are all equal.
            validation: each member's scores on the validation split.
            test: each member's scores on the test split, in the same order.

        Returns:
            Scores whose ``logits`` are log-probabilities, and weights that add up to 1.

        Raises:
            ValueError: the members do not score the same images.
        """
