"""The optimiser: SGD, with an L2 strength for each layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import HyperParams, Recipe


def sgd(model: nn.Module, recipe: Recipe, params: HyperParams) -> torch.optim.SGD:
    """SGD with momentum, a parameter group for each strength of L2 regularisation.

    The loss of the paper's eq. 4 is the cross entropy + sum over layers l of lambda_l ||w_l||,
    the norm being squared in all implementations. With torch's convention lambda_l is half of
    ``params.weight_decay * decay_factor(recipe, name, w_l)``: every parameter's factor is 1, those
    of batch normalisation and biases too, unless the recipe says otherwise.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(decay_factor(recipe, name, parameter), []).append(parameter)
    optimizer = torch.optim.SGD(
        [
            {"params": group, "weight_decay": params.weight_decay * factor}
            for factor, group in groups.items()
        ],
        lr=params.lr,
        momentum=params.momentum,
        nesterov=recipe.nesterov and params.momentum > 0,  # without momentum there is no such form
        fused=True,
    )
    # SGD makes a momentum with a parameter's first gradient, and its fused form cannot when some
    # have one already: those of a head, as the rest thaws. Of zeros, the first step is the same.
    for parameter in model.parameters() if params.momentum else ():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def decay_factor(recipe: Recipe, name: str, parameter: Tensor) -> float:
    """By what the weight decay of a parameter is multiplied: by ``recipe.layer_decay``'s longest
    prefix of its name, and by 0 for norms and biases, which have one dimension, if they are not
    to decay."""
    if parameter.ndim < 2 and not recipe.decay_norms:
        return 0.0
    prefixes = [prefix for prefix in recipe.layer_decay if factory.starts_with(name, prefix)]
    return recipe.layer_decay[max(prefixes, key=len)] if prefixes else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Makes ``rate`` the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
