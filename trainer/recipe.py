"""What a training run is: Recipe, HyperParams and DataSource with their checks; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from tuneoff.trainer.data.registry import DATASETS

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
SCHEDULES = ("plateau", "cosine", "linear", "step", "constant")
PRECISIONS = ("auto", "fp32", "bf16")
COMBINATIONS = ("paper", "mean", "vote", "weighted", "greedy")
HEADS = ("new", "imagenet")
VIEWS = ("plain", "flip", "ten-crop")

LAYER_DECAY = "layer_decay."


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} = {value!r} is unknown; choose one of: {', '.join(known)}")


def at_least(name: str, value: float, low: float) -> None:
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
        at_least("weight_decay", self.weight_decay, 0)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Which images, at what size, and how they are split.

    Attributes:
        name: a name from ``data.registry.DATASETS``.
        path: zip file or folder, for the data sets that need one.
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
        known = DATASETS.entry(self.name)
        one_of("corrupt", self.corrupt, ("refuse", "skip"))
        one_of("duplicates", self.duplicates, ("keep", "drop"))
        if not 0 < self.validation < 1:
            raise ValueError(f"validation = {self.validation!r} must lie between 0 and 1")
        if self.image_size is not None:
            at_least("image_size", self.image_size, 8)
        if known.needs_path and not self.path:
            fix = f"; `tuneoff data prepare {self.name}` fetches it" if known.remote else ""
            raise ValueError(
                f"path is missing: data {self.name!r} needs a zip file or a folder{fix}"
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
        one_of("model", self.model, MODELS)
        one_of("head", self.head, HEADS)
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("precision", self.precision, PRECISIONS)
        one_of("test_view", self.test_view, VIEWS)
        for name in ("epochs", "batch_size", "accumulation", "patience", "step_epochs"):
            at_least(name, getattr(self, name), 1)
        for name in ("frozen_epochs", "warmup_epochs", "clip", "mixup", "cutmix", "crop_padding"):
            at_least(name, getattr(self, name), 0)
        for name, factor in self.layer_decay.items():
            at_least(f"layer_decay.{name}", factor, 0)
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise ValueError(f"{name} = {value!r} must be at least 0 and below 1")
        if not 0 < self.drop < 1:
            raise ValueError(f"drop = {self.drop!r} must lie between 0 and 1")
        if self.start_size:
            at_least("start_size", self.start_size, 8)
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
