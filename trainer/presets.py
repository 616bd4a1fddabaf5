"""The paper's recipes by name; no torch import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
