"""The last layer of a model: where it is, and how it begins for the classes at hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models.registry import IMAGENET_WEIGHTS, MODELS
from tuneoff.trainer.recipe import Recipe


def head(model: nn.Module, name: str) -> nn.Linear:
    """The last layer of a model of this name: the only one that knows the classes."""
    found = model.get_submodule(MODELS.entry(name).head)
    assert isinstance(found, nn.Linear)
    return found


def begin_anew(model: nn.Module, recipe: Recipe, classes: int, titles: Sequence[str]) -> None:
    """Give the model a head that is initialised at random, from torch's global generator.

    A head that a file of weights brought along stays if it has as many outputs as there are
    classes. ImageNet's classes are never those at hand, so its head always goes.
    """
    outputs = head(model, recipe.model).out_features
    if recipe.weights in IMAGENET_WEIGHTS or outputs != classes:
        _replace(model, recipe.model, classes)


def begin_with_imagenet(
    model: nn.Module, recipe: Recipe, classes: int, titles: Sequence[str]
) -> None:
    """Give the model a head whose rows are those of the ImageNet classes of the same names.

    Raises:
        ModelError: as ``imagenet_rows``.
    """
    rows = imagenet_rows(recipe, titles)
    old = head(model, recipe.model)
    _replace(model, recipe.model, len(rows))
    new = head(model, recipe.model)
    with torch.no_grad():
        new.weight.copy_(old.weight[rows])
        new.bias.copy_(old.bias[rows])


def imagenet_rows(recipe: Recipe, titles: Sequence[str]) -> list[int]:
    """For each class, the number of the ImageNet class that has its name.

    Args:
        recipe: gives the weights, which come with the names of ImageNet's 1,000 classes.
        titles: names of the classes, each one or several with commas between, as in WordNet's
            "goldfish, Carassius auratus".

    Raises:
        ModelError: no ImageNet class has a class's name, or several have.
    """
    from torchvision.models import get_weight

    weights = MODELS.entry(recipe.model).imagenet.get(recipe.weights, "")
    categories: dict[str, list[int]] = {}
    for row, category in enumerate(get_weight(weights).meta["categories"] if weights else ()):
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


def _replace(model: nn.Module, name: str, classes: int) -> None:
    parent, _, attribute = MODELS.entry(name).head.rpartition(".")
    new = nn.Linear(head(model, name).in_features, classes)
    setattr(model.get_submodule(parent), attribute, new)
