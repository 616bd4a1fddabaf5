"""The last layer of a model: where it is, and how it begins for the classes at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models.making import HEADS
from tuneoff.trainer.models.registry import IMAGENET_WEIGHTS
from tuneoff.trainer.recipe import Recipe

Head = nn.Linear | nn.Conv2d


def heads(model: nn.Module) -> tuple[Head, ...]:
    """The last layers of a model that ``making.make`` made, which alone know the classes: one, or
    for some of timm's models two."""
    return tuple(cast(Head, model.get_submodule(name)) for name in names(model))


def head(model: nn.Module) -> Head:
    """The last layer of a model; the first one if it has several."""
    return heads(model)[0]


def names(model: nn.Module) -> tuple[str, ...]:
    """The names of the last layers of a model that ``making.make`` made."""
    return cast("tuple[str, ...]", getattr(model, HEADS))


def outputs(layer: Head) -> int:
    """The number of classes of a head."""
    return len(layer.weight)


def begin_anew(model: nn.Module, recipe: Recipe, classes: int, titles: Sequence[str]) -> None:
    """Give the model a head that is initialised at random, from torch's global generator.

    A head that a file of weights brought along stays if it has as many outputs as there are
    classes. ImageNet's classes are never those at hand, so its head always goes.
    """
    if recipe.weights in IMAGENET_WEIGHTS or outputs(head(model)) != classes:
        _replace(model, classes)


def begin_with_imagenet(
    model: nn.Module, recipe: Recipe, classes: int, titles: Sequence[str]
) -> None:
    """Give the model a head whose rows are those of the ImageNet classes of the same names.

    Raises:
        ModelError: as ``imagenet_rows``.
    """
    before = heads(model)
    if (count := outputs(before[0])) != len(_categories()):
        raise ModelError(
            f'head = "imagenet" needs weights of ImageNet\'s {len(_categories()):,} classes, but '
            f'{recipe.weights} has {count}; set head = "new"'
        )
    rows = imagenet_rows(titles)
    _replace(model, len(rows))
    with torch.no_grad():
        for old, new in zip(before, heads(model), strict=True):
            new.weight.copy_(old.weight[rows])
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias[rows])


def imagenet_rows(titles: Sequence[str]) -> list[int]:
    """For each class, the number of the ImageNet class that has its name.

    Args:
        titles: names of the classes, each one or several with commas between, as in WordNet's
            "goldfish, Carassius auratus".

    Raises:
        ModelError: no ImageNet class has a class's name, or several have.
    """
    categories: dict[str, list[int]] = {}
    for row, category in enumerate(_categories()):
        categories.setdefault(category, []).append(row)
    folded: dict[str, list[int]] = {}
    for category, of in categories.items():
        folded.setdefault(category.lower(), []).extend(of)
    rows = []
    for title in titles:
        names = [part.strip() for part in title.split(",")]
        # Case counts first, because to ImageNet "Cardigan" is a dog and "cardigan" a garment.
        matches = [categories.get(name) for name in names]
        matches += [folded.get(name.lower()) for name in names]
        found = next(filter(None, matches), [])
        if len(found) != 1:
            classes = f"{len(found)} ImageNet classes" if found else "no ImageNet class"
            raise ModelError(f'class "{title}" has {classes} of its name; set head = "new"')
        rows += found
    return rows


def _categories() -> Sequence[str]:
    """The names of ImageNet's classes, in the order that all published weights have."""
    from torchvision.models import get_weight

    return cast(Sequence[str], get_weight("ResNet18_Weights.IMAGENET1K_V1").meta["categories"])


def _replace(model: nn.Module, classes: int) -> None:
    for name in names(model):
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, _like(model.get_submodule(name), classes))


def _like(old: nn.Module, classes: int) -> Head:
    """A layer in the place of another one, initialised at random."""
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, classes, bias=old.bias is not None)
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(old.in_channels, classes, kernel_size=1, bias=old.bias is not None)
    # As torchvision's SqueezeNet begins. Its outputs pass a ReLU: with larger weights at random
    # those of some classes would be zero for most images, and hardly learn.
    nn.init.normal_(new.weight, std=0.01)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new
