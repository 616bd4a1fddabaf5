"""What a training run is: Recipe, HyperParams and DataSource with their checks, and what each field
affects; no torch import."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Flag, auto
from typing import Any

from tuneoff.trainer.data.registry import DATASETS
from tuneoff.trainer.models.registry import (
    HEADS,
    IMAGENET_WEIGHTS,
    MODELS,
    with_memory_efficient_form,
)
from tuneoff.trainer.registry import PRECISIONS, SCHEDULES, VIEWS

LAYER_DECAY = "layer_decay."


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} = {value!r} is unknown; choose one of: {', '.join(known)}")


def at_least(name: str, value: float, low: float) -> None:
    if not (math.isfinite(value) and value >= low):
        raise ValueError(f"{name} = {value!r} must be a number of at least {low}")


class Affects(Flag):
    """What a field of Recipe or DataSource affects.

    Every field says so in its metadata, and code that depends on some of the fields asks for them
    with ``affected`` instead of listing them:

    * FIT: whether model, weights and data go together. ``Trainer.check`` looks at these fields, and
      a study is checked with both ends of each of their ranges before it begins.
    * RESULT: what is trained. A checkpoint serves only a recipe that agrees in these fields.
    * STEP: the operations of one training step. A step that was captured for one run is replayed
      in another only if the recipes agree in these fields. Those that change nothing but the
      images that a step is given are not among them.
    * MEMORY: the memory of a training step, apart from the number and the size of its images.
    * NOTHING: none of these.
    """

    NOTHING = 0
    FIT = auto()
    RESULT = auto()
    STEP = auto()
    MEMORY = auto()


_NOTHING, _FIT, _RESULT = Affects.NOTHING, Affects.FIT, Affects.RESULT
_STEP, _MEMORY = Affects.STEP, Affects.MEMORY


def _field(default: Any, affects: Affects) -> Any:
    return field(default=default, metadata={"affects": affects})


def affecting(of: type[Recipe | DataSource], what: Affects) -> tuple[str, ...]:
    """The names of the fields that affect ``what``."""
    return tuple(f.name for f in fields(of) if what in f.metadata["affects"])


def affected(of: Recipe | DataSource, what: Affects) -> dict[str, Any]:
    """The fields that affect ``what``, with their values as ``Recipe.to_dict`` gives them.

    Of the images, if they are among these, there are again only the fields that affect it.
    """
    values = {name: getattr(of, name) for name in affecting(type(of), what)}
    return {
        name: affected(value, what) if isinstance(value, DataSource) else deepcopy(value)
        for name, value in values.items()
    }


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

    name: str = _field("digits", _FIT | _RESULT)
    # Not RESULT, because a checkpoint has the digest of the images, which may have been moved.
    path: str | None = _field(None, _FIT)
    image_size: int | None = _field(None, _FIT | _RESULT)
    validation: float = _field(0.1, _FIT | _RESULT)
    split_seed: int = _field(0, _FIT | _RESULT)
    corrupt: str = _field("refuse", _FIT | _RESULT)
    duplicates: str = _field("keep", _FIT | _RESULT)

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

    Options are off by default, as in the paper, whose recipes are in ``presets.PRESETS``.

    Attributes:
        data: the images.
        model: a name from ``models.registry.MODELS``.
        weights: "none" (random initialisation), "imagenet" (torchvision's V1 weights, as in the
            paper), "imagenet-v2" (its later ones, of ResNet50 and deeper) or the path of a
            state-dict file.
        head: with ImageNet weights: "new" (the paper's: initialised at random) or "imagenet"
            (each class starts from the row of the ImageNet class of its name).
        memory_efficient: DenseNet: compute the dense layers again in the backward pass instead
            of keeping them (Pleiss et al. 2017).
        epochs: passes over the training images.
        frozen_epochs: epochs, at the start, in which only the head is trained; the other layers'
            batch normalisation then uses its statistics without updating them. With as many as
            ``epochs`` this is a linear probe.
        batch_size: images per optimiser step.
        accumulation: parts into which each batch is divided, of at least two images each. The
            device computes one after the other, and their gradients add up to the batch's. Batch
            normalisation takes its statistics from each part by itself.
        halve_on_oom: when memory runs out, double ``accumulation`` and go on from the last
            checkpoint, rather than fail.
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
            by the beginnings of parameters' names, as in {"layer4": 2.0, "fc": 10.0}. Where several
            fit a parameter the longest counts; where none does, its factor is 1.
        clip: largest norm of the gradient of all parameters together; longer ones are scaled down
            to it (Pascanu et al. 2013); 0 for no limit.
        label_smoothing: share of each label that is spread evenly over all classes, 0 to 1
            (Szegedy et al. 2016).
        mixup: alpha of MixUp (Zhang et al. 2018), the share of one image in its mixture with
            another being drawn from Beta(alpha, alpha), for each batch; 0 for none.
        cutmix: alpha of CutMix (Yun et al. 2019), likewise. Where ``mixup`` is set too, each batch
            gets one or the other, with equal probability.
        ema: decay per step of an exponential moving average of weights and statistics, which is
            then evaluated in place of the model (Polyak and Juditsky 1992); 0 for none. After n
            steps the decay is at most (1 + n) / (10 + n), as in TensorFlow, so that the average
            soon forgets the first weights.
        flip: random horizontal flips of training images.
        crop_padding: random crops of training images: stored pixels by which an image is extended
            on each side, by reflection, before a crop of its own size is taken (He et al. 2016,
            section 4.2, extend with zeros); 0 for none.
        start_size: side in pixels of the first epoch's images, as FFCV's ResNets are trained. It
            grows linearly and reaches the full size for the last quarter of the epochs; 0 for the
            full size throughout.
        precision: "fp32", "bf16" (autocast) or "auto" (bf16 where the device computes in it).
        test_view: which versions of each image a trained model is shown when it is scored:
            "plain" (the image), "flip" (its mirror image too) or "ten-crop" (corners and centre,
            mirrored too); the probabilities of all versions are averaged.
    """

    data: DataSource = field(default_factory=DataSource, metadata={"affects": _FIT | _RESULT})
    model: str = _field("proxy", _FIT | _RESULT | _STEP | _MEMORY)
    weights: str = _field("none", _FIT | _RESULT)
    head: str = _field("new", _FIT | _RESULT)
    memory_efficient: bool = _field(False, _FIT | _RESULT | _STEP | _MEMORY)
    epochs: int = _field(9, _RESULT)
    frozen_epochs: int = _field(0, _RESULT)
    batch_size: int = _field(128, _RESULT | _STEP)
    accumulation: int = _field(1, _RESULT | _STEP)
    halve_on_oom: bool = _field(False, _NOTHING)  # each epoch's record says what came of it
    schedule: str = _field("plateau", _RESULT)
    patience: int = _field(2, _RESULT)
    step_epochs: int = _field(3, _RESULT)
    drop: float = _field(0.1, _RESULT)
    warmup_epochs: float = _field(0.0, _RESULT)
    nesterov: bool = _field(False, _RESULT | _STEP)
    decay_norms: bool = _field(True, _RESULT | _STEP)
    layer_decay: Mapping[str, float] = field(
        default_factory=dict, hash=False, metadata={"affects": _FIT | _RESULT | _STEP}
    )
    clip: float = _field(0.0, _RESULT | _STEP)
    label_smoothing: float = _field(0.0, _RESULT | _STEP)
    mixup: float = _field(0.0, _RESULT | _STEP)
    cutmix: float = _field(0.0, _RESULT | _STEP)
    ema: float = _field(0.0, _RESULT | _STEP | _MEMORY)
    flip: bool = _field(True, _RESULT)
    crop_padding: int = _field(0, _FIT | _RESULT)
    start_size: int = _field(0, _FIT | _RESULT)
    # Not RESULT, because "auto" depends on the device, and a run may go on on another.
    precision: str = _field("auto", _STEP | _MEMORY)
    test_view: str = _field("plain", _NOTHING)  # changes what a trained model is shown, not itself

    def __post_init__(self) -> None:
        MODELS.check(self.model)
        HEADS.check(self.head)
        SCHEDULES.check(self.schedule)
        VIEWS.check(self.test_view)
        one_of("precision", self.precision, PRECISIONS)
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
                    f"lower {name} or raise epochs"
                )
        if self.accumulation > 1 and 2 * self.accumulation > self.batch_size:
            raise ValueError(
                f"accumulation = {self.accumulation} divides batches of {self.batch_size} images "
                "into parts of fewer than two; lower accumulation or raise batch_size"
            )
        if not self.weights:
            raise ValueError('weights = "" is empty; write "none", "imagenet" or a file\'s path')
        if HEADS.entry(self.head).needs_imagenet and self.weights not in IMAGENET_WEIGHTS:
            names = " or ".join(f'"{name}"' for name in IMAGENET_WEIGHTS)
            raise ValueError(f'head = "{self.head}" needs weights = {names}')
        if self.memory_efficient and self.model not in with_memory_efficient_form():
            raise ValueError(
                f"memory_efficient = true does nothing for {self.model}; it is for: "
                f"{', '.join(with_memory_efficient_form())}"
            )

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
