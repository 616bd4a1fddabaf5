"""Three small networks that train in seconds on a CPU, one for each family of large ones."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


def _conv_bn(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Proxy(nn.Module):
    """A plain network of three convolutions, about 76,000 parameters, for images of 8 to 32 px."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # Pooling before the ReLU computes the same function with a quarter of its work.
            *(_conv_bn(3, 32), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
            *(_conv_bn(32, 64), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
            *(_conv_bn(64, 96), nn.ReLU(inplace=True)),
        )
        self.fc = nn.Linear(96, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, num_classes)."""
        return cast(Tensor, self.fc(self.features(images).mean((2, 3))))


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv_bn(inputs, outputs, stride=stride)
        self.second = _conv_bn(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(self.first(x).relu())
        return cast(Tensor, (inner + self.shortcut(x)).relu())


class ResidualProxy(nn.Module):
    """Three residual blocks after He et al. 2016, about 80,000 parameters."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(_conv_bn(3, 16), nn.ReLU(inplace=True)),
            _ResidualBlock(16, 16, 1),
            _ResidualBlock(16, 32, 2),
            _ResidualBlock(32, 60, 2),
        )
        self.fc = nn.Linear(60, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, num_classes)."""
        return cast(Tensor, self.fc(self.features(images).mean((2, 3))))


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.norm(x).relu())], 1)


class DenseProxy(nn.Module):
    """Dense blocks of two, three and three layers after Huang et al. 2017, about 80,000
    parameters."""

    def __init__(self, num_classes: int, growth: int = 16) -> None:
        super().__init__()
        width = 16
        parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False)]
        for layers in (2, 3, 3):
            if len(parts) > 1:
                parts += [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
            for _ in range(layers):
                parts.append(_DenseLayer(width, growth))
                width += growth
        parts += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*parts)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, num_classes)."""
        return cast(Tensor, self.fc(self.features(images).mean((2, 3))))
