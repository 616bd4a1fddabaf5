"""A model as its name says, with the names of its last layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import torch
from torch import nn

from tuneoff.messages import first_line
from tuneoff.trainer import own_code
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import resolve
from tuneoff.trainer.models.registry import MODELS

HEADS = "tuneoff_heads"
"""The attribute of a model that has the names of its last layers, a tuple."""

# A number of classes that no other layer has as its width, a prime.
_UNLIKELY = 997


def make(model: str, classes: int, options: Mapping[str, Any], **more: Any) -> nn.Module:
    """A model with ``classes`` outputs, initialised at random on torch's default device.

    Its last layers are found as those that have as many outputs as classes, for a number of classes
    that no other layer has: an ``nn.Linear`` or a 1 x 1 ``nn.Conv2d``. Most models have one; some
    of timm's have two, whose outputs they average.

    Args:
        model: as ``Recipe.model``.
        classes: number of outputs.
        options: as ``Recipe.model_options``.
        more: further arguments for registered models.

    Raises:
        ModelError: it cannot be made, is no module, or has no such layer.
    """
    made = _made(model, classes, options, more)
    setattr(made, HEADS, head_names(model, options))
    return made


def head_names(model: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a model's last layers (ModelError as ``make``)."""
    entry = resolve.entry(model)
    return (entry.head,) if entry.head else _head_names(model, json.dumps(dict(options)))


def _made(
    model: str, classes: int, options: Mapping[str, Any], more: Mapping[str, Any]
) -> nn.Module:
    try:
        return _make(model, classes, options, more)
    except ModelError:
        if torch.get_default_device().type != "meta" or model in MODELS:
            raise
    # Some models need the values of tensors while they are made, as RegNet does for its widths.
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        return _make(model, classes, options, more).to("meta")


def _make(
    model: str, classes: int, options: Mapping[str, Any], more: Mapping[str, Any]
) -> nn.Module:
    call: Callable[..., Any]
    library = resolve.library_of(model)
    if library is not None:
        name = resolve.split(model)[1]
        call = lambda num_classes, **rest: library.make(name, num_classes, rest)  # noqa: E731
    elif resolve.own(model):
        call = own_code.load(model, "model")
        if not callable(call):
            raise ModelError(
                f'model = "{model}" is no class or function, but a {type(call).__name__}; name one '
                "that returns an nn.Module"
            )
    else:
        call = MODELS.load(resolve.registered(model))
        if not options:
            return cast(nn.Module, call(num_classes=classes, **more))
    try:
        made = call(num_classes=classes, **options, **more)
    except ModelError:
        raise
    except Exception as error:
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        raise ModelError(
            f"{model} cannot be made with num_classes={classes}{given} "
            f"({type(error).__name__}: {first_line(error)}); it has to take these by name"
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{model} returned no nn.Module, but a {type(made).__name__}; let it return the model"
        )
    return made


@lru_cache(maxsize=64)
def _head_names(model: str, options: str) -> tuple[str, ...]:
    given = json.loads(options)
    with torch.device("meta"):
        made = _made(model, _UNLIKELY, given, {})
    names = tuple(
        name
        for name, module in made.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == _UNLIKELY)
        or (
            isinstance(module, nn.Conv2d)
            and module.out_channels == _UNLIKELY
            and module.kernel_size == (1, 1)
        )
    )
    if not names or "" in names:
        raise ModelError(
            f"{model} has no last layer with num_classes outputs; let it have one, an nn.Linear or "
            "a 1 x 1 nn.Conv2d that is made for num_classes"
        )
    return names
