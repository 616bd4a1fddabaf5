"""The narrow contract between searching and training. No torch import, so that it is cheap.

``search`` sees a trainer only through this module: it hands over a Recipe, HyperParams and a
RunSeed, reads EpochRecords, and closes the iterator when it has seen enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]

MODELS = (
    "proxy",
    "proxy-residual",
    "proxy-dense",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "densenet121",
)
DATASETS = ("digits", "tiny-imagenet", "folder")
SCHEDULES = ("plateau", "cosine", "linear", "step", "constant")
PRECISIONS = ("auto", "fp32", "bf16")
COMBINATIONS = ("paper", "mean", "vote", "weighted", "greedy")
HEADS = ("new", "imagenet")
VIEWS = ("plain", "flip", "ten-crop")

LAYER_DECAY = "layer_decay."

Tick = Callable[[], bool]
"""Called after every batch, between batches of validation, and immediately before every
checkpoint write.

Returning True asks the trainer to write a checkpoint and raise Interrupted; during validation,
as soon as that is done. What it raises passes through the trainer, which then writes nothing more.
"""


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} = {value!r} is unknown; choose one of: {', '.join(known)}")


def _at_least(name: str, value: float, low: float) -> None:
    if not (math.isfinite(value) and value >= low):
        raise ValueError(f"{name} = {value!r} must be a number of at least {low}")


@dataclass(frozen=True, slots=True)
class HyperParams:
    """The optimiser's numbers: SGD with momentum and L2 weight decay.

    Defaults are the paper's (section 3.3).

    Attributes:
        lr: initial learning rate, > 0.
        momentum: SGD momentum, 0 <= momentum < 1.
        weight_decay: L2 strength, >= 0.
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr = {self.lr!r} must be a number above 0")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum = {self.momentum!r} must be at least 0 and below 1")
        _at_least("weight_decay", self.weight_decay, 0)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Which images, at what size, and how they are split.

    Attributes:
        name: "digits", "tiny-imagenet" or "folder".
        path: zip file or folder; not used for digits.
        image_size: side in pixels to which images are scaled on the device; None keeps the
            stored size.
        validation: share of the training images carved out for validation, stratified by
            class, 0 < validation < 1.
        split_seed: seed of that carving; the same for every run of a study.
        corrupt: "refuse" (DataError that names the image) or "skip" an image that cannot be
            decoded.
        duplicates: images with the same pixels: "keep" them all, or "drop" from train what is
            also in validation or test, or occurs with several labels, and from validation what
            is also in test. What is dropped is in no split; test is never touched.
    """

    name: str = "digits"
    path: str | None = None
    image_size: int | None = None
    validation: float = 0.1
    split_seed: int = 0
    corrupt: str = "refuse"
    duplicates: str = "keep"

    def __post_init__(self) -> None:
        _one_of("name", self.name, DATASETS)
        _one_of("corrupt", self.corrupt, ("refuse", "skip"))
        _one_of("duplicates", self.duplicates, ("keep", "drop"))
        if not 0 < self.validation < 1:
            raise ValueError(f"validation = {self.validation!r} must lie between 0 and 1")
        if self.image_size is not None:
            _at_least("image_size", self.image_size, 8)
        if self.name != "digits" and not self.path:
            mend = "; `tuneoff data prepare tiny-imagenet` fetches it"
            raise ValueError(
                f"path is missing: data {self.name!r} needs a zip file or a folder"
                f"{mend if self.name == 'tiny-imagenet' else ''}"
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a training run but its HyperParams and its seed.

    The defaults of what is optional are the paper's: off. ``PRESETS`` has the paper's recipes.

    Attributes:
        data: the images.
        model: a name from MODELS.
        weights: "none" (random initialisation), "imagenet" (torchvision's V1 weights, as in the
            paper), "imagenet-v2" (its later ones, of ResNet50 and deeper) or the path of a
            state-dict file.
        head: with ImageNet weights: "new" (the paper's: initialised at random) or "imagenet"
            (each class starts from the row of the ImageNet class of its name).
        memory_efficient: DenseNet: compute the dense layers again in the backward pass instead
            of keeping them (Pleiss et al. 2017).
        epochs: passes over the training images.
        frozen_epochs: epochs, at the start, in which only the head is trained; the rest is as in
            evaluation. As many as ``epochs``: a linear probe.
        batch_size: images per optimiser step.
        accumulation: parts, of two images or more, into which each batch is divided, one after the
            other on the device; their gradients add up to the batch's. Batch normalisation sees
            each part by itself.
        halve_on_oom: where memory does not suffice, double ``accumulation`` and go on from the
            last checkpoint, rather than fail.
        schedule: "plateau" (the paper's: divide the rate by 10 when the validation error
            stalls), "cosine" or "linear" (to zero), "step" (divide by 10 every
            ``step_epochs``) or "constant".
        patience: plateau: epochs without improvement before a drop.
        step_epochs: step: epochs between drops.
        drop: factor by which plateau and step multiply the rate.
        warmup_epochs: epochs (may be fractional) of linear warm-up, before any schedule (Goyal et
            al. 2017).
        nesterov: Nesterov's momentum (Sutskever et al. 2013), as torch.optim.SGD has it.
        decay_norms: whether weight decay is for normalisation layers and biases too.
        layer_decay: the paper's eq. 4, an L2 strength for each layer: factors of ``weight_decay``,
            by the beginnings of parameters' names, as in {"layer4": 2.0, "fc": 10.0}. The longest
            that fits counts; what none fits has 1.
        clip: largest norm of the gradient of all parameters together; longer ones are scaled down
            to it (Pascanu et al. 2013); 0 for no limit.
        label_smoothing: share of each label that is spread evenly over all classes, 0 to 1
            (Szegedy et al. 2016).
        mixup: alpha of MixUp (Zhang et al. 2018), the share of one image in its mixture with
            another being drawn from Beta(alpha, alpha), for each batch; 0 for none.
        cutmix: alpha of CutMix (Yun et al. 2019), likewise; with ``mixup`` too, each batch has one
            or the other, with equal chances.
        ema: decay per step of an exponential moving average of weights and statistics, which is
            what is evaluated (Polyak and Juditsky 1992); 0 for none. It begins lower, at most
            (1 + steps) / (10 + steps), as TensorFlow's does.
        flip: random horizontal flips of training images.
        crop_padding: random crops of training images: pixels, as stored, by which an image is
            extended on each side, by reflection, before a crop of its own size (He et al. 2016,
            section 4.2, with zeros); 0 for none.
        start_size: side in pixels of the first epoch's images; from there it grows linearly to
            the full size, which the last quarter of the epochs has (low to high resolution, as
            FFCV's ResNets are trained); 0 for the full size throughout.
        precision: "fp32", "bf16" (autocast) or "auto" (bf16 where the device computes in it).
        test_view: what of each image is shown for the scores of a trained model: "plain", "flip"
            (also its mirror image) or "ten-crop"; their probabilities are averaged.
    """

    data: DataSource = field(default_factory=DataSource)
    model: str = "proxy"
    weights: str = "none"
    head: str = "new"
    memory_efficient: bool = False
    epochs: int = 9
    frozen_epochs: int = 0
    batch_size: int = 128
    accumulation: int = 1
    halve_on_oom: bool = False
    schedule: str = "plateau"
    patience: int = 2
    step_epochs: int = 3
    drop: float = 0.1
    warmup_epochs: float = 0.0
    nesterov: bool = False
    decay_norms: bool = True
    layer_decay: Mapping[str, float] = field(default_factory=dict, hash=False)
    clip: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    flip: bool = True
    crop_padding: int = 0
    start_size: int = 0
    precision: str = "auto"
    test_view: str = "plain"

    def __post_init__(self) -> None:
        _one_of("model", self.model, MODELS)
        _one_of("head", self.head, HEADS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("test_view", self.test_view, VIEWS)
        for name in ("epochs", "batch_size", "accumulation", "patience", "step_epochs"):
            _at_least(name, getattr(self, name), 1)
        for name in ("frozen_epochs", "warmup_epochs", "clip", "mixup", "cutmix", "crop_padding"):
            _at_least(name, getattr(self, name), 0)
        for name, factor in self.layer_decay.items():
            _at_least(f"layer_decay.{name}", factor, 0)
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise ValueError(f"{name} = {value!r} must be at least 0 and below 1")
        if not 0 < self.drop < 1:
            raise ValueError(f"drop = {self.drop!r} must lie between 0 and 1")
        if self.start_size:
            _at_least("start_size", self.start_size, 8)
        if self.start_size > (self.data.image_size or self.start_size):
            raise ValueError(
                f"start_size = {self.start_size} is larger than image_size = "
                f"{self.data.image_size}, to which it grows; set it lower"
            )
        for name in ("frozen_epochs", "warmup_epochs"):
            if getattr(self, name) > self.epochs:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} is more than epochs = {self.epochs}; "
                    "lower the one or raise the other"
                )
        if self.accumulation > 1 and 2 * self.accumulation > self.batch_size:
            raise ValueError(
                f"accumulation = {self.accumulation} leaves parts of less than two images of "
                f"batch_size = {self.batch_size}; lower the one or raise the other"
            )
        if not self.weights:
            raise ValueError('weights = "" is empty; write "none", "imagenet" or a file\'s path')
        if self.head == "imagenet" and self.weights not in ("imagenet", "imagenet-v2"):
            raise ValueError('head = "imagenet" needs weights = "imagenet" (or "imagenet-v2")')
        if self.memory_efficient and not self.model.startswith("densenet"):
            raise ValueError(f"memory_efficient is for DenseNets; {self.model} has no such form")

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with some fields changed (KeyError for a name that is not a field).

        "layer_decay.PREFIX" changes one of the factors.
        """
        known = {f.name for f in fields(self)}
        values = {name: value for name, value in changes.items() if name in known}
        factors = dict(values.get("layer_decay", self.layer_decay))
        for name in changes:
            if name in known:
                continue
            if not name.startswith(LAYER_DECAY):
                raise KeyError(name)
            factors[name.removeprefix(LAYER_DECAY)] = changes[name]
        return replace(self, **values | {"layer_decay": factors})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and TOML; ``from_dict`` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that ``to_dict`` wrote (TypeError or ValueError for anything else)."""
        rest = dict(values)
        return cls(data=DataSource(**rest.pop("data")), **rest)


def _paper(model: str, epochs: int, batch_size: int) -> Mapping[str, Any]:
    return {
        "model": model,
        "weights": "imagenet",
        "epochs": epochs,
        "batch_size": batch_size,
        "schedule": "plateau",
        "drop": 0.1,
        "flip": True,
        "image_size": 224,
    }


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper-resnet18": _paper("resnet18", 50, 128),
    "paper-resnet34": _paper("resnet34", 10, 64),
    "paper-resnet50": _paper("resnet50", 10, 64),
    "paper-resnet101": _paper("resnet101", 10, 24),
    "paper-resnet152": _paper("resnet152", 10, 24),
    "paper-densenet121": _paper("densenet121", 10, 24),
}
"""The paper's recipes (section 3.3) by name: fields of Recipe, and ``image_size`` of its data. With
the defaults of HyperParams, which are the paper's. It does not say how long a plateau is."""


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
            _at_least(name, getattr(self, name), 0)


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
            DataError, ModelError: with one line that says what is wrong and how to mend it.
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
