"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, with ReLU6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import relu6

# Tan and Le 2019, table 1: expansion, kernel, stride, channels and layers of each stage. Lite0 has
# the widths and depths of B0, and a stem and a head that are never scaled.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM, _HEAD, _DROPOUT = 32, 1280, 0.2
_EPSILON = 1e-3  # of TensorFlow's batch normalisation


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


def _conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


class _Separable(nn.Module):
    """A block without expansion: depthwise convolution, then a pointwise one."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(inputs, inputs, size, stride, groups=inputs)
        self.bn1 = _norm(inputs)
        self.conv_pw = _conv(inputs, outputs)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        deep = relu6(self.bn1(self.conv_dw(x)), inplace=True)
        return cast(Tensor, self.bn2(self.conv_pw(deep)))


class _Inverted(nn.Module):
    """An inverted residual block (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.conv_pw = _conv(inputs, width)
        self.bn1 = _norm(width)
        self.conv_dw = _conv(width, width, size, stride, groups=width)
        self.bn2 = _norm(width)
        self.conv_pwl = _conv(width, outputs)
        self.bn3 = _norm(outputs)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = relu6(self.bn1(self.conv_pw(x)), inplace=True)
        deep = relu6(self.bn2(self.conv_dw(wide)), inplace=True)
        narrow = cast(Tensor, self.bn3(self.conv_pwl(deep)))
        return x + narrow if self._adds else narrow


class EfficientNetLite(nn.Module):
    """Lite0 for ``num_classes`` classes: 4.7 million parameters with ImageNet's 1,000.

    Names and order of its tensors are those of timm's ``tf_efficientnet_lite0``. Convolutions are
    padded symmetrically here: see ``padding.pad_same`` for what the published weights want.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv_stem = _conv(3, _STEM, 3, 2)
        self.bn1 = _norm(_STEM)
        widths = (_STEM, *(stage[3] for stage in _STAGES))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(*_layers(inputs, outputs, *stage[:3], stage[4]))
                for (inputs, outputs), stage in zip(pairwise(widths), _STAGES, strict=True)
            )
        )
        self.conv_head = _conv(widths[-1], _HEAD)
        self.bn2 = _norm(_HEAD)
        self.dropout = nn.Dropout(_DROPOUT)
        self.classifier = nn.Linear(_HEAD, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as the authors' code does
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, num_classes)."""
        x = self.blocks(relu6(self.bn1(self.conv_stem(images)), inplace=True))
        x = relu6(self.bn2(self.conv_head(x)), inplace=True)
        return cast(Tensor, self.classifier(self.dropout(x.mean((2, 3)))))


def _layers(
    inputs: int, outputs: int, expansion: int, size: int, stride: int, layers: int
) -> list[nn.Module]:
    if expansion == 1:
        return [_Separable(inputs, outputs, size, stride)]
    first = _Inverted(inputs, outputs, size, stride, expansion)
    return [first, *(_Inverted(outputs, outputs, size, 1, expansion) for _ in range(layers - 1))]


# The layers of a block in the package efficientnet_pytorch, and what they are here.
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_BLOCKS = [(stage, layer) for stage, row in enumerate(_STAGES) for layer in range(row[4])]


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names of the package efficientnet_pytorch, with timm's names; any
    other one as it is."""
    return {_own_name(name): tensor for name, tensor in state.items()}


def _own_name(name: str) -> str:
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    if block and int(block[1]) < len(_BLOCKS):
        stage, layer = _BLOCKS[int(block[1])]
        part = (_EXPANDED if stage else _PLAIN).get(block[2], block[2])
        return f"blocks.{stage}.{layer}.{part}.{block[3]}"
    part, _, rest = name.partition(".")
    return f"{_OUTER.get(part, part)}.{rest}" if rest else name
