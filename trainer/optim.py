"""The optimiser: SGD, with an L2 strength for each layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import HyperParams, Recipe


def sgd(model: nn.Module, recipe: Recipe, params: HyperParams) -> torch.optim.SGD:
    """SGD with momentum, with a parameter group for each strength of L2 regularisation.

    The paper's eq. 4 minimises the cross entropy + sum over layers l of lambda_l ||w_l||, with the
    norm squared, as in all implementations. In torch's convention lambda_l is half of
    ``params.weight_decay * decay_factor(recipe, name, w_l)``. Unless the recipe says otherwise the
    factor of every parameter is 1, also in batch normalisation and for biases.
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
        nesterov=recipe.nesterov and params.momentum > 0,  # torch refuses it without momentum
        fused=True,
    )
    # torch makes the momentum of a parameter when it gets its first gradient. The fused form cannot
    # do that if other parameters have one already, as a head has when frozen layers thaw. Made of
    # zeros beforehand it changes nothing: the first step is the same.
    for parameter in model.parameters() if params.momentum else ():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def decay_factor(recipe: Recipe, name: str, parameter: Tensor) -> float:
    """The factor of the weight decay of a parameter.

    It is that of the longest prefix of the parameter's name in ``recipe.layer_decay``, and 1 if
    there is none. Without ``recipe.decay_norms`` it is 0 for normalisation layers and biases, which
    are the parameters of one dimension.
    """
    if parameter.ndim < 2 and not recipe.decay_norms:
        return 0.0
    prefixes = [prefix for prefix in recipe.layer_decay if factory.starts_with(name, prefix)]
    return recipe.layer_decay[max(prefixes, key=len)] if prefixes else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Makes ``rate`` the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
