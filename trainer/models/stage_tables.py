"""The stages of each family of models, from images to classes; no torch import.

A stage maps what the one before it puts out to what the next one takes. The last stage is the
head's. It begins as late as it can, after pooling, so that its input is small; dropout, which
differs from step to step, belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A part of a model.

    Attributes:
        name: as messages and documents call it.
        steps: what it does, in order: modules, as ``nn.Module.get_submodule`` takes them, and
            operations that stand in the model's own code, as ``stages.OPERATIONS`` names them.
    """

    name: str
    steps: tuple[str, ...]


Stages = tuple[Stage, ...]


def _stages(**steps: str) -> Stages:
    return tuple(Stage(name, tuple(text.split())) for name, text in steps.items())


def _span(first: int, last: int, within: str = "features") -> str:
    return " ".join(f"{within}.{i}" for i in range(first, last + 1))


PROXY = _stages(
    conv1=_span(0, 2),
    conv2=_span(3, 5),
    conv3=f"{_span(6, 7)} +mean",
    head="fc",
)
RESIDUAL_PROXY = _stages(
    stem=_span(0, 1),
    block1="features.2",
    block2="features.3",
    block3="features.4 +mean",
    head="fc",
)
DENSE_PROXY = _stages(
    block1=_span(0, 5),
    block2=_span(6, 11),
    block3=f"{_span(12, 16)} +mean",
    head="fc",
)
RESNET = _stages(
    stem="conv1 bn1 relu maxpool",
    layer1="layer1",
    layer2="layer2",
    layer3="layer3",
    layer4="layer4 avgpool +flatten",
    head="fc",
)
DENSENET = _stages(
    stem="features.conv0 features.norm0 features.relu0 features.pool0",
    block1="features.denseblock1 features.transition1",
    block2="features.denseblock2 features.transition2",
    block3="features.denseblock3 features.transition3",
    block4="features.denseblock4 features.norm5 +relu +mean",
    head="classifier",
)
# One stage for each size of the feature map; the last size, which has half of the layers, has two.
SQUEEZENET = _stages(
    stem=_span(0, 2),
    fires1=_span(3, 5),
    fires2=_span(6, 8),
    fires3=_span(9, 10),
    fires4=_span(11, 12),
    head="classifier +flatten",
)
MOBILENET_V2 = _stages(
    stem=_span(0, 1),
    blocks1=_span(2, 3),
    blocks2=_span(4, 6),
    blocks3=_span(7, 13),
    blocks4=f"{_span(14, 18)} +mean",
    head="classifier",
)
# With the names that timm gives.
EFFICIENTNET_LITE = _stages(
    stem=f"conv_stem bn1 +relu6 {_span(0, 0, 'blocks')}",
    blocks1=_span(1, 1, "blocks"),
    blocks2=_span(2, 2, "blocks"),
    blocks3=_span(3, 4, "blocks"),
    blocks4=f"{_span(5, 6, 'blocks')} conv_head bn2 +relu6 +mean",
    head="dropout classifier",
)
