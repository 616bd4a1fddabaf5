"""The presets, which are the paper's recipes."""

from __future__ import annotations

import pytest

from tuneoff.trainer.presets import PRESETS
from tuneoff.trainer.recipe import HyperParams, Recipe


@pytest.mark.parametrize(
    ("preset", "model", "epochs", "batch_size"),
    [
        ("paper-resnet18", "resnet18", 50, 128),
        ("paper-resnet34", "resnet34", 10, 64),
        ("paper-resnet50", "resnet50", 10, 64),
        ("paper-resnet101", "resnet101", 10, 24),
        ("paper-resnet152", "resnet152", 10, 24),
        ("paper-densenet121", "densenet121", 10, 24),
    ],
)
def test_presets_are_the_papers(preset: str, model: str, epochs: int, batch_size: int) -> None:
    assert len(PRESETS) == 6
    values = dict(PRESETS[preset])
    assert values.pop("image_size") == 224
    # Whatever a preset does not say is off, or the paper's.
    assert Recipe(**values) == Recipe(
        model=model,
        weights="imagenet",
        epochs=epochs,
        batch_size=batch_size,
        schedule="plateau",
        drop=0.1,
        flip=True,
    )
    assert HyperParams() == HyperParams(lr=0.01, momentum=0.9, weight_decay=1e-4)
