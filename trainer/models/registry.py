"""The models and heads by name, with all that the trainer knows of each; no torch import.

A model of torchvision's is added here and nowhere else: checks of study files, ``tuneoff doctor``
and error messages read this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuneoff.registry import Entry, Registry
from tuneoff.trainer.models import stage_tables
from tuneoff.trainer.models.stage_tables import Stages


@dataclass(frozen=True)
class ModelEntry(Entry):
    """A model.

    Its target is called with ``num_classes``, and with ``memory_efficient=True`` where the recipe
    asks for that. It returns a module, initialised at random, that maps float images of shape
    (batch, 3, height, width) to logits of shape (batch, num_classes).

    Attributes:
        head: where the last layer is, an ``nn.Linear`` or a 1 x 1 ``nn.Conv2d``, as
            ``nn.Module.get_submodule`` takes it: "fc" or "classifier.1"; "" where ``making`` finds
            it.
        stages: its parts, from images to classes, for fine-tuning some of them. Without these it
            has two: all that is below the head, and the head.
        imagenet: the ImageNet weights that are published, by what ``Recipe.weights`` calls them;
            each as ``torchvision.models.get_weight`` takes it, or "" where torchvision has none and
            a package does (see ``published.PUBLISHED``).
        takes_any_size: whether it takes images of every size that a DataSource can have. Where it
            may not, a check of the recipe passes an image through it.
        recomputed_norms: how the names of those batch normalisations end that its memory-efficient
            form computes twice in each step; "" if it has no such form.
        cpu_bf16_above: side in pixels up to which it must not train in bf16 on the CPU; 0 if it
            may with images of any size. See ``factory.trains_in_bf16``.
        normalise: how its images are normalised (a name from ``registry.NORMALISATIONS``) where it
            begins at random, and with weights of which nothing else is known.
        padding: likewise how its strided convolutions pad, a name from ``registry.PADDINGS``.
        pads_either_way: whether ``Recipe.padding`` can ask for another padding.
        renamed: "module:function" that gives a state dict with names of another library the names
            of the model's own tensors; "" if there is none.
    """

    head: str = "fc"
    stages: Stages = ()
    imagenet: Mapping[str, str] = field(default_factory=dict)
    takes_any_size: bool = False
    recomputed_norms: str = ""
    cpu_bf16_above: int = 0
    normalise: str = "imagenet"
    padding: str = "symmetric"
    pads_either_way: bool = False
    renamed: str = ""

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of its stages, the head's last."""
        return tuple(stage.name for stage in self.stages) or ("backbone", "head")


# "imagenet" is what the paper (2017) used: V1. torchvision's own default is V2 where there is one.
MODELS: Registry[ModelEntry] = Registry(
    "model",
    {
        "proxy": ModelEntry(
            "tuneoff.trainer.models.proxies:Proxy",
            "three convolutions, 76,000 parameters, for images of 8 to 32 pixels",
            stages=stage_tables.PROXY,
            takes_any_size=True,
        ),
        "proxy-residual": ModelEntry(
            "tuneoff.trainer.models.proxies:ResidualProxy",
            "three residual blocks, 80,000 parameters",
            stages=stage_tables.RESIDUAL_PROXY,
            takes_any_size=True,
        ),
        "proxy-dense": ModelEntry(
            "tuneoff.trainer.models.proxies:DenseProxy",
            "three dense blocks, 80,000 parameters",
            stages=stage_tables.DENSE_PROXY,
            takes_any_size=True,
        ),
        "resnet18": ModelEntry(
            "torchvision.models:resnet18",
            "He et al. 2016, 18 layers, 11.7 million parameters",
            stages=stage_tables.RESNET,
            imagenet={"imagenet": "ResNet18_Weights.IMAGENET1K_V1"},
            cpu_bf16_above=16,
        ),
        "resnet34": ModelEntry(
            "torchvision.models:resnet34",
            "He et al. 2016, 34 layers, 21.8 million parameters",
            stages=stage_tables.RESNET,
            imagenet={"imagenet": "ResNet34_Weights.IMAGENET1K_V1"},
            cpu_bf16_above=16,
        ),
        "resnet50": ModelEntry(
            "torchvision.models:resnet50",
            "He et al. 2016, 50 layers, 25.6 million parameters",
            stages=stage_tables.RESNET,
            imagenet={
                "imagenet": "ResNet50_Weights.IMAGENET1K_V1",
                "imagenet-v2": "ResNet50_Weights.IMAGENET1K_V2",
            },
            cpu_bf16_above=16,
        ),
        "resnet101": ModelEntry(
            "torchvision.models:resnet101",
            "He et al. 2016, 101 layers, 44.5 million parameters",
            stages=stage_tables.RESNET,
            imagenet={
                "imagenet": "ResNet101_Weights.IMAGENET1K_V1",
                "imagenet-v2": "ResNet101_Weights.IMAGENET1K_V2",
            },
            cpu_bf16_above=16,
        ),
        "resnet152": ModelEntry(
            "torchvision.models:resnet152",
            "He et al. 2016, 152 layers, 60.2 million parameters",
            stages=stage_tables.RESNET,
            imagenet={
                "imagenet": "ResNet152_Weights.IMAGENET1K_V1",
                "imagenet-v2": "ResNet152_Weights.IMAGENET1K_V2",
            },
            cpu_bf16_above=16,
        ),
        "densenet121": ModelEntry(
            "torchvision.models:densenet121",
            "Huang et al. 2017, 121 layers, 8.0 million parameters",
            head="classifier",
            stages=stage_tables.DENSENET,
            imagenet={"imagenet": "DenseNet121_Weights.IMAGENET1K_V1"},
            recomputed_norms=".norm1",
        ),
        "squeezenet1_1": ModelEntry(
            "torchvision.models:squeezenet1_1",
            "Iandola et al. 2016, version 1.1, 1.2 million parameters",
            head="classifier.1",
            stages=stage_tables.SQUEEZENET,
            imagenet={"imagenet": "SqueezeNet1_1_Weights.IMAGENET1K_V1"},
        ),
        "mobilenet_v2": ModelEntry(
            "torchvision.models:mobilenet_v2",
            "Sandler et al. 2018, 3.5 million parameters",
            head="classifier.1",
            stages=stage_tables.MOBILENET_V2,
            imagenet={
                "imagenet": "MobileNet_V2_Weights.IMAGENET1K_V1",
                "imagenet-v2": "MobileNet_V2_Weights.IMAGENET1K_V2",
            },
            cpu_bf16_above=16,
            pads_either_way=True,
        ),
        "efficientnet-lite0": ModelEntry(
            "tuneoff.trainer.models.efficientnet_lite:EfficientNetLite",
            "Tan and Le 2019, without squeeze-and-excitation, 4.7 million parameters",
            head="classifier",
            stages=stage_tables.EFFICIENTNET_LITE,
            imagenet={"imagenet": ""},
            cpu_bf16_above=16,
            normalise="half",
            padding="same",
            pads_either_way=True,
            renamed="tuneoff.trainer.models.efficientnet_lite:renamed",
        ),
    },
)

IMAGENET_WEIGHTS: tuple[str, ...] = tuple(
    dict.fromkeys(name for model in MODELS for name in MODELS.entry(model).imagenet)
)
"""Values of ``Recipe.weights`` that stand for published ImageNet weights."""


def pretrained(weights: str = "imagenet") -> tuple[str, ...]:
    """The models for which there are published weights of this name."""
    return tuple(model for model in MODELS if weights in MODELS.entry(model).imagenet)


def padding_either_way() -> tuple[str, ...]:
    """The models that can pad as weights from TensorFlow want it, too."""
    return tuple(model for model in MODELS if MODELS.entry(model).pads_either_way)


def with_memory_efficient_form() -> tuple[str, ...]:
    """The models that have a memory-efficient form."""
    return tuple(model for model in MODELS if MODELS.entry(model).recomputed_norms)


@dataclass(frozen=True)
class HeadEntry(Entry):
    """A way to begin the last layer, where a model has loaded weights.

    Its target takes the model, the recipe, the number of classes and their titles, and changes the
    model in place.

    Attributes:
        needs_imagenet: whether the loaded weights must be ImageNet's.
    """

    needs_imagenet: bool = False


HEADS: Registry[HeadEntry] = Registry(
    "head",
    {
        "new": HeadEntry("tuneoff.trainer.models.heads:begin_anew", "initialised at random"),
        "imagenet": HeadEntry(
            "tuneoff.trainer.models.heads:begin_with_imagenet",
            "each class starts from the row of the ImageNet class of its name",
            needs_imagenet=True,
        ),
    },
)
