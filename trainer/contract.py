"""The narrow contract between searching and training; no torch import, so that it is cheap.

``search`` knows a trainer only through this module: it hands over a Recipe, HyperParams and a
RunSeed, reads EpochRecords, and closes the iterator when it has seen enough.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tuneoff.trainer.limits import at_least
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams, Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AnyRecipe = Recipe | OwnTraining
"""What a training run is: of our trainer, or of a user's own code."""

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
        validation_error: top-1 error on the validation split, 0 to 1; or what else the recipe's
            metric is, as ``Recipe.metric_as`` says, so that lower is better.
        lr: learning rate of the epoch's last step; some stages' own are this times their factors
            (``Recipe.head_lr_factor``, ``Recipe.layer_lr_decay``).
        seconds: wall time of the epoch with its evaluation, and with the computing of outputs of
            frozen stages in the run that did that for all others.
        accumulation: parts into which each batch was divided: more than in the recipe if memory
            did not suffice, see ``Recipe.halve_on_oom``.
        replayed: True if an earlier, interrupted call trained this epoch, and its record was read
            from a checkpoint.
        test_error: the same on the test split, where a user's own code reports it; ours is asked
            once, by ``Trainer.evaluate``.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_error: float
    lr: float
    seconds: float
    accumulation: int = 1
    replayed: bool = False
    test_error: float | None = None


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

    Of a user's own code nothing is known but the code: see ``is_own``.

    Attributes:
        classes: names of the classes, in label order; none where the code is the user's own.
        sizes: number of images in each split; "test" is 0 where there is none, and there is no
            split where the code is the user's own.
        digest: SHA-256 of the packed images and labels, or of the user's code, hexadecimal.
        duplicates: None if they were not counted.
        notes: what people should know about the images and the recipe, a line each.
        chance: what guessing comes to, as it is stored (lower is better), where that is not the
            top-1 error of guessing one of ``classes``.
        predicts: False if trained models cannot be asked for predictions, as an ensemble needs.
    """

    classes: tuple[str, ...]
    sizes: Mapping[Split, int]
    digest: str
    duplicates: Duplicates | None = None
    notes: tuple[str, ...] = ()
    chance: float | None = None
    predicts: bool = True

    @classmethod
    def own(cls, digest: str, notes: tuple[str, ...] = (), predicts: bool = False) -> Task:
        """What is known of a user's own code.

        Args:
            digest: SHA-256 of the code, hexadecimal.
            notes, predicts: as the attributes.
        """
        return cls((), {}, digest, notes=notes, predicts=predicts)

    @property
    def is_own(self) -> bool:
        """True if the code is a user's own, of whose data nothing is known."""
        return not self.classes

    @property
    def chance_error(self) -> float:
        """The value of guessing, lower is better: its top-1 error, 0 to 1, unless ``chance``."""
        if self.chance is not None:
            return self.chance
        return 1.0 - 1.0 / len(self.classes) if self.classes else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A model's outputs on one split.

    Attributes:
        logits: float32 array of shape (images, classes).
        labels: int64 array of shape (images,).
        value: what they come to, as ``measured`` says, where that is known already: of a
            simulation. None: it is computed.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    value: float | None = None

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.labels.shape != self.logits.shape[:1]:
            raise ValueError(
                f"logits of shape {self.logits.shape} and labels of shape {self.labels.shape} do "
                "not go together; logits need a row for each label"
            )

    @property
    def error(self) -> float:
        """Top-1 error, 0 to 1."""
        return float((self.logits.argmax(axis=1) != self.labels).mean())


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


@dataclass(frozen=True, slots=True)
class Judge:
    """What decides which members of an ensemble count, and how much.

    Attributes:
        recipe: by whose metric they are compared, as by ``measured``. None: by top-1 error.
        worst: the value, as it is stored, at which a member counts for nothing.
    """

    recipe: AnyRecipe | None = None
    worst: float = 1.0

    def value(self, labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
        """What probabilities, (images, classes), come to, as it is stored: lower is better.

        Raises:
            OwnCodeError: as ``measured``.
        """
        from tuneoff.trainer import measures

        if self.recipe is None or isinstance(self.recipe, OwnTraining):
            return measures.error(labels, probabilities)
        return measures.of_probabilities(self.recipe, labels, probabilities)


TOP_1 = Judge()


class Trainer(Protocol):
    """The protocol by which ``search`` uses a trainer.

    A recipe is a Recipe for ours, and an OwnTraining for the trainers of a user's own code; whoever
    makes a trainer for a study makes the one that takes the study's.
    """

    def describe(self) -> Mapping[str, str]:
        """Device, threads and library versions of this trainer, which are stored with results."""

    def resolve(self, recipe: Any) -> Any:
        """The recipe with every "auto" replaced by what that is on this trainer's device."""

    def check(self, recipe: Any) -> Task:
        """Prepare the data, make sure that the model can be built with its weights, and describe
        the task. Cheap when called again.

        Raises:
            DataError, ModelError: the message is one line that says what is wrong and what to do.
        """

    def train(
        self, recipe: Any, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
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

    def evaluate(self, recipe: Any, checkpoints: Path, split: Split) -> Scores:
        """The outputs of a model that was trained to its last epoch, on a split.

        Raises:
            CheckpointError: there is no good checkpoint of the run's last epoch.
            DataError: the split is empty.
        """

    def predict(self, recipe: Any, checkpoints: Path, images: Path) -> Predictions:
        """The outputs of a model that was trained to its last epoch, on images without labels.

        Args:
            recipe: what was trained; its data need not be there.
            checkpoints: the run's folder.
            images: an image, a folder or zip file of images, or Tiny ImageNet, whose official
                test images are then meant. They are scaled to the size of the training images.

        Raises:
            CheckpointError: there is no good checkpoint of the run's last epoch.
            DataError: there are no images, or one cannot be decoded.
        """

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
    ) -> tuple[Scores, tuple[float, ...]]:
        """The ensemble's scores on the test split, and each member's weight.

        Args:
            how: a name from ``registry.COMBINATIONS``, where it says whether the weights depend
                on ``validation`` or are all equal.
            validation: each member's scores on the validation split.
            test: each member's scores on the test split, in the same order.
            judge: by what the weights are chosen, where they depend on ``validation``.

        Returns:
            Scores whose ``logits`` are log-probabilities, and weights that add up to 1.

        Raises:
            ValueError: the members do not score the same images.
            OwnCodeError: as ``measured``.
        """


def measured(recipe: AnyRecipe, scores: Scores) -> float:
    """What scores come to by a recipe's metric, as it is stored: lower is better.

    Of a user's own training it is top-1 error.

    Raises:
        OwnCodeError: the metric is a user's own, and fails or returns no finite number.
    """
    if isinstance(recipe, OwnTraining) or recipe.metric == "error":
        return scores.error
    from tuneoff.trainer import measures  # only where it is wanted, as it needs NumPy

    return measures.measured(recipe, scores)


def recipe_from_dict(values: Mapping[str, Any]) -> AnyRecipe:
    """What ``to_dict`` of a recipe wrote (TypeError or ValueError for anything else)."""
    own = "trainer" in values or "command" in values
    return OwnTraining.from_dict(values) if own else Recipe.from_dict(values)
