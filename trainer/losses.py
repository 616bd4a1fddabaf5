"""The loss that training minimises: cross entropy, or a function of a user's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tuneoff import references
from tuneoff.messages import first_line
from tuneoff.trainer import own_code
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes logits, float tensor of shape (batch, classes), and labels, int64 tensor of shape (batch,);
returns their mean loss, of shape ()."""


def loss_of(recipe: Recipe) -> Loss:
    """The recipe's loss.

    Raises:
        ModelError: it is a reference to something else than a function, or nobody allowed it.
    """
    if not references.is_reference(recipe.loss):
        return partial(cross_entropy, label_smoothing=recipe.label_smoothing)
    call = own_code.load(recipe.loss, "loss")
    said = f'loss = "{recipe.loss}"'
    if not callable(call):
        raise ModelError(
            f"{said} is no function, but a {type(call).__name__}; name one of logits and labels"
        )
    options = dict(recipe.loss_options)

    def mean(outputs: Tensor, labels: Tensor) -> Tensor:
        found: Any = call(outputs, labels, **options)
        if not isinstance(found, Tensor) or found.shape not in ((), (len(labels),)):
            shape = f" of shape {tuple(found.shape)}" if isinstance(found, Tensor) else ""
            raise ModelError(
                f"{said} returned a {type(found).__name__}{shape}; let it return a tensor with the "
                f"mean loss, of shape (), or with each image's, of shape ({len(labels)},)"
            )
        return found.mean()

    return mean


def check_loss(recipe: Recipe, classes: int) -> None:
    """Make sure that a reference's loss can be computed and has a gradient.

    Raises:
        ModelError: it cannot, or has not, in one line.
    """
    if not references.is_reference(recipe.loss):
        return
    said = f'loss = "{recipe.loss}"'
    call = loss_of(recipe)
    count = max(2, min(classes, 8))
    spread = torch.linspace(-1, 1, count * classes).reshape(count, classes)
    outputs = spread.roll(1, 0).requires_grad_()
    labels = torch.arange(count) % classes
    try:
        found = call(outputs, labels)
        found.backward()
    except ModelError:
        raise
    except Exception as error:
        given = "".join(f", {name}={value!r}" for name, value in recipe.loss_options.items())
        raise ModelError(
            f"{said} fails for logits of shape {(count, classes)} and {count} labels{given} "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error
    gradient = outputs.grad
    if gradient is None or not (torch.isfinite(found) and torch.isfinite(gradient).all()):
        raise ModelError(
            f"{said} is {found.item():g} for ordinary logits (-1 to 1), with a gradient that is "
            "missing or infinite; nothing can be trained with it"
        )
