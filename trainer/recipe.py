"""What a training run is: Recipe, HyperParams and DataSource with their checks; no torch import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from tuneoff import references
from tuneoff.trainer import fine_tuning, model_choice, optimizer_choice
from tuneoff.trainer.affects import Affects
from tuneoff.trainer.affects import recipe_field as _field
from tuneoff.trainer.data import registry as data_sets
from tuneoff.trainer.limits import at_least, numbers, one_of, plain
from tuneoff.trainer.model_choice import AUTO
from tuneoff.trainer.registry import LOSSES, METRICS, PRECISIONS, SCHEDULES, STORED_AS, VIEWS

LAYER_DECAY = "layer_decay."
DOTTED: Mapping[str, str] = {
    LAYER_DECAY: "layer_decay",
    "model_options.": "model_options",
    "optimizer_options.": "optimizer_options",
    "loss_options.": "loss_options",
}
"""The fields that are tables, each by how the names of its values begin that can be changed, or
searched, one by one."""

_NOTHING, _FIT, _RESULT = Affects.NOTHING, Affects.FIT, Affects.RESULT
_STEP, _MEMORY = Affects.STEP, Affects.MEMORY


def dotted(name: str) -> tuple[str, str]:
    """The field, and the key in it, that a dotted name means (KeyError if it means none):
    ("layer_decay", "layer1.0") for "layer_decay.layer1.0"."""
    for beginning, table in DOTTED.items():
        if name.startswith(beginning):
            return table, name.removeprefix(beginning)
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class HyperParams:
    """The optimiser's numbers; what they mean in each is in ``optimizer_choice.OPTIMIZERS``.

    Defaults are the paper's (section 3.3).

    Attributes:
        lr: initial learning rate, > 0.
        momentum: of the optimisers that have one, sgd and rmsprop, 0 <= momentum < 1.
        weight_decay: L2 strength, >= 0; see ``optim.optimizer``.
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        numbers(self)
        if not self.lr > 0:
            raise ValueError(f"lr = {self.lr!r} must be a number above 0")
        at_least("lr", self.lr, 0)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum = {self.momentum!r} must be at least 0 and below 1")
        at_least("weight_decay", self.weight_decay, 0)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Which images, at what size, and how they are split.

    Attributes:
        name: a name from ``data.registry.DATASETS``, or a reference "module:function" to a function
            of a user's own that returns images and labels (see ``data.sources.given``).
        path: file or folder, for the data sets that need one; a function is given it by this name.
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
        options: further arguments of the function, by name.
    """

    name: str = _field("digits", _FIT | _RESULT)
    # Not RESULT, because a checkpoint has the digest of the images, which may have been moved.
    path: str | None = _field(None, _FIT)
    image_size: int | None = _field(None, _FIT | _RESULT)
    validation: float = _field(0.1, _FIT | _RESULT)
    split_seed: int = _field(0, _FIT | _RESULT)
    corrupt: str = _field("refuse", _FIT | _RESULT)
    duplicates: str = _field("keep", _FIT | _RESULT)
    # As with the path, it is the images that count.
    options: Mapping[str, Any] = field(
        default_factory=dict, hash=False, metadata={"affects": _FIT, "since_0_2": True}
    )

    def __post_init__(self) -> None:
        known = data_sets.entry(self.name)
        numbers(self)
        one_of("corrupt", self.corrupt, ("refuse", "skip"))
        one_of("duplicates", self.duplicates, ("keep", "drop"))
        if not 0 < self.validation < 1:
            raise ValueError(f"validation = {self.validation!r} must lie between 0 and 1")
        if self.image_size is not None:
            at_least("image_size", self.image_size, 8)
        if known.needs_path and not self.path:
            fix = f"; `tuneoff data prepare {self.name}` fetches it" if known.remote else ""
            raise ValueError(f"path is missing: data {self.name!r} needs {known.kind}{fix}")
        if self.options and not references.is_reference(self.name):
            raise ValueError(
                f'options are for a data set by reference, as "mydata:load"; {self.name} has none'
            )
        for option, value in self.options.items():
            plain(f"options.{option}", value)
        if "path" in self.options:
            raise ValueError("options.path is data.path; set that")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a training run but its HyperParams and its seed.

    Options are off by default, as in the paper, whose recipes are in ``presets.PRESETS``.

    Attributes:
        data: the images.
        model: a name from ``models.registry.MODELS``, "torchvision:NAME" (any of torchvision's
            classification models), "timm:NAME" (any of timm's, with the extra timm), or
            "module:NAME" (a class or function of your own that takes ``num_classes`` and
            ``model_options`` by name and returns an nn.Module; its last layer, an nn.Linear or a
            1 x 1 nn.Conv2d, is what is replaced for other classes).
        model_options: further arguments of the model, by their names. One is searched as
            "model_options.NAME".
        weights: "none" (random initialisation), "imagenet" (torchvision's V1 weights, as in the
            paper, or where these are not in torch's cache those that an installed package
            brings), "imagenet-v2" (torchvision's later ones) or the path of a state-dict file.
        head: with weights of ImageNet's classes: "new" (the paper's: initialised at random) or
            "imagenet" (each class starts from the row of the ImageNet class of its name).
        normalise: how pixels become the model's input: "imagenet" (by the mean and standard
            deviation of ImageNet's channels), "half" (to -1 to 1), means and deviations ("0.48 0.46
            0.41 / 0.27 0.26 0.28"), or "auto": as the weights were trained if their file is a
            known one, else the model's default: "imagenet" but for efficientnet-lite0 and timm's.
        padding: how convolutions with a stride pad: "symmetric" (as in PyTorch), "same" (as in
            TensorFlow), or "auto", likewise.
        memory_efficient: DenseNet: compute the dense layers again in the backward pass instead
            of keeping them (Pleiss et al. 2017).
        images: how many training images are used, 0 for all of them: a part with the classes'
            proportions, drawn by ``data.split_seed``, so that all runs of a study share it. In a
            study's [trial] it is for the search alone; full training uses all, unless it says so.
        epochs: passes over the training images.
        frozen_epochs: epochs, at the start, in which only the head is trained; the other layers'
            batch normalisation then uses its statistics without updating them. With as many as
            ``epochs`` this is a linear probe.
        frozen_stages: how many of the model's first stages (``models.stage_tables``) stay as they
            are in all epochs: weights and statistics, which batch normalisation uses as in
            evaluation. All but the head's is a linear probe (Yosinski et al. 2014 compare cuts).
        frozen_norms: whether all batch normalisation below the head uses the statistics that came
            with ``weights``, as in evaluation, and leaves them. Its weights and biases train (He et
            al. 2016, appendix A, keep these too).
        unfreeze_every: gradual unfreezing (Howard and Ruder 2018, section 3.3): at first only the
            head trains, and after each so many epochs the next stage below does too, down to those
            that ``frozen_stages`` keeps. With ``frozen_epochs`` the head trains alone for so long,
            and otherwise for as long as between two stages. 0: all stages thaw together.
        head_lr_factor: by what the learning rate is multiplied for the head (the last stage), > 0.
            A head that begins at random can take a higher rate than pretrained layers (10 times in
            Caffe's example, Jia et al. 2014).
        layer_lr_decay: factor, above 0 and at most 1, by which each stage's learning rate is lower
            than that of the stage above: the i-th stage below the head has
            ``lr * layer_lr_decay ** i`` (discriminative fine-tuning, Howard and Ruder 2018, section
            3.1, by layers; by blocks as here in Clark et al. 2020 and Bao et al. 2022).
        l2_sp: strength of an L2 penalty on how far all weights below the head move from those that
            they begin with, in place of weight decay, which is then the head's alone (L2-SP, Li et
            al. 2018; the formula is in ``optim.sgd``); 0 for plain weight decay.
        batch_size: images per optimiser step, at least 2.
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
        optimizer: one of ``optimizer_choice.OPTIMIZERS`` ("sgd", "adamw", "adam", "rmsprop",
            "lion"), or "module:NAME": a torch.optim.Optimizer of your own that takes parameter
            groups, ``lr`` and ``optimizer_options`` by name, and heeds its groups' lr and
            weight_decay. Only sgd and rmsprop have ``HyperParams.momentum``.
        optimizer_options: further arguments of the optimiser, by their names: beta1, beta2 (or
            betas, both in a list), eps and amsgrad of adam and adamw; alpha, eps and centered of
            rmsprop; beta1, beta2 (or betas) of lion; whatever a reference takes. One is searched as
            "optimizer_options.NAME".
        nesterov: of sgd: Nesterov's momentum (Sutskever et al. 2013), as torch.optim.SGD has it.
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
        cache_features: "auto" (where the first stages stay frozen for the whole run and each image
            is shown only as it is or mirrored, their outputs are computed once and kept on disk for
            all runs) or "off" (they are computed anew in each epoch). Results are equal up to
            rounding.
        test_view: which versions of each image a trained model is shown when it is scored:
            "plain" (the image), "flip" (its mirror image too) or "ten-crop" (corners and centre,
            mirrored too); the probabilities of all versions are averaged.
        metric: what a model is judged by on validation and test: a name from ``registry.METRICS``,
            or "module:function" of your own, which takes labels (int64, shape (images,)) and
            probabilities (float64, shape (images, classes)) and returns a number.
        metric_as: how its value becomes the one that is kept, of which lower is better: "value",
            "-value", "1 - value", or "auto": as the metric's name says, "value" for your own. A
            study file says it in [metric].
        loss: what training minimises: "cross-entropy", or "module:function": one of your own that
            takes logits, float tensor of shape (batch, classes), labels, int64 tensor of shape
            (batch,), and ``loss_options`` by name, and returns the mean loss, or each image's. Of
            images that are mixed it is asked for each of both labels. The validation loss that
            is shown is cross entropy always.
        loss_options: further arguments of a loss of your own, by their names. One is searched as
            "loss_options.NAME".
    """

    data: DataSource = field(default_factory=DataSource, metadata={"affects": _FIT | _RESULT})
    model: str = _field("proxy", _FIT | _RESULT | _STEP | _MEMORY)
    model_options: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"affects": _FIT | _RESULT | _STEP | _MEMORY, "since_0_2": True},
    )
    weights: str = _field("none", _FIT | _RESULT)
    head: str = _field("new", _FIT | _RESULT)
    normalise: str = _field(AUTO, _FIT | _RESULT, since_0_2=True)
    padding: str = _field(AUTO, _FIT | _RESULT | _STEP | _MEMORY, since_0_2=True)
    memory_efficient: bool = _field(False, _FIT | _RESULT | _STEP | _MEMORY)
    images: int = _field(0, _FIT | _RESULT, since_0_2=True)
    epochs: int = _field(9, _RESULT)
    frozen_epochs: int = _field(0, _RESULT)
    frozen_stages: int = _field(0, _RESULT | _STEP | _MEMORY, since_0_2=True)
    frozen_norms: bool = _field(False, _RESULT | _STEP, since_0_2=True)
    unfreeze_every: int = _field(0, _RESULT, since_0_2=True)
    head_lr_factor: float = _field(1.0, _RESULT | _STEP, since_0_2=True)
    layer_lr_decay: float = _field(1.0, _RESULT | _STEP, since_0_2=True)
    l2_sp: float = _field(0.0, _RESULT | _STEP | _MEMORY, since_0_2=True)
    batch_size: int = _field(128, _FIT | _RESULT | _STEP)
    accumulation: int = _field(1, _RESULT | _STEP)
    halve_on_oom: bool = _field(False, _NOTHING)  # each epoch's record says what came of it
    schedule: str = _field("plateau", _RESULT)
    patience: int = _field(2, _RESULT)
    step_epochs: int = _field(3, _RESULT)
    drop: float = _field(0.1, _RESULT)
    warmup_epochs: float = _field(0.0, _RESULT)
    optimizer: str = _field("sgd", _FIT | _RESULT | _STEP | _MEMORY, since_0_2=True)
    optimizer_options: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"affects": _FIT | _RESULT | _STEP | _MEMORY, "since_0_2": True},
    )
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
    cache_features: str = _field("auto", _NOTHING)
    test_view: str = _field("plain", _NOTHING)  # changes what a trained model is shown, not itself
    metric: str = _field("error", _FIT | _RESULT, since_0_2=True)
    metric_as: str = _field("auto", _FIT | _RESULT, since_0_2=True)
    loss: str = _field("cross-entropy", _FIT | _RESULT | _STEP, since_0_2=True)
    loss_options: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"affects": _FIT | _RESULT | _STEP, "since_0_2": True},
    )

    def __post_init__(self) -> None:
        numbers(self)
        model_choice.check(self)
        optimizer_choice.check(self.optimizer, self.optimizer_options)
        self._check_loss()
        SCHEDULES.check(self.schedule)
        VIEWS.check(self.test_view)
        one_of("metric_as", self.metric_as, STORED_AS)
        if references.is_reference(self.metric):
            references.check(self.metric, "metric")
        else:
            METRICS.check(self.metric)
        one_of("precision", self.precision, PRECISIONS)
        one_of("cache_features", self.cache_features, ("auto", "off"))
        for name in ("epochs", "batch_size", "accumulation", "patience", "step_epochs"):
            at_least(name, getattr(self, name), 1)
        if self.batch_size == 1:
            raise ValueError("batch_size = 1 cannot train batch normalisation; use 2 or more")
        for name in ("frozen_epochs", "warmup_epochs", "clip", "mixup", "cutmix", "crop_padding"):
            at_least(name, getattr(self, name), 0)
        at_least("images", self.images, 0)
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
        for name in ("frozen_epochs", "unfreeze_every", "warmup_epochs"):
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
        fine_tuning.check(self)

    def _check_loss(self) -> None:
        for name, value in self.loss_options.items():
            plain(f"loss_options.{name}", value)
        if not references.is_reference(self.loss):
            LOSSES.check(self.loss)
            if self.loss_options:
                name = next(iter(self.loss_options))
                raise ValueError(f"loss_options.{name} is not for {self.loss}: it has no options")
        elif self.label_smoothing:
            raise ValueError(
                f"label_smoothing = {self.label_smoothing!r} is for cross-entropy; set it to 0, "
                f"and let {references.check(self.loss, 'loss')} do it"
            )
        else:
            references.check(self.loss, "loss")

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with some fields changed (KeyError for a name that is not a field).

        "layer_decay.PREFIX" changes one of the factors, and so do other names of ``DOTTED``.
        """
        known = {f.name for f in fields(self)}
        values = {name: value for name, value in changes.items() if name in known}
        for name, value in changes.items():
            if name in known:
                continue
            table, key = dotted(name)
            values[table] = {**values.get(table, getattr(self, table)), key: value}
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and TOML; ``from_dict`` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that ``to_dict`` wrote (TypeError or ValueError for anything else)."""
        rest = dict(values)
        return cls(data=DataSource(**rest.pop("data")), **rest)
